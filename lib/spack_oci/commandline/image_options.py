# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The options of images, for `push` and `export`."""

import argparse
from typing import Any, Dict


def add_base_image(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("images")
    group.add_argument(
        "--base-image",
        metavar="IMAGE",
        help="build the images on this one: debian:12, HOST/NAME:TAG, oci+file:///DIR:TAG (default: oci:base_image)",
    )
    group.add_argument(
        "--skip-libc-check", action="store_true", help="do not compare the base image's C library with the packages'"
    )


def add_image_options(parser: argparse.ArgumentParser, multi_arch: bool = True) -> None:
    run = parser.add_argument_group("how the image is run (default: oci:image, then as the base image)")
    run.add_argument("--entrypoint", metavar="WORDS", help="program that is run: words, or a JSON list")
    run.add_argument("--cmd", metavar="WORDS", help="its arguments when none are given: words, or a JSON list")
    run.add_argument("--env", action="append", default=[], metavar="NAME=VALUE", help="environment variable")
    run.add_argument("--label", action="append", default=[], metavar="NAME=VALUE", help="label of the image")
    run.add_argument("--user", help="USER, UID, USER:GROUP or UID:GID that the program runs as")
    run.add_argument("--workdir", metavar="DIR", help="working directory")
    run.add_argument("--port", action="append", default=[], metavar="PORT[/udp]", help="port that is listened on")
    run.add_argument("--volume", action="append", default=[], metavar="DIR", help="directory for data that stays")
    made = parser.add_argument_group("how the image is made")
    if multi_arch:
        made.add_argument(
            "--multi-arch", action="store_true", help="add the image to what the tag has for other platforms"
        )
    made.add_argument(
        "--layer-strategy",
        choices=["size", "popularity", "volatility"],
        help="which packages share a layer when there are more than oci:max_layers (default: volatility)",
    )
    made.add_argument("--squash", action="store_true", help="put all packages into one layer")
    made.add_argument(
        "--strip-build-info",
        action="store_true",
        help="leave out what is only for building: .spack, headers, static libraries, man pages, CMake and pkg-config",
    )
    made.add_argument(
        "--exclude-files", action="append", default=[], metavar="GLOB", help="leave these files out of the image"
    )


def runtime_settings(args: argparse.Namespace) -> Dict[str, Any]:
    """What the options say of how the image is run: the arguments of ``RuntimeSettings.create``."""
    return {
        "entrypoint": args.entrypoint,
        "cmd": args.cmd,
        "env": args.env,
        "labels": args.label,
        "user": args.user,
        "workdir": args.workdir,
        "ports": args.port,
        "volumes": args.volume,
    }
