# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Reading single files out of the layers of an image, as a stream and without trusting them."""

import tarfile
from typing import BinaryIO, Callable, Generator, List, Tuple, cast

from ..archive.codec import open_decompressor
from ..content import ContentStore
from ..descriptor import Descriptor
from ..errors import CorruptArchive
from .manifest import Base, is_foreign

#: a member that is asked for is read whole; no C library is this large
MAX_MEMBER_SIZE = 64 << 20


def layers_from_top(base: Base) -> List[Tuple[Descriptor, str]]:
    """(descriptor, diff ID) of the layers that can be read, the uppermost first: its files hide those below."""
    pairs = [(Descriptor.from_dict(entry), diff_id) for entry, diff_id in zip(base.layers, base.diff_ids)]
    return [pair for pair in reversed(pairs) if not is_foreign(pair[0].media_type)]


def layer_members(
    store: ContentStore, descriptor: Descriptor, wanted: Callable[[str], bool]
) -> Generator[Tuple[tarfile.TarInfo, BinaryIO], None, None]:
    """The regular files of a layer whose names are ``wanted``, with their content.

    The layer is read to its end, so that its digest is checked, if the caller takes all members. Raises
    :class:`CorruptArchive`, and :class:`~spack_oci.errors.DigestMismatch` with the last byte.
    """
    what = f"layer {descriptor.digest} of {store.url}"
    with store.open_blob(descriptor) as blob:
        try:
            stream = open_decompressor(descriptor.media_type, cast(BinaryIO, blob))
            with tarfile.open(fileobj=cast(BinaryIO, stream), mode="r|") as archive:
                for member in archive:
                    if member.isfile() and member.size <= MAX_MEMBER_SIZE and wanted(member.name):
                        content = archive.extractfile(member)
                        yield member, cast(BinaryIO, content)  # not None: it is a regular file
        except (tarfile.TarError, CorruptArchive) as e:
            raise CorruptArchive(f"{what} cannot be read: {e}", remedy="choose another base image") from e
        # padding behind the archive: read it for the digest
        while blob.read(1 << 20):
            pass
