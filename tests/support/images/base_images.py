# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""A base image, found and brought to a store in one call."""

from spack_oci.image.base.resolve import copy_layers, resolve_base


def prepare_base(source, reference, target, platform, **options):
    """``resolve_base``, then ``copy_layers`` into ``target`` (``jobs``, ``progress``). The base, and what was moved."""
    base = resolve_base(source, reference, platform)
    return base, copy_layers(base, source, target, **options)
