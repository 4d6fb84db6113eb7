# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What the files of an installed package ask of an image: a C library, shared libraries, names that are no whiteouts.

A prefix is walked once, and what was found is remembered until the package is installed again.
"""

import os
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Dict, FrozenSet, Iterable, List, Mapping, Optional, Tuple

from ...errors import StorageError
from ...formats.magic import ELF
from ..results import Results
from .libc import Libc, Need, libc_of_elf

#: an image's layer says with a file of this name that one of the layers below it has is gone (image-spec, layer.md)
WHITEOUT = ".wh."

#: a file with fewer bytes has no ELF header
_SMALLEST_ELF = 52


@dataclass(frozen=True)
class PrefixNeeds:
    """Paths are relative to the prefix."""

    #: the newest C library that a file asks for; None if none uses one (scripts, static programs)
    libc: Optional[Need] = None
    #: name of a shared library (``libz.so.1``) -> a file that needs it
    libraries: Mapping[str, str] = field(default_factory=dict)
    #: names of files that may be the shared libraries that others need
    provides: FrozenSet[str] = frozenset()
    #: files that engines would take for whiteouts
    whiteouts: Tuple[str, ...] = ()
    #: directory where the loader looks for libraries (DT_RUNPATH, DT_RPATH), ``$ORIGIN`` as it is -> a file with it
    search_paths: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> Dict[str, Any]:
        libc = {"libc": [self.libc.libc.name, *self.libc.libc.version], "file": self.libc.file} if self.libc else None
        return {
            "need": libc,
            "libraries": dict(self.libraries),
            "provides": sorted(self.provides),
            "whiteouts": list(self.whiteouts),
            "search_paths": dict(self.search_paths),
        }

    @classmethod
    def from_json(cls, document: Dict[str, Any]) -> "PrefixNeeds":
        found = document["need"]
        need = Need(Libc(found["libc"][0], tuple(found["libc"][1:])), found["file"]) if found else None
        return cls(
            need,
            document["libraries"],
            frozenset(document["provides"]),
            tuple(document["whiteouts"]),
            document.get("search_paths") or {},
        )


def needs_of_prefix(prefix: str) -> PrefixNeeds:
    """Raises StorageError."""
    libcs: List[Need] = []
    libraries: Dict[str, str] = {}
    search_paths: Dict[str, str] = {}
    provides, whiteouts = set(), []
    try:
        for entry, is_new_file in sorted(_files(prefix), key=lambda found: found[0].path):
            path = os.path.relpath(entry.path, prefix)
            if entry.name.startswith(WHITEOUT):
                whiteouts.append(path)
            if ".so" in entry.name:
                provides.add(entry.name)
            if is_new_file:
                with open(entry.path, "rb") as f:
                    libc, needed, searched = _read_elf(f)
                if libc:
                    libcs.append(Need(libc, path))
                for name in needed:
                    libraries.setdefault(name, path)
                for directory in searched:
                    search_paths.setdefault(directory, path)
    except OSError as e:
        raise StorageError.from_os_error(f"reading what {prefix} needs", e) from e
    # the file that is named does not depend on the order of the directory
    newest = max(libcs, key=lambda need: (need.libc.version, need.file), default=None)
    return PrefixNeeds(newest, libraries, frozenset(provides), tuple(whiteouts), search_paths)


def cached_needs(key: str, prefix: str, cache: Optional[Results]) -> PrefixNeeds:
    """:func:`needs_of_prefix`, remembered under ``key``, which has to change when the prefix does."""
    found = cache.get(key) if cache is not None else None
    if found is not None:
        return PrefixNeeds.from_json(found)
    needs = needs_of_prefix(prefix)
    if cache is not None:
        cache[key] = needs.to_json()
    return needs


def _files(prefix: str) -> Iterable[Tuple["os.DirEntry[str]", bool]]:
    """Every file and link, and directories with the name of a whiteout; and whether it is
    a file that may be an ELF file and was not seen under another name.
    """
    seen = set()
    pending = [prefix]
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)
                    if entry.name.startswith(WHITEOUT):
                        yield entry, False
                    continue
                is_new = False
                if entry.is_file(follow_symlinks=False):
                    status = entry.stat(follow_symlinks=False)
                    identity = (status.st_dev, status.st_ino)
                    is_new = status.st_size >= _SMALLEST_ELF and (status.st_nlink == 1 or identity not in seen)
                    seen.add(identity)
                yield entry, is_new


def _read_elf(stream: BinaryIO) -> Tuple[Optional[Libc], List[str], List[str]]:
    """The C library and the shared libraries that a file needs, and where it looks for them; nothing of a file that is
    no ELF file."""
    if stream.read(4) != ELF:
        return None, [], []
    # imported here: every push imports this module, and few look at what packages need
    from elftools.common.exceptions import ELFError
    from elftools.elf.elffile import ELFFile

    stream.seek(0)
    try:
        elf = ELFFile(stream)
        return (libc_of_elf(elf), *_needed(elf))
    except (ELFError, UnicodeDecodeError, ValueError, KeyError, TypeError, AttributeError, OverflowError):
        # a fuzzer's corpus, a truncated test file: what the loader cannot read needs nothing either
        return None, [], []


def _needed(elf: Any) -> Tuple[List[str], List[str]]:
    """DT_NEEDED, and the directories of DT_RUNPATH and DT_RPATH. Not those of a file for another kind of machine
    (firmware, a cross compiler's libraries)."""
    if elf["e_machine"] not in _MACHINES.get(os.uname().machine, (elf["e_machine"],)):
        return [], []
    tags = [tag for s in elf.iter_segments() if s["p_type"] == "PT_DYNAMIC" for tag in s.iter_tags()]
    needed = [tag.needed for tag in tags if tag.entry.d_tag == "DT_NEEDED"]
    runpath = [tag.runpath for tag in tags if tag.entry.d_tag == "DT_RUNPATH"]
    rpath = [tag.rpath for tag in tags if tag.entry.d_tag == "DT_RPATH"]
    return needed, [directory for path in runpath + rpath for directory in path.split(":")]


_MACHINES = {"x86_64": ("EM_X86_64",), "aarch64": ("EM_AARCH64",), "ppc64le": ("EM_PPC64",)}
