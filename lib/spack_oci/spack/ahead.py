# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Fetch what Spack's installers are going to need while they are busy with something else."""

import contextlib
from typing import Any, Callable, Iterator, List

import spack.binary_distribution
import spack.llnl.util.tty as tty
import spack.spec
from spack import traverse

from ..cache.prefetch import AheadLimits, Prefetch, Wanted
from ..errors import SpackOciError
from . import compat, fetching, install, mirrors, notices, packages, settings


def run_installer(original: Callable, self: Any) -> Any:
    """Hook of ``PackageInstaller.install``, of both installers."""
    with _ahead_of(self):
        try:
            return original(self)
        finally:
            notices.print_waiting()


@contextlib.contextmanager
def _ahead_of(installer: Any) -> Iterator[None]:
    options = settings.read()
    wanted: List[Wanted] = []
    if options.ahead_count and options.ahead_room and mirrors.configured(mirrors.FETCH):
        try:
            wanted = what_is_wanted(roots_of(installer))
        except SpackOciError as e:  # what is wrong will be said when a package is really needed
            tty.debug(f"nothing is fetched ahead: {e}")
    if len(wanted) < 2:
        yield
        return
    limits = AheadLimits(options.ahead_room, options.ahead_count, min(options.transfer_jobs, 4))
    with Prefetch(wanted, limits):
        yield


def roots_of(installer: Any) -> "List[spack.spec.Spec]":
    """The specs that an installer was made for; none if they may not come from a cache."""
    requests = getattr(installer, "build_requests", None)  # the classic installer
    if requests is not None:
        return [r.pkg.spec for r in requests if r.install_args.get("package_use_cache", True)]
    graph = getattr(installer, "build_graph", installer)  # the new one has a graph since 1.2, and was it in 1.1
    return list(getattr(graph, "nodes", {}).values())


def what_is_wanted(roots: "List[spack.spec.Spec]") -> List[Wanted]:
    """What is not installed of the closure, and named by the index of an OCI mirror, in the order of need."""
    nodes = traverse.traverse_nodes(roots, order="topo", deptype=("link", "run"), root=True)
    specs = [s for s in nodes if not s.external][::-1]
    _, missing = packages.partition_installed(specs)
    cache, kept = fetching.blob_cache(), fetching.index_cache()
    result = []
    for spec in missing:
        known = spack.binary_distribution.get_mirrors_for_spec(spec.build_spec, index_only=True)
        urls = {compat.indexed_url(entry) for entry in known}
        mirror = next((m for m in fetching.candidates(spec.build_spec, known) if m.fetch_url in urls), None)
        if mirror is None or not mirrors.is_oci_mirror(mirror):
            continue
        entry = kept.lookup(mirror.fetch_url, spec.build_spec.dag_hash())
        result.append(Wanted(str(spec.prefix), entry.layer.size if entry else 0, _fetcher(mirror, spec, cache)))
    return result


def _fetcher(mirror: Any, spec: "spack.spec.Spec", cache: Any) -> Callable[[], Any]:
    relocation = install.relocation_of(spec)
    return lambda: fetching.fetch(mirror, spec.build_spec, relocation, cache)
