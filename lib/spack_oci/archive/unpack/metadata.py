# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What is read from and written to ``.spack`` of a prefix that a stranger's tarball has made.

Nothing is opened through a link: the directory must be one, and every file is made anew.
"""

import contextlib
import json
import os
import stat
from typing import Any, Iterator, Optional

from ...errors import CorruptArchive, UnsafeArchive
from ...util.files import storage_errors

DIRECTORY = ".spack"
SPEC_FILE = "spec.json"

#: specs of large environments
_MAX_SPEC_SIZE = 64 << 20


@contextlib.contextmanager
def _opened(prefix: str) -> Iterator[int]:
    descriptor = os.open(os.path.join(prefix, DIRECTORY), os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def write_metadata(prefix: str, name: str, data: bytes) -> None:
    """Replace ``.spack/NAME``; a new file has the permissions of the umask, another one those of the file before it.

    Raises StorageError, also if ``.spack`` is a link.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with storage_errors(f"writing {prefix}/{DIRECTORY}/{name}"), _opened(prefix) as directory:
        before = _status(name, directory)
        _unlink(name, directory)
        with open(os.open(name, flags, 0o666, dir_fd=directory), "wb") as file:
            file.write(data)
            if before is not None and stat.S_ISREG(before.st_mode):
                if before.st_gid != os.fstat(file.fileno()).st_gid:
                    os.fchown(file.fileno(), -1, before.st_gid)
                os.fchmod(file.fileno(), stat.S_IMODE(before.st_mode))


def remove_metadata(prefix: str, name: str) -> None:
    """Remove ``.spack/NAME``, if it is there. Raises StorageError."""
    with storage_errors(f"removing {prefix}/{DIRECTORY}/{name}"), _opened(prefix) as directory:
        _unlink(name, directory)


def _status(name: str, directory: int) -> Optional[os.stat_result]:
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _unlink(name: str, directory: int) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name, dir_fd=directory)


def read_metadata(prefix: str, name: str, max_size: int) -> bytes:
    """``.spack/NAME``, not through a link. Raises OSError; UnsafeArchive if it has more than ``max_size`` bytes."""
    with _opened(prefix) as directory:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
        with open(descriptor, "rb") as file:
            data = file.read(max_size + 1)
    if len(data) > max_size:
        raise UnsafeArchive(f"{DIRECTORY}/{name} has more than {max_size} bytes")
    return data


def check_hash(prefix: str, dag_hash: str, label: str) -> None:
    """The files in ``prefix`` are those of the package ``dag_hash``, as their own ``.spack/spec.json`` says.

    A manifest is bound to its hash by its config; this binds the tarball. Raises CorruptArchive, UnsafeArchive.
    """
    path = f"{DIRECTORY}/{SPEC_FILE}"
    try:
        document = json.loads(read_metadata(prefix, SPEC_FILE, _MAX_SPEC_SIZE))
        found = document["spec"]["nodes"][0]["hash"]
    except (FileNotFoundError, NotADirectoryError) as e:
        raise CorruptArchive(f"the tarball of {label} is no Spack package: it has no {path}") from e
    except (ValueError, LookupError, TypeError, RecursionError) as e:
        raise CorruptArchive(f"the tarball of {label} is no Spack package: its {path} is damaged") from e
    if found != dag_hash:
        raise UnsafeArchive(
            f"the tarball of {label} holds another package: its hash is {_shown(found)}, not {dag_hash}",
            remedy="push the package again with --force, or use another mirror",
        )


def _shown(value: Any) -> str:
    return ascii(value)[:80]
