# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Reading single files out of the layers of an image, as a stream and without trusting them."""

import tarfile
from typing import BinaryIO, Callable, List, cast

from ..archive.codec import open_decompressor
from ..content import ContentStore
from ..descriptor import Descriptor
from ..errors import CorruptArchive
from .manifest import Base, is_foreign

#: a member that is asked for is read whole; no C library is this large
MAX_MEMBER_SIZE = 64 << 20
_CHUNK = 1 << 20


def layers_from_top(base: Base) -> List[Descriptor]:
    """The layers that can be read, the uppermost first: its files hide those below."""
    layers = [Descriptor.from_dict(entry) for entry in reversed(base.layers)]
    return [layer for layer in layers if not is_foreign(layer.media_type)]


def visit_files(
    store: ContentStore,
    descriptor: Descriptor,
    wanted: Callable[[str], bool],
    visit: Callable[[str, bytes], bool],
    *,
    check_up_to: int,
) -> bool:
    """Call ``visit(name, content)`` for the regular files of a layer whose names are ``wanted``, until it returns True.

    What is left then is not unpacked, but read for the digest if the layer has at most ``check_up_to`` bytes. Returns
    whether the digest was checked. Raises :class:`CorruptArchive`, and
    :class:`~spack_oci.errors.DigestMismatch` with the last byte.
    """
    what = f"layer {descriptor.digest} of {store.url}"
    with store.open_blob(descriptor) as blob:
        try:
            stream = open_decompressor(descriptor.media_type, cast(BinaryIO, blob))
            with tarfile.open(fileobj=cast(BinaryIO, stream), mode="r|") as archive:
                enough = any(
                    visit(member.name, cast(BinaryIO, archive.extractfile(member)).read())
                    for member in archive
                    if member.isfile() and member.size <= MAX_MEMBER_SIZE and wanted(member.name)
                )
        except (tarfile.TarError, CorruptArchive) as e:
            raise CorruptArchive(f"{what} cannot be read: {e}", remedy="choose another base image") from e
        if enough and descriptor.size > check_up_to:
            return False
        while blob.read(_CHUNK):
            pass
    return True
