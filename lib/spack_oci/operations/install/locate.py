# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Where the layer of a package is: from the index that is kept on the disk, or else from the package's tag.

The index makes an install one request a package, the blob. It may be behind: a package that was pushed again has
another layer, and the old one may be gone from the registry. So what the index says is tried, and when the blob is not
there the tag is read. The content is the same package either way (its DAG hash is in the entry), and verified by its
digest.
"""

from typing import Callable, Optional, Tuple, TypeVar

from ...content import ContentReader
from ...errors import NotFound, StorageError
from ...index.index_cache import IndexCache
from ...index.model import PackageEntry
from .fetch import RemotePackage, find_package

T = TypeVar("T")


def package_of_entry(entry: PackageEntry, dag_hash: str, url: str) -> RemotePackage:
    """What an install needs, without a request; ``document`` is empty."""
    facts = dict(entry.relocation)
    if entry.prefix_length is not None:
        facts["prefix_length"] = entry.prefix_length
    return RemotePackage(entry.tag, dag_hash, entry.manifest, entry.layer, entry.diff_id, {}, url, facts)


def indexed_package(index: Optional[IndexCache], url: str, tag: str, dag_hash: str) -> Optional[RemotePackage]:
    """The package if the kept index of ``url`` has it. An index that cannot be read is as good as none."""
    if index is None:
        return None
    try:
        entry = index.lookup(url, dag_hash)
    except StorageError:
        return None
    return package_of_entry(entry, dag_hash, url) if entry is not None and entry.tag == tag else None


def fetch_package(
    store: ContentReader,
    tag: str,
    dag_hash: str,
    fetch: Callable[[RemotePackage], T],
    index: Optional[IndexCache] = None,
) -> Tuple[RemotePackage, T]:
    """Call ``fetch`` with the package, as the index has it or, if that is not there any more, as its tag has it.

    ``fetch`` raises NotFound when the layer is not in the store. Raises NotFound when the package is not, and
    everything that :func:`~spack_oci.operations.install.fetch.find_package` and ``fetch`` raise.
    """
    remote = indexed_package(index, store.url, tag, dag_hash)
    if remote is not None:
        try:
            return remote, fetch(remote)
        except NotFound:
            pass
    remote = find_package(store, tag, expected_hash=dag_hash)
    return remote, fetch(remote)
