# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Fetch what Spack's installers are going to need while they are busy with something else."""

import contextlib
import os
from typing import Any, Callable, Iterator, List, Optional, Sequence

import spack.binary_distribution
import spack.mirrors.mirror
import spack.spec
from spack import traverse

from ...content import Progress
from ...errors import SpackOciError
from ...operations.install.prefetch import Prefetch, PrefetchItem, PrefetchLimits
from ...util.order import installation_order
from .. import compat, fetching
from ..configuration import mirrors, settings
from ..specs import packages
from . import cache_prefixes, install


@contextlib.contextmanager
def prefetching_for(installer: Any) -> Iterator[None]:
    """Around the work of an installer, of either kind, that knows what it has to do."""
    options = settings.read()
    roots: List[spack.spec.Spec] = []
    missing: List[spack.spec.Spec] = []
    if options.prefetch_packages and options.prefetch_room and mirrors.configured(mirrors.FETCH):
        roots = specs_to_install(installer)
        missing = missing_in_order(roots, is_classic=hasattr(installer, "build_requests"))
    if len(missing) < 2:
        yield
        return
    with contextlib.suppress(SpackOciError):  # what is wrong will be said when a package is really needed
        # here, so that the processes that are forked from this one need not read the index again
        indexed_oci_mirror(missing[0])
    cache_prefixes.cache_known_prefixes(roots)
    limits = PrefetchLimits(options.prefetch_room, options.prefetch_packages, min(options.transfer_jobs, 4))
    with Prefetch(prefetch_items(missing), limits):
        cache_prefixes.import_hooks()
        yield


def specs_to_install(installer: Any) -> "List[spack.spec.Spec]":
    """The specs that an installer was made for; none if they may not come from a cache."""
    requests = getattr(installer, "build_requests", None)  # the classic installer
    if requests is not None:
        return [
            r.pkg.spec
            for r in requests
            if r.install_args.get("package_use_cache", True) and r.install_args.get("root_policy") != "source_only"
        ]
    graph = getattr(installer, "build_graph", installer)  # the new one has a graph since 1.2, and was it in 1.1
    return list(getattr(graph, "nodes", {}).values())


def missing_in_order(roots: "Sequence[spack.spec.Spec]", is_classic: bool) -> "List[spack.spec.Spec]":
    """What is not installed of the link and run closure of ``roots``, as the installer will most likely take it.

    Over a slow link, the installer waits for nothing only if packages come in the order in which it asks for them.
    """
    # the classic one is told of a package after what that depends on, the new one has found out itself
    key = traverse.by_dag_hash
    told = traverse.traverse_nodes(roots, order="post", deptype=("link", "run"), key=key) if is_classic else roots
    known = {spec.dag_hash(): spec for spec in told if not spec.external}
    known.update((s.dag_hash(), s) for s in packages.runtime_closure(*roots) if s.dag_hash() not in known)
    _, missing = packages.partition_installed(list(known.values()))
    needs = {s.dag_hash(): [d.dag_hash() for d in s.dependencies(deptype=("link", "run"))] for s in missing}
    return [known[dag_hash] for dag_hash in installation_order(needs, newest_first=not is_classic)]


def prefetch_items(missing: "Sequence[spack.spec.Spec]") -> Iterator[PrefetchItem]:
    """What of ``missing`` the index of an OCI mirror names. Found out one by one, in the process that fetches."""
    blobs, indexes = fetching.blob_cache(), fetching.index_cache()
    for spec in missing:
        prefix = str(spec.prefix)
        mirror = None if os.path.lexists(prefix) else indexed_oci_mirror(spec)
        if mirror is not None:
            entry = indexes.lookup(mirror.fetch_url, spec.build_spec.dag_hash())
            yield PrefetchItem(prefix, entry.layer.size if entry else 0, _fetcher(mirror, spec, blobs))


def indexed_oci_mirror(spec: "spack.spec.Spec") -> "Optional[spack.mirrors.mirror.Mirror]":
    """The mirror that will be asked first, if it is an OCI mirror and its index names the package."""
    known = spack.binary_distribution.get_mirrors_for_spec(spec.build_spec, index_only=True)
    urls = {compat.indexed_url(entry) for entry in known}
    mirror = next((m for m in fetching.candidates(spec.build_spec, known) if m.fetch_url in urls), None)
    return mirror if mirror is not None and mirrors.is_oci_mirror(mirror) else None


def _fetcher(mirror: Any, spec: "spack.spec.Spec", cache: Any) -> Callable[[Progress], Any]:
    relocation = install.relocation_of(spec)
    guard = fetching.guard_of(mirror, warn=lambda message: None)  # the installer will ask again, and say it
    return lambda progress: fetching.fetch(mirror, spec.build_spec, relocation, cache, progress, guard=guard)
