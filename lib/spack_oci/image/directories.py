# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Directories above the packages: what a base image has of them keeps its mode and owner.

A package's layer names the parents of its prefix with mode 0755 and root as their owner, as Spack writes them, and so
hides what the base image says of them: of a store below ``/tmp``, or in the home directory of the image's user. The
layers that are made for an image (several packages in one, the uppermost with files of ours) put that right.
"""

import tarfile
from typing import Iterable, Iterator, Mapping, NamedTuple

from ..archive import tar


class Directory(NamedTuple):
    """What a layer says of a directory; the defaults are what Spack writes."""

    mode: int = 0o755
    uid: int = 0
    gid: int = 0


#: absolute path -> what differs from the defaults
Directories = Mapping[str, Directory]

#: nothing differs
PLAIN: Directories = {}
#: what everybody expects of an image, with and without a base
SHARED: Directories = {"/tmp": Directory(0o1777), "/var/tmp": Directory(0o1777)}


def parents(paths: Iterable[str]) -> Iterator[str]:
    """The directories above ``paths``, each once: ``/a/b/c`` -> ``/a``, ``/a/b``."""
    seen = set()
    for path in paths:
        at = path.find("/", 1)
        while at >= 0:
            if path[:at] not in seen:
                seen.add(path[:at])
                yield path[:at]
            at = path.find("/", at + 1)


def header(name: bytes, directories: Directories) -> bytes:
    """The tar header of the directory ``name`` (without a leading slash)."""
    directory = directories.get("/" + name.decode("utf-8", "surrogateescape").rstrip("/"))
    if directory is None or not (directory.uid or directory.gid):
        return tar.header(name, tar.DIRECTORY, directory.mode if directory else Directory().mode)
    member = tarfile.TarInfo(name.decode("utf-8", "surrogateescape"))
    member.type = tarfile.DIRTYPE
    member.mode, member.uid, member.gid = directory
    return member.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
