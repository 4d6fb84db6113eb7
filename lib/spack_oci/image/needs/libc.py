# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Will the packages run on the base image's C library?

The base's C library is read from its layers, a package's need from the symbol versions that its ELF files ask for: more
exact than the version it was built with, since a program that uses nothing new runs on an older glibc too. glibc and
musl promise that newer versions run what older ones did, not the other way round; neither runs the other's programs.
"""

import re
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from ...errors import ImageError

GLIBC, MUSL = "glibc", "musl"

#: where loaders look by default; elsewhere it may be a chroot, a cross compiler's sysroot or a test
_LIBRARY_DIRECTORY = r"(?:\./)?(?:usr/)?lib(?:32|64|x32)?/(?:[a-z0-9_]+-linux-[a-z0-9]+/)?"
_GLIBC_FILE = re.compile(_LIBRARY_DIRECTORY + r"libc(?:\.so\.6|-2\.[0-9]+\.so)\Z")
_MUSL_FILE = re.compile(_LIBRARY_DIRECTORY + r"(?:ld-musl-[a-z0-9_-]+\.so\.1|libc\.musl-[a-z0-9_-]+\.so\.1|libc\.so)\Z")
#: glibc prints it when libc.so.6 is run as a program
_GLIBC_BANNER = re.compile(rb"GNU C Library [^\0\n]{0,120}version (2\.[0-9]+)")
#: __libc_version, next to the loader's usage text
_MUSL_BANNER = re.compile(rb"musl libc \(")
_MUSL_VERSION = re.compile(rb"\0(1\.[0-9]+\.[0-9]+)(?:-git[-0-9a-z]*)?\0")

_GLIBC_SYMBOL = re.compile(r"GLIBC_(2\.[0-9]{1,9})(?:\.[0-9]+)*\Z")
#: not a version, but a feature of the loader that came with one
_GLIBC_FEATURES = {"GLIBC_ABI_DT_RELR": (2, 36), "GLIBC_ABI_GNU_TLS": (2, 42), "GLIBC_ABI_GNU2_TLS": (2, 42)}

#: base images that people use, oldest first
_DISTRIBUTIONS = {
    GLIBC: (
        ((2, 17), "CentOS 7"),
        ((2, 28), "Rocky Linux 8"),
        ((2, 31), "Debian 11 or Ubuntu 20.04"),
        ((2, 34), "Rocky Linux 9"),
        ((2, 35), "Ubuntu 22.04"),
        ((2, 36), "Debian 12"),
        ((2, 39), "Ubuntu 24.04"),
        ((2, 41), "Debian 13"),
    ),
    MUSL: (((1, 2, 2), "Alpine 3.14"), ((1, 2, 4), "Alpine 3.18"), ((1, 2, 5), "Alpine 3.20")),
}


@dataclass(frozen=True)
class Libc:
    """A C library. ``version``: numbers; empty if unknown, which then satisfies and asks for any."""

    name: str
    version: Tuple[int, ...] = ()

    @classmethod
    def parse(cls, name: str, version: str) -> "Libc":
        """From what Spack's ``glibc`` or ``musl`` node says: ``("glibc", "2.36")``. Of a number of more digits than a
        version has, the first ones do: it is still newer than what there is."""
        return cls(name, tuple(int(part[:9]) for part in re.findall(r"[0-9]+", version)))

    def serves(self, need: "Libc") -> bool:
        if self.name != need.name:
            return False
        if not self.version or not need.version:
            return True
        # musl's third number counts: symbols came with 1.2.x
        return self.version >= need.version

    def __str__(self) -> str:
        return f"{self.name} {'.'.join(map(str, self.version))}".rstrip()


@dataclass(frozen=True)
class Need:
    """A package needs ``libc`` at least, because of ``file`` (relative to its prefix; empty: its spec says so)."""

    libc: Libc
    file: str = ""


def libc_in(name: str, data: bytes) -> Optional[Libc]:
    """The C library that the file ``name`` of a layer is; None if it only has such a name."""
    if _GLIBC_FILE.match(name):
        banner = _GLIBC_BANNER.search(data)
        return Libc.parse(GLIBC, banner.group(1).decode()) if banner else None
    if not _MUSL_BANNER.search(data):
        return None
    version = _MUSL_VERSION.search(data)
    return Libc.parse(MUSL, version.group(1).decode() if version else "")


def is_libc_file(name: str) -> bool:
    """By its name in a layer."""
    return bool(_GLIBC_FILE.match(name) or _MUSL_FILE.match(name))


def libc_of_elf(elf: Any) -> Optional[Libc]:
    """The C library that a program or library (an ``ELFFile``) asks for at least; None if it uses none.

    Raises whatever pyelftools raises for a file that is damaged.
    """
    versions = _glibc_versions(elf)
    if versions:
        return Libc(GLIBC, max(versions))
    return Libc(MUSL) if _uses_musl(elf) else None


def _glibc_versions(elf: Any) -> List[Tuple[int, ...]]:
    section = elf.get_section_by_name(".gnu.version_r")
    if section is None:
        return []
    versions = []
    for _, auxiliaries in section.iter_versions():
        for auxiliary in auxiliaries:
            match = _GLIBC_SYMBOL.match(auxiliary.name)
            if match:
                versions.append(tuple(int(part) for part in match.group(1).split(".")))
            elif auxiliary.name in _GLIBC_FEATURES:
                versions.append(_GLIBC_FEATURES[auxiliary.name])
    return versions


def _uses_musl(elf: Any) -> bool:
    for segment in elf.iter_segments():
        kind = segment["p_type"]
        if kind == "PT_INTERP" and "ld-musl-" in segment.get_interp_name():
            return True
        if kind == "PT_DYNAMIC":
            needed = [tag.needed for tag in segment.iter_tags("DT_NEEDED")]
            if any(name == "libc.so" or name.startswith("libc.musl-") for name in needed):
                return True
    return False


def check_libc(base_name: str, available: Sequence[Libc], needs: Mapping[str, Optional[Need]]) -> None:
    """Raise :class:`ImageError` if a package of ``needs`` (by label) would not run on the base image.

    The error names both versions and the packages that need the newer one, and says what to do.
    """
    unmet = {
        label: need
        for label, need in needs.items()
        if need is not None and not any(libc.serves(need.libc) for libc in available)
    }
    if not unmet:
        return
    has = " and ".join(map(str, available)) or "no C library"
    newest = max((need.libc for need in unmet.values()), key=lambda libc: libc.version)
    raise ImageError(
        f"base image {base_name} has {has}, but {_list_of_needs(unmet)}",
        remedy=f"{_suggestion(newest)}, or go on with --skip-libc-check if the image gets its C library otherwise",
    )


def _list_of_needs(unmet: Mapping[str, Need], shown: int = 6) -> str:
    """``htop@3 (bin/htop) needs glibc 2.38; nano@8 (bin/nano), tmux@3 (bin/tmux) need glibc 2.34``, newest first."""
    ordered = sorted(unmet.items(), key=lambda item: ([-number for number in item[1].libc.version], item[0]))
    by_libc: Dict[Libc, List[str]] = {}
    for label, need in ordered[:shown]:
        by_libc.setdefault(need.libc, []).append(f"{label} ({need.file})" if need.file else label)
    parts = [
        f"{', '.join(packages)} {'needs' if len(packages) == 1 else 'need'} {libc}"
        for libc, packages in by_libc.items()
    ]
    hidden = len(ordered) - shown
    return "; ".join(parts + ([f"and {hidden} more packages need a newer one, too"] if hidden > 0 else []))


def _suggestion(need: Libc) -> str:
    fitting = [name for version, name in _DISTRIBUTIONS.get(need.name, ()) if version >= need.version]
    example = f", for example {fitting[0]}" if fitting else ""
    return f"choose a base image with {need}{' or newer' if need.version else ''}{example}"
