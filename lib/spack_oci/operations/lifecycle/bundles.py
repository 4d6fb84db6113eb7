# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Caches in one file: an OCI layout as a tar archive (``oci-archive``), read and written by way of a directory."""

import atexit
import contextlib
import os
from typing import Optional, Tuple

from ...archive.unpack.staging import next_staging_directory
from ...errors import ConfigurationError, StorageError
from ...layout import open_layout
from ...layout.gc import collect_garbage
from ...reference import LayoutDirectory
from ...util.concurrency.cancellation import interrupted_once
from ...util.files import storage_errors
from ..images.image_files import write_layout_archive
from .bundle_reader import unpack_bundle

#: None: there is no file
Identity = Optional[Tuple[int, int, int, int]]

#: directories that go with this process
_directories = contextlib.ExitStack()
atexit.register(_directories.close)


def unpacked(path: str, parent: str) -> str:
    """The layout of a bundle, in a directory below ``parent`` that goes with this process."""
    with storage_errors(f"unpacking {path}"):
        directory = _directories.enter_context(next_staging_directory(os.path.join(parent, "bundle")))
    unpack_bundle(path, directory)
    return directory


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
        if os.path.exists(path) and not os.path.isfile(path):  # a pipe would be waited for
            raise ConfigurationError(f"{path} is no file", remedy="name a file that ends in .tar")
        # what a link leads to is replaced, and not the link
        self.path = os.path.realpath(path)
        self._temporary = contextlib.ExitStack()
        self._parent = self.directory = ""
        #: the file that the directory was made from
        self._known: Identity = None

    def __enter__(self) -> "BundleWriter":
        with contextlib.ExitStack() as stack:
            stack.enter_context(interrupted_once())  # SIGTERM and SIGHUP, too, leave nothing
            with storage_errors(f"writing {self.path}"):
                self._parent = stack.enter_context(next_staging_directory(self.path))
                self._known = _identity(self.path)
            self.directory = os.path.join(self._parent, "layout")
            if self._known is not None:
                os.mkdir(self.directory)
                unpack_bundle(self.path, self.directory)
            self._temporary = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._temporary.close()

    def write(self) -> None:
        """Replace the file by what is in the directory now, without what nothing names. Raises StorageError, also where
        another process has written the file meanwhile: what it has put in would be lost."""
        collect_garbage(open_layout(LayoutDirectory(self.directory)), grace=-1)
        made = os.path.join(self._parent, "made")
        write_layout_archive(self.directory, made)
        with storage_errors(f"writing {self.path}"):
            if _identity(self.path) != self._known:
                raise StorageError(
                    f"{self.path} was written by somebody else meanwhile, and stays as it is now",
                    remedy="run the command again: it adds to what is there",
                )
            os.replace(made, self.path)
            self._known = _identity(self.path)


def _identity(path: str) -> Identity:
    """What changes when a file is replaced or written. Raises OSError."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
