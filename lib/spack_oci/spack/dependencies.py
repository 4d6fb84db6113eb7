# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What this Python lacks, and how to tell it: imported before all else of ours, so it imports nothing."""

import os
import sys
from typing import List


def missing_dependencies() -> List[str]:
    """Names (as pip knows them) of the required packages that this Python cannot import."""
    from importlib.util import find_spec

    required = {
        "requests": "requests",
        "zstandard": "zstandard",
        "elftools": "pyelftools",
        "jsonschema": "jsonschema",
    }
    return [package for module, package in required.items() if find_spec(module) is None]


def warn(message: str) -> None:
    try:
        import spack.llnl.util.tty as tty

        tty.warn(message)
    except ImportError:  # a Spack that has it elsewhere
        print(f"Warning: {message}", file=sys.stderr)


def pip_command(packages: List[str]) -> str:
    """The command that installs ``packages`` into the Python that runs Spack."""
    return f"{os.path.abspath(sys.executable)} -m pip install {' '.join(packages)}"
