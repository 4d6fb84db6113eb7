# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Short names of packages, for strings in binaries that their new prefix is too long for.

``STORE/.a/<end of the hash>`` is a symbolic link to the prefix, relative if it is in the store. An old prefix ends with
architecture, name, version and a hash of 32 characters, so that this name fits even if the new store root is some 50
characters longer than the old one. The name ends like the old prefix does: what other strings of the binary
may share with it stays the same (see ``cstring``).

A link may be there before its package is, and stays when an install fails: another one that runs at the same time may
have written its name into files already. :func:`prune_aliases` removes what leads nowhere.

Spack does not look into ``.a``: its layouts and ``spack reindex`` search for names that do not begin with a dot.
"""

import contextlib
import errno
import os
import stat
from typing import Dict, List, Mapping, Optional, Sequence

from ..errors import ConfigurationError, StorageError
from .cstring import ALIAS_SUFFIX
from .mapping import PathMapping, Relocation

#: directory in the store
ALIAS_DIRECTORY = ".a"
#: characters of the hash in a name: so many if they fit and no other package has them, else more, else fewer
USUAL = 7
SHORTEST = ALIAS_SUFFIX


class Aliases:
    """The aliases of one store. Names are given, and their links made, when they are first asked for."""

    def __init__(self, relocation: Relocation) -> None:
        self.directory = alias_directory(relocation)
        self._prefixes: Mapping[str, str] = relocation.new_prefixes
        self._store_root = relocation.store_root
        self._names: Dict[str, Optional[str]] = {}

    def names_of(self, mapped: PathMapping) -> Sequence[bytes]:
        """The other names of what ``mapped.old`` becomes: one for a package, none for anything else.

        Makes the link. Raises StorageError, ConfigurationError.
        """
        if mapped.dag_hash is None:
            return ()
        if mapped.dag_hash not in self._names:
            room = len(mapped.old) - len(os.fsencode(self.directory)) - 1
            self._names[mapped.dag_hash] = self.make(mapped.dag_hash, os.fsdecode(mapped.new), room)
        name = self._names[mapped.dag_hash]
        return (os.fsencode(name),) if name else ()

    def make(self, dag_hash: str, prefix: str, room: int) -> Optional[str]:
        """The path of the link to ``prefix``, which is made if it is not there.

        ``room``: the characters that the name may have. None if there are too few, or every name is taken.
        """
        target = self._target(prefix)
        room = min(room, len(dag_hash))
        if room < SHORTEST:
            return None
        try:
            self._make_directory()
            for length in [*range(USUAL, room + 1), *range(min(USUAL - 1, room), SHORTEST - 1, -1)]:
                path = os.path.join(self.directory, dag_hash[-length:])
                if self._is_or_becomes(path, target):
                    return path
        except OSError as e:
            raise StorageError.from_os_error(f"making a short name for {prefix} in {self.directory}", e) from e
        return None

    def _target(self, prefix: str) -> str:
        return os.path.relpath(prefix, self.directory) if _is_under(self.directory, self._store_root) else prefix

    def _is_or_becomes(self, path: str, target: str) -> bool:
        for _ in range(3):
            try:
                return os.readlink(path) == target
            except FileNotFoundError:
                pass
            try:
                os.symlink(target, path)
                return True
            except FileExistsError:  # another install was faster
                continue
        return False

    def _make_directory(self) -> None:
        if os.path.lexists(self.directory):
            check_directory(self.directory, self._store_root)
            return
        parent = os.path.dirname(self.directory)
        os.makedirs(parent, exist_ok=True)
        status = os.stat(parent)
        with contextlib.suppress(FileExistsError):
            os.mkdir(self.directory)
            # as open as the store, so that a group that installs together can go on doing so
            os.chmod(self.directory, stat.S_IMODE(status.st_mode) & ~(stat.S_IWOTH | stat.S_ISVTX))
            with contextlib.suppress(OSError):
                os.chown(self.directory, -1, status.st_gid)
        check_directory(self.directory, self._store_root)


def alias_directory(relocation: Relocation) -> str:
    return relocation.alias_root or os.path.join(relocation.store_root, ALIAS_DIRECTORY)


def check_directory(directory: str, store_root: str) -> None:
    """Refuse a directory in which a stranger could put a link. Raises ConfigurationError, OSError.

    Within the store, who may write is the store's business. Elsewhere, in ``/tmp`` say, the directory (and the link to
    it, if it is one) has to belong to this user, to root, or to the owner of the store.
    """
    mode = os.stat(directory).st_mode
    if not stat.S_ISDIR(mode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), directory)
    if not _is_under(directory, store_root):
        trusted = {0, os.geteuid(), _owner_of_existing(store_root)}
        if not {os.stat(directory).st_uid, os.lstat(directory).st_uid} <= trusted:
            raise ConfigurationError(
                f"{directory}, which is to hold short names of packages, belongs to another user",
                remedy="choose a directory of your own, or of the owner of the store, with oci:relocation:alias_root",
            )
    if mode & stat.S_IWOTH and not (_is_under(directory, store_root) and os.stat(store_root).st_mode & stat.S_IWOTH):
        raise ConfigurationError(
            f"every user may write into {directory}, which is to hold short names of packages",
            remedy=f"chmod o-w {directory}, or choose another directory with oci:relocation:alias_root",
        )


def _owner_of_existing(path: str) -> int:
    """Of ``path``, or of the directory in which it will be made."""
    while not os.path.lexists(path) and path != os.path.dirname(path):
        path = os.path.dirname(path)
    return os.stat(path).st_uid


def remove_aliases(directory: str, prefix: str) -> List[str]:
    """Remove the links of ``directory`` to ``prefix`` (of a package that was uninstalled); returns their paths."""
    return _remove(directory, lambda target: target == os.path.normpath(prefix))


def prune_aliases(directory: str) -> List[str]:
    """Remove the links of ``directory`` that lead nowhere; returns their paths."""
    return _remove(directory, lambda target: not os.path.lexists(target))


def _remove(directory: str, condition) -> List[str]:
    removed = []
    try:
        for entry in sorted(os.scandir(directory), key=lambda e: e.name):
            if entry.is_symlink():
                target = os.path.normpath(os.path.join(directory, os.readlink(entry.path)))
                if condition(target):
                    os.unlink(entry.path)
                    removed.append(entry.path)
        if removed:
            with contextlib.suppress(OSError):  # not empty
                os.rmdir(directory)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as e:
        raise StorageError.from_os_error(f"removing short names in {directory}", e) from e
    return removed


def _is_under(path: str, root: str) -> bool:
    return path == root or path.startswith(root.rstrip("/") + "/")
