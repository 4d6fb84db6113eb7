# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Reading the layers of an image, as streams and without trusting them."""

import tarfile
from functools import partial
from typing import BinaryIO, Callable, Iterator, List, Tuple, cast

from ...archive.codec import Decompressor, open_decompressor
from ...content import BlobReader
from ...descriptor import Descriptor
from ...errors import CorruptArchive
from ..manifest import Base, is_foreign

#: a member that is asked for is read whole; no C library is this large
MAX_MEMBER_SIZE = 64 << 20
_CHUNK = 1 << 20


def layers_from_top(base: Base) -> List[Descriptor]:
    """The layers that can be read, the uppermost first: its files hide those below."""
    layers = [Descriptor.from_dict(entry) for entry in reversed(base.layers)]
    return [layer for layer in layers if not is_foreign(layer.media_type)]


def visit_members(
    store: BlobReader,
    descriptor: Descriptor,
    visit: Callable[[tarfile.TarInfo, Callable[[], bytes]], bool],
) -> bool:
    """Call ``visit(member, content)`` for the members of a layer, until it returns True or the layer has no more.

    ``content()``: that of a regular file; empty if it has more than MAX_MEMBER_SIZE bytes. Returns whether the layer
    was read to its end, and so its digest was checked. Raises :class:`CorruptArchive`, and
    :class:`~spack_oci.errors.DigestMismatch` with the last byte.
    """
    label = f"layer {descriptor.digest} of {store.url}"
    with store.open_blob(descriptor) as blob:
        try:
            stream = _Counted(open_decompressor(descriptor.media_type, cast(BinaryIO, blob)))
            for member, content in _members(stream):
                if visit(member, content):
                    return False
        except (tarfile.TarError, CorruptArchive) as e:
            raise CorruptArchive(f"{label} cannot be read: {e}", remedy="choose another base image") from e
        while blob.read(_CHUNK):
            pass  # padding behind the archive
    return True


def _members(stream: "_Counted") -> Iterator[Tuple[tarfile.TarInfo, Callable[[], bytes]]]:
    """As lenient as Go's archive/tar, which container engines read layers with.

    The blocks of zeros at the end may be missing (umoci 0.4.7 writes none), and so may the padding of the last member.
    """
    end = 0
    try:
        with tarfile.open(fileobj=cast(BinaryIO, stream), mode="r|") as archive:
            for member in archive:
                end = member.offset_data + (member.size if member.isreg() else 0)
                yield member, partial(_content, archive, member)
    except tarfile.ReadError:
        # what is missing is not more than padding: the archive is empty, or the last member complete
        if stream.size < end or (stream.size and not end):
            raise


class _Counted:
    """A stream that knows how many bytes were read from it."""

    def __init__(self, stream: Decompressor) -> None:
        self._stream = stream
        self.size = 0

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self.size += len(data)
        return data


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member) if member.isreg() and member.size <= MAX_MEMBER_SIZE else None
    return file.read() if file else b""
