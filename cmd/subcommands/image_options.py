# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The options of images, for `spack oci push` and `spack oci export`."""

import argparse
from typing import Any, Sequence

from spack_oci.commandline.image_options import add_base_image, add_image_options, runtime_settings

__all__ = ["add_base_image", "add_image_options", "image_options"]


def image_options(args: argparse.Namespace, tags: Sequence[str]) -> Any:
    """:class:`spack_oci.spack.commands.image_options.ImageOptions`."""
    from spack_oci.image.runtime import RuntimeSettings
    from spack_oci.spack.commands.image_options import options

    return options(
        base_image=args.base_image,
        tags=tags,
        runtime=RuntimeSettings.create(**runtime_settings(args)),
        strategy=args.layer_strategy,
        squash=args.squash,
        strip_build_info=args.strip_build_info,
        exclude=args.exclude_files,
        multi_arch=getattr(args, "multi_arch", False),
        skip_libc_check=args.skip_libc_check,
    )
