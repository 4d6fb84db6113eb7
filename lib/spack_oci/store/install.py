# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Packages of a cache into a store: what is missing of the closure of some roots, in one go.

The engine is the one of `spack oci install` (:mod:`spack_oci.operations.install.execute`); here is what its steps are
without Spack: the same extraction and relocation, then what Spack's hooks do to a package from a cache (first lines of
scripts, the manifest for `spack verify`), and its record in the database.
"""

import contextlib
import json
import os
import time
from collections import ChainMap
from dataclasses import dataclass, field
from functools import partial
from typing import AbstractSet, Any, Callable, Dict, Iterable, Iterator, List, Mapping, Optional, Sequence, Tuple

from ..archive.unpack.install_manifest import contents_of, update_manifest
from ..archive.unpack.layer import install_layer
from ..archive.unpack.staging import remove_stale, remove_tree
from ..content import Progress
from ..content.blob_cache import BlobCache
from ..content.cached_fetch import fetch_into_cache, open_arriving, use_cached
from ..descriptor import VerifyingReader
from ..errors import NotAPackage, NotFound, SpackOciError, StorageError
from ..operations.install.arriving import Begin
from ..operations.install.closure import refused
from ..operations.install.execute import InstallLimits, install_all
from ..operations.install.fetch import RemotePackage, find_package
from ..operations.install.locate import check_package, fetch_package, is_proven
from ..operations.install.outcome import InstallItem, InstallOutcome
from ..package.record import package_tag
from ..relocate.aliases import Aliases, alias_directory
from ..relocate.build_info import BUILD_INFO, BuildInfo
from ..relocate.mapping import Relocation
from ..relocate.preflight import check_summary
from ..specs.constraints import Graph
from ..util.concurrency.threads import DaemonPool
from ..util.files import atomic_write, storage_errors
from ..util.progress import Reporter
from .activation import Change, Changes, PathsHere, changes_of_image
from .database import Records
from .layout import make_directory, metadata_path
from .machine import runtime_nodes
from .sbang import is_program, shorten_first_lines
from .selection import closure
from .source import Source, label
from .store import Store


@dataclass
class InstallPlan:
    """``missing``: nodes, dependencies first; ``prefixes``: of all that they refer to, by DAG hash."""

    roots: List[Mapping[str, Any]]
    missing: List[Mapping[str, Any]]
    installed: List[Mapping[str, Any]]
    prefixes: Dict[str, str] = field(default_factory=dict)
    sizes: Dict[str, int] = field(default_factory=dict)
    #: nodes of externals that packages of the plan run with, and that are not where they should be
    missing_externals: List[Mapping[str, Any]] = field(default_factory=list)

    @property
    def size(self) -> int:
        return sum(self.sizes.values())


_UNSIGNED = ", and sign it: what the policy of the cache does not accept counts as absent"


def plan(store: Store, records: Records, roots: Sequence[Mapping[str, Any]], source: Source) -> InstallPlan:
    """What would be installed. Raises NotFound for a closure that the cache does not have all of, and NotAPackage for
    what cannot be installed without Spack."""
    graph: Graph = ChainMap(source.graph, records.nodes)  # type: ignore[arg-type]  # nothing is written
    nodes, lacking = closure([root["hash"] for root in roots], graph)
    packages = [node for node in nodes if not node.get("external")]
    missing = [node for node in packages if not records.is_installed(node["hash"])]
    absent = [label(node) for node in missing if node["hash"] not in source.available]
    if absent or lacking:
        raise NotFound(
            f"{source.url} lacks what {', '.join(label(root) for root in roots)} needs to run: "
            f"{', '.join([*absent, *(f'/{h[:7]}' for h in lacking)])}",
            remedy="push it with its dependencies" + (_UNSIGNED if source.guard and source.guard.required else ""),
        )
    spliced = [label(node) for node in missing if node.get("build_spec")]
    if spliced:
        raise NotAPackage(f"{', '.join(spliced)} is spliced", remedy="install it with `spack install --cache-only`")
    return InstallPlan(
        list(roots),
        missing,
        [node for node in packages if records.is_installed(node["hash"])],
        store.prefixes({node["hash"]: node for node in _referred(missing, graph)}, records),
        source.sizes([node["hash"] for node in missing]),
        [n for n in nodes if n.get("external") and not os.path.isdir(n["external"]["path"])],
    )


def _referred(nodes: Iterable[Mapping[str, Any]], graph: Graph) -> Iterator[Mapping[str, Any]]:
    """``nodes`` and everything that they refer to, also to build."""
    seen = set()
    pending = list(nodes)
    while pending:
        node = pending.pop()
        if node["hash"] not in seen:
            seen.add(node["hash"])
            yield node
            pending.extend(graph[e["hash"]] for e in node.get("dependencies", ()) if e["hash"] in graph)


class StoreSteps:
    """What :func:`install_all` does to each package."""

    finish_needs_dependencies = False

    def __init__(
        self,
        store: Store,
        planned: InstallPlan,
        source: Source,
        explicit: AbstractSet[str],
        cache: BlobCache,
        alias_root: Optional[str] = None,
    ) -> None:
        self._store = store
        self._source = source
        self._explicit = explicit
        self._cache = cache
        self._nodes = {node["hash"]: node for node in planned.missing}
        self._prefixes = planned.prefixes
        self._sizes = planned.sizes
        self._alias_root = alias_root
        #: of packages that this process has extracted
        self._manifests: Dict[str, Dict[str, Dict[str, Any]]] = {}

    def items(self) -> List[InstallItem]:
        return [
            InstallItem(
                dag_hash,
                label(node),
                self._prefixes[dag_hash],
                frozenset(n["hash"] for n in runtime_nodes(node, self._nodes)) - {dag_hash},
                self._sizes.get(dag_hash, 0),
            )
            for dag_hash, node in self._nodes.items()
        ]

    def _relocation(self, node: Mapping[str, Any]) -> Relocation:
        """Only what it links and runs is named in a package, and (as in Spack) no external."""
        nodes = [n for n in runtime_nodes(node, self._source.graph) if not n.get("external")]
        return Relocation(
            {n["hash"]: self._prefixes[n["hash"]] for n in nodes},
            self._store.root,
            self._store.layout.sbang_path,
            self._alias_root,
        )

    def refused(self, items: Sequence[InstallItem], jobs: int) -> List[InstallOutcome]:
        """See :func:`.refused`: what an install comes to that the cache's policy stops; empty: it may begin."""
        guard = self._source.guard
        if guard is None or not guard.required:
            return []
        store, indexes = self._source.open(), self._source.indexes
        return refused(
            items,
            lambda item: is_proven(store, self._tag(item), item.dag_hash, indexes, guard),
            lambda item: check_package(store, self._tag(item), item.dag_hash, indexes, guard),
            jobs,
        )

    def _tag(self, item: InstallItem) -> str:
        node = self._nodes[item.dag_hash]
        return package_tag(node["name"], node["version"], item.dag_hash)

    def fetch(self, item: InstallItem, progress: Progress, begun: Begin) -> RemotePackage:
        node = self._nodes[item.dag_hash]
        store = self._source.open()

        def into_cache(remote: RemotePackage) -> bool:
            if remote.relocation_summary:
                check_summary(remote.relocation_summary, item.dag_hash, self._relocation(node), item.label)
            return fetch_into_cache(
                store, remote.layer, self._cache, progress, arrives=lambda path: begun((remote, path))
            )

        indexes, guard = self._source.indexes, self._source.guard
        return fetch_package(store, self._tag(item), item.dag_hash, into_cache, indexes, guard)[0]

    def extract(self, item: InstallItem, fetched: RemotePackage) -> None:
        def use(install: Callable[[VerifyingReader], None]) -> None:
            use_cached(self._source.open(), fetched.layer, self._cache, install, item.prefix)

        self._make(item, fetched, use)

    def extract_arriving(self, item: InstallItem, begun: Tuple[RemotePackage, str], check: Callable[[], None]) -> None:
        remote, path = begun

        def use(install: Callable[[VerifyingReader], None]) -> None:
            with open_arriving(path, remote.layer, check) as reader:
                install(reader)

        self._make(item, remote, use)

    def _make(
        self, item: InstallItem, fetched: RemotePackage, use: Callable[[Callable[[VerifyingReader], None]], None]
    ) -> None:
        started = time.time()
        with storage_errors(f"making {os.path.dirname(item.prefix)}"):
            make_directory(os.path.dirname(item.prefix))
        relocation = self._relocation(self._nodes[item.dag_hash])
        use(partial(self._extract, item, fetched, relocation))
        if os.path.isdir(alias_directory(relocation)):
            # binaries of other packages may name this one by an alias that went with its uninstall
            Aliases(relocation).make(item.dag_hash, item.prefix, len(item.dag_hash))
        self._write_times(item, time.time() - started)

    def _extract(
        self, item: InstallItem, fetched: RemotePackage, relocation: Relocation, layer: VerifyingReader
    ) -> None:
        summary = install_layer(
            layer,  # type: ignore[arg-type]
            fetched.layer.media_type,
            item.prefix,
            relocation,
            dag_hash=item.dag_hash,
            label=item.label,
            compressed_size=fetched.layer.size,
            announced=fetched.relocation_summary,
            # what is there and not in the database was left by an install that was killed
            replace=os.path.lexists(item.prefix),
        )
        self._manifests[item.dag_hash] = summary.manifest

    def _write_times(self, item: InstallItem, seconds: float) -> None:
        """``.spack/install_times.json``, as Spack has it."""
        document = {
            "phases": [{"name": "install", "path": "install", "seconds": seconds, "count": 1}],
            "total": seconds,
            "name": self._nodes[item.dag_hash]["name"],
            "cache": True,
            "hash": item.dag_hash,
        }
        path = metadata_path(item.prefix, "install_times.json")
        with storage_errors(f"writing {path}"), atomic_write(path, mode=0o644, exact=True) as file:
            file.write(json.dumps(document).encode())

    def finish(self, item: InstallItem) -> None:
        contents = contents_of(item.prefix)
        programs = [path for _, path, status in contents if is_program(status)]
        changed = shorten_first_lines(item.prefix, programs, self._store.layout.sbang_path)
        update_manifest(item.prefix, self._manifests.pop(item.dag_hash, None), None if changed else contents)

    def register(self, items: Sequence[InstallItem]) -> None:
        if not items:
            return
        with self._store.database.transaction() as records:
            for item in items:
                explicit = item.dag_hash in self._explicit
                records.add(self._source.graph, item.dag_hash, self._prefixes, explicit=explicit)

    def discard(self, item: InstallItem) -> None:
        with contextlib.suppress(OSError):
            remove_tree(item.prefix)
            remove_stale(item.prefix)
            os.rmdir(os.path.dirname(item.prefix))


