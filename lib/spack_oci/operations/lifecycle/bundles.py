# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Caches in one file: an OCI layout as a tar archive (``oci-archive``), read and written by way of a directory."""

import atexit
import contextlib
import os

from ...archive.unpack.staging import remove_stale, staging_directory
from ...errors import ConfigurationError
from ...layout import open_layout
from ...layout.gc import collect_garbage
from ...reference import LayoutDirectory
from ...util.concurrency.locks import locked_if_possible
from ...util.files import storage_errors
from ..images.image_files import write_layout_archive
from .bundle_reader import unpack_bundle

#: directories that go with this process
_directories = contextlib.ExitStack()
atexit.register(_directories.close)


def unpacked(path: str, parent: str) -> str:
    """The layout of a bundle, in a directory below ``parent`` that goes with this process."""
    with storage_errors(f"unpacking {path}"):
        directory = _new_directory(os.path.join(parent, "bundle"), _directories)
    unpack_bundle(path, directory)
    return directory


def _new_directory(beside: str, stack: contextlib.ExitStack) -> str:
    """One that goes with ``stack``, instead of those that killed processes have left there. Raises OSError."""
    parent = os.path.dirname(beside)
    os.makedirs(parent, exist_ok=True)
    # else a new one could be taken for one that was left, before it has its own lock
    with locked_if_possible(os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)):
        remove_stale(beside)
        return stack.enter_context(staging_directory(beside))


def is_bundle(word: str) -> bool:
    """Whether a path is to be written as a bundle, or is one that can be read."""
    if "://" in word or os.path.isdir(word):
        return False
    return word.endswith(".tar") or ("/" in word and os.path.isfile(word))


class BundleWriter:
    """A bundle that is being made, or gets more: a context manager, whose directory is beside the file. It holds the
    layout of the file, if there is one."""

    def __init__(self, path: str) -> None:
        if os.path.isdir(path):
            raise ConfigurationError(f"{path} is a directory", remedy="name a file that ends in .tar")
        self.path = os.path.abspath(path)
        self._temporary = contextlib.ExitStack()
        self.directory = ""

    def __enter__(self) -> "BundleWriter":
        with storage_errors(f"writing {self.path}"):
            self.directory = os.path.join(_new_directory(self.path, self._temporary), "layout")
        if os.path.exists(self.path):
            os.mkdir(self.directory)
            unpack_bundle(self.path, self.directory)
        return self

    def __exit__(self, *_: object) -> None:
        self._temporary.close()

    def write(self) -> None:
        """Replace the file by what is in the directory now, without what nothing names. Raises StorageError."""
        collect_garbage(open_layout(LayoutDirectory(self.directory)), grace=-1)
        write_layout_archive(self.directory, self.path)
