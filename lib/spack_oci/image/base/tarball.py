# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Reading the layers of an image, as streams and without trusting them."""

from functools import partial
from typing import BinaryIO, Callable, List, cast

from ...archive.codec import open_decompressor
from ...archive.tar_reader import FILE, SPARSE, TarMember, TarReader
from ...content import BlobReader
from ...descriptor import Descriptor
from ...errors import CorruptArchive, UnsafeArchive
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
    visit: Callable[[TarMember, Callable[[], bytes]], bool],
    *,
    remedy: str = "choose another base image",
) -> bool:
    """Call ``visit(member, content)`` for the members of a layer, until it returns True or the layer has no more.

    As lenient as Go's archive/tar, which container engines read layers with: the blocks of zeros at the end may be
    missing (umoci 0.4.7 writes none), and so may the padding of the last member.

    ``content()``: that of a regular file; empty if it has more than MAX_MEMBER_SIZE bytes. Returns whether the layer
    was read to its end, and so its digest was checked. Raises :class:`CorruptArchive`, and
    :class:`~spack_oci.errors.DigestMismatch` with the last byte.
    """
    label = f"layer {descriptor.digest} of {store.url}"
    with store.open_blob(descriptor) as blob:
        try:
            stream = open_decompressor(descriptor.media_type, cast(BinaryIO, blob))
            reader = TarReader(lambda: stream.read(_CHUNK), lenient=True)
            for member in reader:
                if visit(member, partial(_content, reader, member)):
                    return False
        except (CorruptArchive, UnsafeArchive) as e:
            raise CorruptArchive(f"{label} cannot be read: {e.message}", remedy=remedy) from e
        while blob.read(_CHUNK):
            pass  # padding behind the archive
    return True


def _content(reader: TarReader, member: TarMember) -> bytes:
    if member.kind == SPARSE:
        raise CorruptArchive(f"{member.name.decode('utf-8', 'backslashreplace')} is stored without its holes")
    return reader.content() if member.kind == FILE and member.size <= MAX_MEMBER_SIZE else b""
