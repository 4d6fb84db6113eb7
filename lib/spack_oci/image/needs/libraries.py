# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Will the packages find their shared libraries in the image?

A library that a program needs (``DT_NEEDED``) has to be in a package of the image or in its base. External packages are
in neither, and neither is what was linked from the machine without Spack's knowledge. Names are compared, not search
paths: what is missing is missing for certain, and what is there may still be where no loader looks.
"""

import glob
import os
from typing import Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence

from .prefix import PrefixNeeds

#: lists of files of the packages of this machine, where it is one of Debian's kind
_DPKG = "/var/lib/dpkg/info"
#: how many are named
_SHOWN = 6
#: the kernel's own, which is no file
_VIRTUAL = ("linux-vdso.so.1", "linux-gate.so.1")


class MissingLibrary(NamedTuple):
    """A shared library that is not in the image, and who needs it."""

    library: str
    #: label of a package, and one of its files
    package: str
    file: str
    #: the package of this machine's distribution that has the library, if that is known
    distribution_package: str = ""

    def __str__(self) -> str:
        where = f", {self.distribution_package} has it on this machine" if self.distribution_package else ""
        return f"{self.library} ({self.package}: {self.file}{where})"


def missing_libraries(
    needs: Mapping[str, PrefixNeeds], in_base: Iterable[str], dpkg: str = _DPKG
) -> List[MissingLibrary]:
    """What neither a package (``needs``, by label) nor the base has, by name. Each library once."""
    there = set(in_base)
    for package in needs.values():
        there |= package.provides
    missing: Dict[str, MissingLibrary] = {}
    for label, package in sorted(needs.items()):
        for library, file in sorted(package.libraries.items()):
            # one with a slash is a path, which holds in an image only if it is in a package
            name = os.path.basename(library)
            if name not in there and name not in _VIRTUAL:
                missing.setdefault(name, MissingLibrary(name, label, file))
    owners = _owners(missing, dpkg) if missing else {}
    return [found._replace(distribution_package=owners.get(name, "")) for name, found in sorted(missing.items())]


def _owners(libraries: Iterable[str], dpkg: str) -> Dict[str, str]:
    """Library -> package of this machine's distribution (Debian's kind)."""
    ends = {f"/{name}": name for name in libraries}
    found: Dict[str, str] = {}
    for path in sorted(glob.glob(os.path.join(glob.escape(dpkg), "lib*.list"))):
        try:
            with open(path, encoding="utf-8", errors="replace") as f:
                lines = f.read().splitlines()
        except OSError:
            continue
        for line in lines:
            name = ends.get(line[line.rfind("/") :])
            if name is not None and "/lib" in line:
                found.setdefault(name, os.path.basename(path)[: -len(".list")].partition(":")[0])
    return found


def libraries_warning(base_name: Optional[str], missing: Sequence[MissingLibrary]) -> str:
    """One line for a person; empty if nothing is missing."""
    if not missing:
        return ""
    shown = "; ".join(map(str, missing[:_SHOWN]))
    more = f"; and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
    base = f"nor in the base image {base_name}" if base_name else "and it has no base image"
    return (
        f"Shared libraries that are in no package of the image, {base}: {shown}{more}. Choose a base image with them, "
        "or build the packages that have them with Spack"
    )