def install_roots(
    store: Store,
    roots: Sequence[Mapping[str, Any]],
    source: Source,
    cache: BlobCache,
    *,
    limits: Optional[InstallLimits] = None,
    alias_root: Optional[str] = None,
    reporter: Optional[Reporter] = None,
) -> Tuple[InstallPlan, List[InstallOutcome]]:
    """Install what is missing of the closure of ``roots``, which count as asked for. Keeps their run environments."""
    store.prepare()
    limits = limits or InstallLimits()
    explicit = {root["hash"] for root in roots}
    with _locked(store, roots, source) as planned:
        steps = StoreSteps(store, planned, source, explicit, cache, alias_root)
        items = steps.items()
        outcomes = steps.refused(items, limits.transfers) or install_all(items, steps, limits, reporter)
    before = explicit.intersection(node["hash"] for node in planned.installed)
    if before:
        with store.database.transaction() as records:
            for dag_hash in before:
                if records.is_installed(dag_hash):
                    records.mark_explicit(dag_hash)
    _keep_environments(store, roots, source, limits.transfers)
    return planned, outcomes


def _keep_environments(store: Store, roots: Sequence[Mapping[str, Any]], source: Source, threads: int) -> None:
    records = store.database.read()

    def keep(root: Mapping[str, Any]) -> None:
        with contextlib.suppress(SpackOciError):  # `activate` then does with what the prefixes hold
            keep_environment(store, root, source, records)

    with DaemonPool(min(threads, len(roots)), "environment") as pool:
        for done in [pool.submit(keep, root) for root in roots]:
            done.result()


