# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Platform and operating system of this machine. Apart from :mod:`.machine`, as `spack-oci list` needs no more."""

import contextlib
import re
import sys
from typing import Tuple


def this_system() -> Tuple[str, str]:
    """(platform, operating system): what is known without asking the processor."""
    return "darwin" if sys.platform == "darwin" else "linux", _operating_system()


def _operating_system() -> str:
    """As Spack names it: ``debian12``, ``ubuntu22.04``, ``rhel8``."""
    release = {}
    for path in ("/etc/os-release", "/usr/lib/os-release"):
        with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as file:
            release = dict(re.findall(r'^([A-Z_]+)="?([^"\n]*)"?$', file.read(), re.MULTILINE))
            break
    name, version = release.get("ID", ""), release.get("VERSION_ID", "")
    # for distributions that keep their promises within a major version, Spack keeps that alone
    if name not in ("ubuntu", "alpine", "opensuse-leap"):
        version = version.partition(".")[0]
    return f"{name}{version}"
