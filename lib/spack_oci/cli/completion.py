# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack-oci completion`"""

import argparse

from ..commandline.completion import script


def completion(args: argparse.Namespace) -> int:
    from .main import parser

    print(script(parser(), args.shell), end="")
    return 0
