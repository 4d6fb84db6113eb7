# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Stores of content behind one interface, and what is done between any two of them."""

from .interfaces import (
    MAX_MANIFEST_SIZE,
    BlobSource,
    BytesSource,
    ContentStore,
    FileSource,
    MissingStore,
    Presence,
    Progress,
    SavesBlobs,
    put_bytes,
    read_blob,
    total_size,
)

__all__ = [
    "BlobSource",
    "BytesSource",
    "ContentStore",
    "FileSource",
    "MAX_MANIFEST_SIZE",
    "MissingStore",
    "Presence",
    "Progress",
    "SavesBlobs",
    "put_bytes",
    "read_blob",
    "total_size",
]
