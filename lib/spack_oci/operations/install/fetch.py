# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Find a package in a store and bring its layer to the disk.

A package is a manifest behind a tag whose config blob is also Spack's spec file and whose last layer is the tarball of
the prefix (docs/format.md).
"""

import contextlib
import fcntl
import io
import os
import secrets
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Callable, Dict, Iterator, List, Mapping, Optional

from ...content import ContentStore, Progress, SavesBlobs, read_blob
from ...content.blob_cache import BlobCache
from ...descriptor import MANIFEST_TYPES, Descriptor, VerifyingReader, parse_json
from ...errors import InvalidContent, NotAPackage, StorageError
from ...package.relocation_summary import facts_from_annotations

#: the newest ``buildcache_layout_version`` known; Spack 1.0 and 1.1 write 3, all others 2 (Spack's get_valid_spec_file)
MAX_LAYOUT_VERSION = 3

#: configs with the specs of large environments
MAX_CONFIG_SIZE = 64 << 20

_READ = 1 << 20


@dataclass(frozen=True)
class RemotePackage:
    """A package in a store."""

    tag: str
    #: dag hash
    dag_hash: str
    manifest: Descriptor
    #: the tarball of the prefix
    layer: Descriptor
    #: digest of the uncompressed tarball, if the config names it
    diff_id: Optional[str]
    #: ``{"spec": {...}, ...}``: the whole config
    document: Mapping[str, Any] = field(repr=False)
    #: URL of the store that it is in
    url: str = ""
    #: what its pusher told about relocation, see :class:`spack_oci.archive.pack.RelocationSummary`; empty: nothing
    facts: Mapping[str, int] = field(default_factory=dict, repr=False)


def find_package(store: ContentStore, tag: str, *, expected_hash: Optional[str] = None) -> RemotePackage:
    """The package behind ``tag``: two requests, manifest and config.

    Raises NotFound only if the store says so; NotAPackage for something else behind that tag, for another package than
    ``expected_hash``, and for a layout version that is not supported; and every other error of the store as it is.
    """
    what = f"{store.url}:{tag}"
    descriptor, data = store.get_manifest(tag)
    if descriptor.media_type not in MANIFEST_TYPES:
        raise NotAPackage(f"{what} is no image manifest but {descriptor.media_type}")
    manifest = parse_json(data, f"the manifest {what}")
    config, layers = _descriptors(manifest, what)
    document = parse_json(read_blob(store, config, MAX_CONFIG_SIZE), f"the config of {what}")
    dag_hash = check_document(document, what, expected_hash)
    annotations = manifest.get("annotations")
    facts: Dict[str, int] = facts_from_annotations(annotations) if isinstance(annotations, dict) else {}
    return RemotePackage(tag, dag_hash, descriptor, layers[-1], _diff_id(document, layers), document, store.url, facts)


def check_document(document: Mapping[str, Any], what: str, expected_hash: Optional[str] = None) -> str:
    """The dag hash of the package that a config (a spec file) describes. Raises NotAPackage."""
    spec = document.get("spec")
    nodes = spec.get("nodes") if isinstance(spec, dict) else None
    if not isinstance(nodes, list) or not nodes or not isinstance(nodes[0], dict):
        raise NotAPackage(f"{what} is no Spack package: its config holds no spec")
    dag_hash = nodes[0].get("hash")
    if not isinstance(dag_hash, str) or (expected_hash is not None and dag_hash != expected_hash):
        raise NotAPackage(
            f"{what} is another package: {dag_hash}, not {expected_hash}",
            remedy="its tag was overwritten; push the package again with --force",
        )
    version = document.get("buildcache_layout_version", 0)
    if not isinstance(version, int) or version > MAX_LAYOUT_VERSION:
        raise NotAPackage(
            f"{what} has the build cache layout version {version!r}; {MAX_LAYOUT_VERSION} is the newest one known",
            remedy="update spack-oci, or push the package again",
        )
    return dag_hash


def _descriptors(manifest: Mapping[str, Any], what: str) -> tuple:
    try:
        config = Descriptor.from_dict(manifest["config"])
        layers = [Descriptor.from_dict(layer) for layer in manifest["layers"]]
    except (KeyError, TypeError, InvalidContent) as e:
        raise NotAPackage(f"the manifest {what} is not one of a package ({type(e).__name__}: {e})") from e
    if not layers:
        raise NotAPackage(f"the manifest {what} has no layers")
    return config, layers


def _diff_id(document: Mapping[str, Any], layers: List[Descriptor]) -> Optional[str]:
    """The last of ``rootfs.diff_ids``, if there is one for each layer."""
    rootfs = document.get("rootfs")
    diff_ids = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    if not isinstance(diff_ids, list) or len(diff_ids) != len(layers) or not isinstance(diff_ids[-1], str):
        return None
    return diff_ids[-1]


#: called with the first bytes of a blob that is being fetched; what it raises stops the download
Peek = Callable[[bytes], None]


def fetch_layer(
    store: ContentStore,
    remote: RemotePackage,
    destination_path: str,
    progress: Optional[Progress] = None,
    peek: Optional[Peek] = None,
) -> None:
    """Download the layer of ``remote`` to a file, verified, and there only when complete.

    Raises DigestMismatch, NotFound (a manifest whose layer is gone), StorageError, and the errors of the store.
    """
    fetch_blob(store, remote.layer, destination_path, progress, peek)


def fetch_blob(
    store: ContentStore,
    descriptor: Descriptor,
    destination_path: str,
    progress: Optional[Progress] = None,
    peek: Optional[Peek] = None,
) -> None:
    """Download any blob to a file; see :func:`fetch_layer`."""
    temporary = f"{destination_path}.{secrets.token_hex(6)}.part"
    try:
        with _PeekedFile(temporary, peek) as file:
            _save(store, descriptor, file, progress)
            file.peek_if_not_yet()
        os.replace(temporary, destination_path)
    except OSError as e:
        raise StorageError.from_os_error(f"writing {destination_path}", e) from e
    finally:
        with contextlib.suppress(OSError):
            os.unlink(temporary)


def _save(store: ContentStore, descriptor: Descriptor, file: BinaryIO, progress: Optional[Progress]) -> None:
    if isinstance(store, SavesBlobs):
        return store.save_blob(descriptor, file, progress)
    with store.open_blob(descriptor) as reader:
        for chunk in iter(lambda: reader.read(_READ), b""):
            file.write(chunk)
            if progress is not None:
                progress(len(chunk))


class _PeekedFile(io.BufferedRandom):
    """A new file whose first bytes are shown to ``peek`` before they are written."""

    def __init__(self, path: str, peek: Optional[Peek]) -> None:
        super().__init__(io.FileIO(path, "x+"))
        self._show = peek

    def write(self, data: Any) -> int:
        if self._show is not None:
            self._show_once(bytes(data))
        return super().write(data)

    def peek_if_not_yet(self) -> None:
        """What was written in parts did not come in by :meth:`write`."""
        if self._show is not None:
            self.seek(0)
            self._show_once(self.read(_READ))

    def _show_once(self, data: bytes) -> None:
        show, self._show = self._show, None
        if show is not None:
            show(data)


def fetch_into_cache(
    store: ContentStore,
    descriptor: Descriptor,
    cache: BlobCache,
    progress: Optional[Progress] = None,
    peek: Optional[Peek] = None,
) -> bool:
    """Make sure that the blob cache has a blob. True: it was downloaded; False: it was there.

    However many threads and processes want the same blob at the same time, one of them downloads it and the others wait
    for it. Raises what :func:`fetch_blob` raises.
    """
    if cache.get(descriptor.digest) is not None:
        return False
    with _only_one(cache, descriptor) as path:
        if cache.get(descriptor.digest) is not None:
            return False
        fetch_blob(store, descriptor, path, progress, peek)
        cache.add(descriptor.digest, path)
        return True


@contextlib.contextmanager
def _only_one(cache: BlobCache, descriptor: Descriptor) -> Iterator[str]:
    """Holds the lock on the download of a blob; the path is a place for it, which nobody else uses."""
    directory = os.path.join(cache.root, "fetching")
    name = descriptor.digest.replace(":", "-")
    path = os.path.join(directory, name)
    try:
        lock = _lock(directory, path + ".lock")
        try:
            for left in os.listdir(directory):
                if left.startswith(name) and left.endswith(".part"):  # of a process that was killed
                    os.unlink(os.path.join(directory, left))
            yield path
        finally:
            with contextlib.suppress(OSError):
                os.unlink(path + ".lock")
            os.close(lock)
    except OSError as e:
        raise StorageError.from_os_error("fetching into the blob cache", e) from e


def _lock(directory: str, path: str) -> int:
    """An open, locked file that is still the one at ``path``: who held the lock before removes it."""
    while True:
        os.makedirs(directory, exist_ok=True)
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        with contextlib.suppress(OSError):  # a file system without locks: then two may download the same
            fcntl.flock(lock, fcntl.LOCK_EX)
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(lock), os.stat(path)):
                return lock
        os.close(lock)


def open_cached(store: ContentStore, descriptor: Descriptor, cache: BlobCache) -> VerifyingReader:
    """A blob from the cache, where it is put if it is not there; whoever reads it to its end has verified it.

    A reader that raises DigestMismatch has found a damaged entry: :meth:`BlobCache.drop` it and try once more.
    """
    for _ in range(3):
        fetch_into_cache(store, descriptor, cache)
        try:
            return VerifyingReader(open(cache.path(descriptor.digest), "rb"), descriptor, "the blob cache")
        except FileNotFoundError:  # another process made room
            continue
        except OSError as e:
            raise StorageError.from_os_error("reading from the blob cache", e) from e
    raise StorageError(
        f"the blob cache does not keep {descriptor.digest} ({descriptor.size} bytes)",
        remedy="make oci:cache:max_size larger than the packages that are installed at the same time",
    )
