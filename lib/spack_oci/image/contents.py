# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What an image holds besides packages: sbang, which no package has; an environment's view, as links; its lock file;
without a base, what container tools expect of a root file system.

A view is a directory that merges the prefixes of an environment. In the image it is mounted at ``/view``; the links in
it lead to the prefixes, whose paths are the same in the image as on this machine.
"""

import os
import stat
from typing import Dict, Iterator, Mapping, Optional, Sequence

from ..errors import StorageError
from .directories import SHARED, Directories, Directory
from .files import FileEntry
from .needs.prefix import WHITEOUT

#: where an environment's default view is in its image
VIEW = "/view"
#: what the image says about how it was made
LOCK_FILE = "/opt/spack-environment/spack.lock"
#: what is in it; scanners read files with such names
SBOM_FILE = "/opt/spack-environment/sbom.spdx.json"

#: what an image without a base has of a root file system. HPC's container tools (Charliecloud, Sarus, Enroot and
#: Apptainer) run images from trees that they cannot write to: they mount the host's files and directories over these
CONTAINER_FILES: Mapping[str, FileEntry] = {
    "/etc/group": FileEntry(b"root:x:0:\nnogroup:x:65534:\n"),
    "/etc/hosts": FileEntry(b"127.0.0.1 localhost\n::1 localhost\n"),
    "/etc/passwd": FileEntry(
        b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
    ),
    "/etc/resolv.conf": FileEntry(b""),
}
MOUNT_POINTS: Directories = {
    **SHARED,
    "/dev": Directory(),
    "/home": Directory(),
    "/mnt": Directory(),
    "/proc": Directory(),
    "/root": Directory(0o700),
    "/run": Directory(),
    "/sys": Directory(),
}

#: of a view: Spack's own notes on what is linked from where on this machine
_METADATA = ".spack"
_TEXT_PROBE = 8192


def lock_entry(lock: bytes) -> Dict[str, FileEntry]:
    return {LOCK_FILE: FileEntry(lock)}


def sbom_entry(sbom: bytes) -> Dict[str, FileEntry]:
    return {SBOM_FILE: FileEntry(sbom)}


def sbang_entries(paths: Sequence[str]) -> Dict[str, FileEntry]:
    """The sbang script at each of ``paths`` that is there: scripts with long shebang lines name it."""
    entries = {}
    for path in paths:
        if os.path.isfile(path):
            try:
                with open(path, "rb") as f:
                    entries[path] = FileEntry(f.read(), 0o755)
            except OSError as e:
                raise StorageError.from_os_error(f"reading {path}", e) from e
    return entries


def view_entries(view: str, prefixes: Sequence[str], mount: str = VIEW) -> Dict[str, FileEntry]:
    """The files of the image below ``mount`` for the view directory ``view`` of this machine.

    Links into a prefix stay; links to other places of the view, and the view's path in scripts that Spack has copied
    into it, follow the view to ``mount``. A hard link of a file of one of ``prefixes`` becomes a link to it. Other
    files are copied. Raises StorageError.
    """
    entries: Dict[str, FileEntry] = {}
    real = os.path.realpath(view)
    try:
        for path in _files(real):
            relative = os.path.relpath(path, real)
            entries[os.path.join(mount, relative)] = _entry(
                path, relative, (os.path.abspath(view), real), mount, prefixes
            )
    except OSError as e:
        raise StorageError.from_os_error(f"reading the view {view}", e) from e
    return entries


def _files(root: str) -> Iterator[str]:
    for directory, names, files in os.walk(root, onerror=_raise):
        if directory == root and _METADATA in names:
            names.remove(_METADATA)
        for name in sorted(files + [n for n in names if os.path.islink(os.path.join(directory, n))]):
            path = os.path.join(directory, name)
            if name.startswith(WHITEOUT):  # which the user has left out of the packages
                continue
            if stat.S_ISREG(os.lstat(path).st_mode) or os.path.islink(path):
                yield path


def _raise(error: OSError) -> None:
    raise error


def _entry(path: str, relative: str, roots: Sequence[str], mount: str, prefixes: Sequence[str]) -> FileEntry:
    if os.path.islink(path):
        return FileEntry(link=_target_in_image(path, roots, mount))
    original = _hard_linked(path, relative, prefixes)
    if original:
        return FileEntry(link=original)
    with open(path, "rb") as f:
        content = f.read()
    if b"\0" not in content[:_TEXT_PROBE]:
        for root in sorted(roots, key=len, reverse=True):
            content = content.replace(os.fsencode(root), os.fsencode(mount))
    return FileEntry(content, 0o755 if os.stat(path).st_mode & 0o111 else 0o644)


def _target_in_image(path: str, roots: Sequence[str], mount: str) -> str:
    """A link's target: as it is, unless it is relative and leaves the view, or absolute and stays in it."""
    target = os.readlink(path)
    absolute = os.path.normpath(os.path.join(os.path.dirname(path), target))
    inside = next((root for root in roots if absolute == root or absolute.startswith(root + os.sep)), None)
    if inside is None:
        return absolute
    return target if not os.path.isabs(target) else mount + absolute[len(inside) :]


def _hard_linked(path: str, relative: str, prefixes: Sequence[str]) -> Optional[str]:
    if os.stat(path).st_nlink < 2:
        return None
    for prefix in prefixes:
        candidate = os.path.join(prefix, relative)
        if os.path.lexists(candidate) and os.path.samestat(os.lstat(candidate), os.lstat(path)):
            return candidate
    return None


def path_entries(files: Mapping[str, FileEntry], mounts: Sequence[str]) -> Sequence[str]:
    """Which ``bin`` directories of the views go on PATH."""
    return [f"{mount}/bin" for mount in mounts if any(path.startswith(f"{mount}/bin/") for path in files)]
