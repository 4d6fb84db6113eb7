# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""A layout in one file: a tar archive of what image-layout.md defines, and nothing else."""

import os
import re
import tarfile
from typing import IO, cast

from ..errors import CorruptArchive, UnsafeArchive
from ..util.files import storage_errors

#: the only names that such an archive has
_NAME = re.compile(r"(\./)?(oci-layout|index\.json|blobs/[a-z0-9]+/[a-f0-9]{32,128})\Z")
_CHUNK = 1 << 20


def unpack_bundle(path: str, directory: str) -> None:
    """Write the layout of an archive below ``directory``, which is empty. Content is verified when it is read.

    Raises UnsafeArchive for a member that has no business in it, CorruptArchive for a file that is none or ends too
    early, StorageError.
    """
    with storage_errors(f"unpacking {path}"):
        try:
            with tarfile.open(path, "r:") as tar:
                for member in tar:
                    _unpack(tar, member, path, directory)
        except tarfile.TarError as e:
            raise CorruptArchive(
                f"{path} is no bundle, or only a part of one ({e})", remedy="copy it again, or make it anew"
            ) from e
    for name in ("oci-layout", "index.json"):
        if not os.path.exists(os.path.join(directory, name)):
            raise CorruptArchive(f"{path} is no bundle: it has no {name}", remedy="copy it again, or make it anew")


def _unpack(tar: tarfile.TarFile, member: tarfile.TarInfo, path: str, directory: str) -> None:
    if member.isdir() and re.match(r"(\./)?(blobs(/[a-z0-9]+)?)?/?\Z|\.\Z", member.name):
        return
    if not member.isreg() or member.issparse() or not _NAME.match(member.name):
        raise UnsafeArchive(
            f"the bundle {path} is not safe: {member.name!r} has no business in it",
            remedy="do not use it until who made it has explained this",
        )
    target = os.path.join(directory, member.name)
    os.makedirs(os.path.dirname(target), exist_ok=True)
    source = cast(IO[bytes], tar.extractfile(member))
    written = 0
    with open(target, "xb") as file:
        for chunk in iter(lambda: source.read(_CHUNK), b""):
            written += file.write(chunk)
    if written != member.size:
        raise CorruptArchive(f"{path} ends too early, in {member.name}", remedy="copy it again, or make it anew")