@contextlib.contextmanager
def _locked(store: Store, roots: Sequence[Mapping[str, Any]], source: Source) -> Iterator[InstallPlan]:
    """Spack's locks on all prefixes of the plan, which then has what is still missing: others may have been faster."""
    records = store.database.read()
    first = plan(store, records, roots, source)
    with store.prefixes_locked({node["hash"]: node["name"] for node in first.missing}):
        current = store.database.read()
        if current.by_hash == records.by_hash:
            yield first
            return
        now = plan(store, current, roots, source)
        # what is missing now and was not before is not locked; somebody has just uninstalled it
        known = {node["hash"] for node in first.missing}
        if any(node["hash"] not in known for node in now.missing):
            raise StorageError("packages were uninstalled while these were being installed", remedy="try again")
        yield now


def keep_environment(store: Store, node: Mapping[str, Any], source: Source, records: Records) -> None:
    """Ask the cache for the run environment of an installed package, and write it down in the store."""
    path = environment_path(store, node["hash"])
    nodes = {n["hash"]: n for n in runtime_nodes(node, source.graph)}
    prefixes = store.prefixes(nodes, records)
    prefix = prefixes[node["hash"]]
    if os.path.exists(path) or not os.path.isdir(prefix):
        return
    tag = package_tag(node["name"], node["version"], node["hash"])
    remote = find_package(source.open(), tag, expected_hash=node["hash"])
    if source.guard is not None:
        accepted = source.guard.accepted(tag)
        if accepted is None or accepted.manifest.digest != remote.manifest.digest:
            source.guard.demand(remote)
    document = remote.document
    with storage_errors(f"reading {prefix}"), open(os.path.join(prefix, BUILD_INFO), "rb") as file:
        info = BuildInfo.parse(file.read())
    settings, rootfs = document.get("config"), document.get("rootfs")
    entries = settings.get("Env") if isinstance(settings, dict) else None
    layers = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    packages = sum(not n.get("external") for n in nodes.values())
    has_base = isinstance(layers, list) and len(layers) > packages
    changes = changes_of_image(entries or (), PathsHere(info, prefixes), has_base)
    with storage_errors(f"writing {path}"):
        make_directory(os.path.dirname(path))
        with atomic_write(path, mode=0o644, exact=True) as file:
            file.write(json.dumps([change.to_list() for change in changes]).encode())


def environment_path(store: Store, dag_hash: str) -> str:
    return store.layout.own_path("environments", f"{dag_hash}.json")


def kept_environment(store: Store, dag_hash: str) -> Optional[Changes]:
    """What :func:`keep_environment` wrote; None: nothing."""
    try:
        with open(environment_path(store, dag_hash), encoding="utf-8") as file:
            return tuple(Change.from_list(entry) for entry in json.load(file))
    except (OSError, ValueError, TypeError, RecursionError):
        return None
