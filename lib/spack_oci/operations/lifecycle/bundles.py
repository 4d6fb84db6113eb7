# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Caches in one file: an OCI layout as a tar archive (``oci-archive``), read and written by way of a directory."""

import os
import tempfile
from typing import List, Optional

from ...errors import ConfigurationError
from ...layout import open_layout
from ...layout.bundle import unpack_bundle
from ...layout.gc import collect_garbage
from ...reference import LayoutDirectory
from ...util.files import storage_errors
from ..images.image_files import write_layout_archive

#: directories that go with this process
_directories: List["tempfile.TemporaryDirectory[str]"] = []


def unpacked(path: str, parent: str) -> str:
    """The layout of a bundle, in a directory below ``parent`` that goes with this process."""
    with storage_errors(f"unpacking {path}"):
        os.makedirs(parent, exist_ok=True)
        directory = tempfile.TemporaryDirectory(prefix="bundle-", dir=parent)
    _directories.append(directory)
    unpack_bundle(path, directory.name)
    return directory.name


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
        self._temporary: Optional[tempfile.TemporaryDirectory[str]] = None
        self.directory = ""

    def __enter__(self) -> "BundleWriter":
        parent = os.path.dirname(self.path)
        with storage_errors(f"writing {self.path}"):
            os.makedirs(parent, exist_ok=True)
            self._temporary = tempfile.TemporaryDirectory(prefix=".spack-oci-", dir=parent)
        self.directory = os.path.join(self._temporary.name, "layout")
        if os.path.exists(self.path):
            os.mkdir(self.directory)
            unpack_bundle(self.path, self.directory)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._temporary is not None
        self._temporary.cleanup()

    def write(self) -> None:
        """Replace the file by what is in the directory now, without what nothing names. Raises StorageError."""
        collect_garbage(open_layout(LayoutDirectory(self.directory)), grace=-1)
        write_layout_archive(self.directory, self.path)
