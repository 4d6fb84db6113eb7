# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The secret of `login`: never an argument, which others could see."""

import argparse
import getpass
import sys
from typing import Tuple

from ..errors import ConfigurationError


def read_secret(args: argparse.Namespace, place: str) -> Tuple[str, str]:
    """(user name, secret): from standard input with --password-stdin, else asked for; ``place``: named in the prompt.

    Raises ConfigurationError.
    """
    username = args.username or ""
    if args.password_stdin:
        if not username and not args.identity_token:
            raise ConfigurationError("--password-stdin needs --username")
        secret = sys.stdin.read().rstrip("\r\n")
    elif not sys.stdin.isatty():
        raise ConfigurationError("this is not a terminal", remedy="give the secret with --password-stdin")
    else:
        if not username and not args.identity_token:
            username = input(f"User name for {place}: ").strip()
        secret = getpass.getpass(f"Password or token for {place}: ")
    if not secret:
        raise ConfigurationError("no password or token was given")
    return username, secret
