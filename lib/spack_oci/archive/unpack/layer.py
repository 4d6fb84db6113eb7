# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""From a compressed stream to an installed prefix in one pass.

Decompress, untar, relocate, write: into a hidden staging directory beside the prefix, which is renamed when the stream
was read to its end (so that whoever verifies it has verified it) and everything is in place. On any failure nothing is
left. See ``extraction`` for how.
"""

import os
from typing import Any, BinaryIO, Callable, Mapping, Optional

from ...errors import StorageError
from ...relocate.files import MachoRelocator
from ...relocate.mapping import Relocation
from ..codec import open_decompressor
from ..tar_reader import TarReader
from .extraction import Extraction, InstallSummary, PrefixAccess
from .install_manifest import adapt_manifest
from .limits import check_space, size_limit
from .read_ahead import ReadAhead
from .staging import commit, remove_stale, staging_directory

#: whoever may look into the prefix where the package was built
AS_IN_TARBALL = PrefixAccess()
NO_SUMMARY: Mapping[str, Any] = {}


def install_layer(
    source: BinaryIO,
    media_type: str,
    prefix: str,
    relocation: Relocation,
    *,
    dag_hash: str,
    label: str = "",
    access: PrefixAccess = AS_IN_TARBALL,
    compressed_size: Optional[int] = None,
    announced: Mapping[str, Any] = NO_SUMMARY,
    replace: bool = False,
    macho: Optional[MachoRelocator] = None,
    before_rename: Callable[[str, InstallSummary], None] = lambda directory, summary: None,
) -> InstallSummary:
    """Install a package's layer into ``prefix`` (absolute).

    ``source``: the compressed stream; whatever it raises at its end (DigestMismatch) stops the install. ``dag_hash``:
    of the package that was asked for, under which it was built. ``label``: names it in errors. ``compressed_size``
    bounds what it may unpack to, together with what its pusher has ``announced``, see ``limits``. ``replace``: an
    existing prefix is replaced; otherwise it is an error. ``macho``: see ``relocate``. ``before_rename``: called with
    the staging directory when it is complete; what it raises stops the install.

    Missing parent directories of the prefix are made with the process's umask; a caller with other wishes makes them
    before. Raises CorruptArchive, UnsafeArchive, DigestMismatch, PrefixTooLong, StorageError.
    """
    label = label or os.path.basename(prefix)
    if not replace and os.path.lexists(prefix):
        raise StorageError(f"installing {label}: {prefix} exists", remedy="remove it, or install with --overwrite")
    check_space(prefix, announced, label)
    max_size = None if compressed_size is None else size_limit(compressed_size, announced)
    try:
        os.makedirs(os.path.dirname(prefix), exist_ok=True)
        remove_stale(prefix)
        with staging_directory(prefix) as directory:
            with open_decompressor(media_type, source) as stream, ReadAhead(stream, compressed_size) as tar:
                extraction = Extraction(directory, access, label)
                extraction.run(TarReader(tar.read, max_size))
            summary = extraction.finish(prefix, dag_hash, relocation, macho)
            summary.manifest = adapt_manifest(directory, prefix, summary.relocated.files, extraction.times)
            before_rename(directory, summary)
            commit(directory, prefix, replace)
            return summary
    except OSError as e:
        raise StorageError.from_os_error(f"installing {label} into {prefix}", e) from e


def unpack_as_built(
    source: BinaryIO,
    media_type: str,
    directory: str,
    *,
    dag_hash: str,
    label: str,
    compressed_size: int,
    announced: Mapping[str, Any] = NO_SUMMARY,
) -> InstallSummary:
    """The files of a package's layer in ``directory``, which is empty, with every path as it was where it was built.

    For a look at them, by the same judge as an install. Arguments and errors as :func:`install_layer`.
    """
    try:
        with open_decompressor(media_type, source) as stream, ReadAhead(stream, compressed_size) as tar:
            extraction = Extraction(directory, AS_IN_TARBALL, label)
            extraction.run(TarReader(tar.read, size_limit(compressed_size, announced)))
        return extraction.finish_as_built(dag_hash)
    except OSError as e:
        raise StorageError.from_os_error(f"unpacking {label} into {directory}", e) from e
