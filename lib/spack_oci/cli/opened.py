# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Caches by their URL or path, as the sub-commands of :mod:`spack_oci.maintenance` see them."""

from dataclasses import dataclass
from typing import Any, Iterator, Mapping, Optional, Sequence, Set, cast

from ..configuration import trust as configuration
from ..configuration.settings import blob_cache
from ..content import ContentStore
from ..content.blob_cache import BlobCache
from ..index.model import PackageIndex
from ..index.update.loop import UpdateSettings, update_index
from ..maintenance.cache import Output
from ..operations.catalog import no_package_matches
from ..operations.trust.generations import Generations
from ..operations.trust.trusted_index import TrustedIndex
from ..operations.trust.write import Written
from ..reference import LayoutDirectory, Location
from ..specs.constraints import parse_specs
from ..trust.keys import PublicKey
from ..trust.policy import Policy
from ..trust.signers import Signer
from ..util.progress import Reporter
from . import output, settings
from .caches import copied_bundles, index_settings, index_signing, location_of, open_cache, open_index, signer, url_of
from .output import reporter, warn


class NodesOfIndex(Mapping[str, Mapping[str, Any]]):
    """DAG hash -> node, each parsed when it is asked for."""

    def __init__(self, index: PackageIndex) -> None:
        self._index = index

    def __getitem__(self, dag_hash: str) -> Mapping[str, Any]:
        return self._index.node(dag_hash)

    def __iter__(self) -> Iterator[str]:
        return (found.dag_hash for found in self._index.nodes())

    def __len__(self) -> int:
        return sum(1 for _ in self)


@dataclass(frozen=True)
class OpenedCache:
    """``writes``: for a command that changes what is there."""

    word: str
    writes: bool
    program: str = "spack-oci"

    @property
    def out(self) -> Output:
        return cast(Output, output)

    @property
    def jobs(self) -> int:
        return settings.read().transfer_jobs

    @property
    def url(self) -> str:
        return url_of(self.word)

    @property
    def location(self) -> Location:
        return location_of(self.word)

    def open(self, *, create: bool = False) -> ContentStore:
        return open_cache(self.word, create=create, writes=self.writes)

    def open_index(self) -> ContentStore:
        return open_index(self.word, writes=self.writes)

    def blobs(self) -> BlobCache:
        return blob_cache(settings.read())

    def update_settings(self) -> UpdateSettings:
        return index_settings(self.word)

    def reporter(self) -> Reporter:
        return reporter()

    def matching(self, index: PackageIndex, specs: Sequence[str]) -> Set[str]:
        nodes = NodesOfIndex(index)
        found: Set[str] = set()
        for constraint in parse_specs(" ".join(specs)):
            matches = {h for h in index.tags.values() if constraint.matches(nodes[h], nodes)}
            if not matches:
                raise no_package_matches(
                    self.url, str(constraint), constraint.name or "", index, f"spack-oci list --allarch {self.word}"
                )
            found |= matches
        return found

    def policy(self) -> Policy:
        return configuration.policy_of(settings.read().trust, self.url, settings.absolute)

    def known_keys(self) -> Sequence[PublicKey]:
        section = settings.read().trust
        if not section.get("keys"):
            return []
        return list(configuration.read_trust(section, settings.absolute).keys.values())

    def trusted_index(self) -> Optional[TrustedIndex]:
        policy = self.policy()
        if not policy.active:
            return None
        return TrustedIndex(policy, self.open(), Generations(settings.read().trust_directory), warn, jobs=self.jobs)

    def read_key_file(self, path: str) -> bytes:
        return configuration.read_key_file(settings.absolute(path))

    def signer(self) -> Optional[Signer]:
        return signer()

    def update_after_signing(self, written: Sequence[Written], signer: Signer) -> Any:
        return update_index(self.open(), index_settings(self.word, written, signer))

    def snapshot_statement(self, signer: Signer, name: str) -> Any:
        return index_signing(self.word, renewed_by=signer).snapshot_statement(name)


class OpenedCaches:
    """See :class:`spack_oci.maintenance.cache.Caches`."""

    def find(self, word: str, *, writes: bool) -> OpenedCache:
        location_of(word)  # a wrong word is named before anything is done
        return OpenedCache(word, writes)

    def at(self, location: LayoutDirectory, *, writes: bool) -> OpenedCache:
        if location.bundle:
            copied_bundles[location.bundle] = location
        return OpenedCache(location.url, writes)

    def absolute(self, path: str) -> str:
        return settings.absolute(path)

    @property
    def cache_root(self) -> str:
        return settings.read().cache_root
