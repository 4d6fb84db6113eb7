# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Spack's mirrors, as the sub-commands of :mod:`spack_oci.maintenance` see a cache."""

import functools
from typing import Any, Callable, Optional, Sequence, Set

import spack.llnl.util.tty as tty
import spack.mirrors.mirror

from ...content import ContentStore
from ...content.blob_cache import BlobCache
from ...index.model import PackageIndex
from ...index.update.loop import UpdateSettings
from ...operations.trust.trusted_index import TrustedIndex
from ...operations.trust.write import Written
from ...reference import LayoutDirectory, Location
from ...trust.keys import PublicKey
from ...trust.policy import Policy
from ...trust.signers import Signer
from ...util.progress import Reporter
from .. import compat, indexes
from ..configuration import mirror_arguments, mirrors, settings, trust
from ..output import reporter
from .select import hashes_matching


class OpenedMirror:
    """``direction``: FETCH: what those get who install; PUSH: what the cache has, without its pull-through mirrors."""

    program = "spack oci"
    out = tty

    def __init__(self, mirror: "spack.mirrors.mirror.Mirror", direction: str) -> None:
        self.mirror = mirror
        self._direction = direction

    @property
    def jobs(self) -> int:
        return settings.read().transfer_jobs

    @property
    def url(self) -> str:
        return self.mirror.push_url if self._direction == mirrors.PUSH else self.mirror.fetch_url

    @property
    def location(self) -> Location:
        return mirrors.location_of(self.mirror, self._direction)

    def open(self, *, create: bool = False) -> ContentStore:
        return mirrors.open_store(self.mirror, self._direction, create=create)

    def open_index(self) -> ContentStore:
        return mirrors.open_index_store(self.mirror, self._direction)

    def blobs(self) -> BlobCache:
        return settings.blob_cache(settings.read())

    def update_settings(self) -> UpdateSettings:
        return indexes.update_settings(self.mirror)

    def reporter(self) -> Reporter:
        return reporter()

    def matching(self, index: PackageIndex, specs: Sequence[str]) -> Set[str]:
        return hashes_matching(index, specs, self.open().url)

    def policy(self) -> Policy:
        return trust.policy_of(self.mirror)

    def known_keys(self) -> Sequence[PublicKey]:
        # without a policy, and so perhaps without cryptography, signatures are only listed
        return list(trust.trust().keys.values()) if settings.read().trust.get("keys") else []

    def trusted_index(self) -> Optional[TrustedIndex]:
        return trust.trusted_index(self.mirror)

    def read_key_file(self, path: str) -> bytes:
        return trust.read_key_file(path)

    def signer(self) -> Optional[Signer]:
        return trust.signer()

    def update_after_signing(self, written: Sequence[Written], signer: Signer) -> Any:
        return indexes.update_after_signing(self.mirror, written, signer)

    def snapshot_statement(self, signer: Signer, name: str) -> Any:
        return trust.index_signing(self.mirror, (), signer).snapshot_statement(name)


def find(name: Optional[str], direction: str) -> OpenedMirror:
    """The mirror that a user means; says which if she did not."""
    mirror, note = mirror_arguments.find(name, direction)
    if note:
        tty.info(note)
    return OpenedMirror(mirror, direction)


def to_read(name: Optional[str]) -> Callable[[], OpenedMirror]:
    return functools.partial(find, name, mirrors.FETCH)


def to_change(name: Optional[str]) -> Callable[[], OpenedMirror]:
    return functools.partial(find, name, mirrors.PUSH)


class Mirrors:
    """See :class:`spack_oci.maintenance.cache.Caches`."""

    def find(self, word: str, *, writes: bool) -> OpenedMirror:
        direction = mirrors.PUSH if writes else mirrors.FETCH
        return OpenedMirror(mirror_arguments.find(word, direction)[0], direction)

    def at(self, location: LayoutDirectory, *, writes: bool) -> OpenedMirror:
        if location.bundle:
            mirrors.copied_bundles[location.bundle] = location
        mirror = spack.mirrors.mirror.Mirror(location.url)
        return OpenedMirror(mirror, mirrors.PUSH if writes else mirrors.FETCH)

    def absolute(self, path: str) -> str:
        return compat.canonicalize_path(path)

    @property
    def cache_root(self) -> str:
        return settings.read().cache_root
