# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack oci export`"""

import argparse
import shlex

from .common import add_json, allow_options_anywhere, examples, messages_apart, print_json
from .image_options import add_base_image, add_image_options, image_options


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "export",
        help="write the image of an environment or of specs to a file or directory",
        description="Write the image of the environment's roots, or of specs, with all that they need to run: as an "
        "OCI layout directory, an OCI archive, or an archive for `docker load`. No registry is needed.",
        **examples(
            "spack oci export --base-image debian:12 ./image:tools      # a layout: podman pull oci:image:tools",
            "spack oci export --squash --strip-build-info tools.tar     # an OCI archive",
            "spack oci export docker-archive:tools.tar:v1 htop sqlite   # docker load < tools.tar",
        ),
    )
    parser.add_argument("destination", metavar="DEST", help="[oci:|oci-archive:|docker-archive:]PATH[:TAG]")
    parser.add_argument(
        "specs", nargs="*", default=[], metavar="SPEC", help="default: the roots of the active environment"
    )
    parser.add_argument(
        "--format",
        choices=["oci", "oci-archive", "docker-archive"],
        help="default: what DEST begins with, else an OCI archive for *.tar and a layout directory for the rest",
    )
    parser.add_argument("--compression", metavar="ALGORITHM[:LEVEL]", help="gzip[:1-9] or zstd[:1-22]")
    parser.add_argument(
        "--sbom", metavar="FILE", help="write a software bill of materials (SPDX) of the image, and put it into it"
    )
    add_base_image(parser)
    add_image_options(parser, multi_arch=False)
    add_json(parser)
    allow_options_anywhere(parser, "specs")
    parser.set_defaults(run=export)


def export(args: argparse.Namespace) -> int:
    import spack.llnl.util.tty as tty
    from spack_oci.archive.codec import Compression
    from spack_oci.operations.images.image_files import parse_destination
    from spack_oci.spack.commands import export, push
    from spack_oci.util.sizes import format_size
    from spack_oci.util.text import counted

    destination = parse_destination(args.destination, args.format)
    wanted = image_options(args, [destination.tag or "latest"])
    compression = Compression.parse(args.compression) if args.compression else None
    with messages_apart(args.json):
        done = export.export(destination, push.installed_roots(args.specs), wanted, compression, args.sbom)
    if args.json:
        print_json(done.to_dict())
    else:
        members = sum(len(group) for group in done.image.plan.groups)
        tty.info(
            f"Wrote {destination.path} ({destination.format}, tag {done.tag}): {counted(members, 'package')} in "
            f"{counted(done.image.plan.layer_count, 'layer')}, {format_size(done.image.size)}"
        )
        if destination.format == "docker-archive":
            tty.info(f"`docker load < {shlex.quote(done.destination.path)}` makes the image {done.name}")
        else:
            tty.info(f"Container tools name it {done.name}")
    return 0
