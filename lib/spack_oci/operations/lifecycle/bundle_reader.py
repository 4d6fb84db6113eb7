# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""A layout in one file: a tar archive of what image-layout.md defines, and nothing else."""

import os
import re

from ...archive.tar_reader import DIRECTORY, FILE, TarMember, TarReader
from ...errors import ArchiveError, CorruptArchive, UnsafeArchive
from ...util.files import storage_errors

#: the only names that such an archive has
_NAME = re.compile(r"(\./)?(oci-layout|index\.json|blobs/[a-z0-9]+/[a-f0-9]{32,128})\Z")
_DIRECTORY = re.compile(r"(\./)?(blobs(/[a-z0-9]+)?)?/?\Z|\.\Z")
_CHUNK = 1 << 20


def unpack_bundle(path: str, directory: str) -> None:
    """Write the layout of an archive below ``directory``, which is empty. Content is verified when it is read.

    Raises UnsafeArchive for a member that has no business in it, CorruptArchive for a file that is none or ends too
    early, StorageError.
    """
    with storage_errors(f"unpacking {path}"):
        try:
            with open(path, "rb", buffering=0) as file:
                reader = TarReader(lambda: file.read(_CHUNK))
                for member in reader:
                    _unpack(reader, member, directory)
        except UnsafeArchive as e:
            raise UnsafeArchive(
                f"the bundle {path} is not safe: {e.message}",
                remedy="do not use it until who made it has explained this",
            ) from e
        except ArchiveError as e:
            raise CorruptArchive(
                f"{path} is no bundle, or only a part of one ({e.message})", remedy="copy it again, or make it anew"
            ) from e
    for name in ("oci-layout", "index.json"):
        if not os.path.exists(os.path.join(directory, name)):
            raise CorruptArchive(f"{path} is no bundle: it has no {name}", remedy="copy it again, or make it anew")


def _unpack(reader: TarReader, member: TarMember, directory: str) -> None:
    name = os.fsdecode(member.name)
    if member.kind == DIRECTORY and _DIRECTORY.match(name):
        return
    if member.kind != FILE or not _NAME.match(name):
        raise UnsafeArchive(f"{name!r} has no business in it")
    target = os.path.join(directory, name)
    os.makedirs(os.path.dirname(target), exist_ok=True)
    with open(target, "xb") as file:
        for data, start, end in reader.pieces():
            file.write(memoryview(data)[start:end])
