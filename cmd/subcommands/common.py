# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What several sub-commands share; most of it is `spack_oci.commandline`, which `spack-oci` has too."""

from spack_oci.commandline.common import (
    DEFAULT_MIRROR_HELP,
    MIRROR_HELP,
    add_json,
    add_no_check_signature,
    allow_options_anywhere,
    examples,
    messages_apart,
    print_json,
)
from spack_oci.commandline.definitions import Program

__all__ = [
    "DEFAULT_MIRROR_HELP",
    "MIRROR_HELP",
    "PROGRAM",
    "add_json",
    "add_no_check_signature",
    "allow_options_anywhere",
    "examples",
    "messages_apart",
    "print_json",
]

PROGRAM = Program("spack oci", "MIRROR", "mymirror", MIRROR_HELP)
