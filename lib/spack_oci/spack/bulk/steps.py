# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What is done to each package of an install in bulk, with Spack's own code wherever Spack has its say."""

import io
import os
import time
from functools import partial
from typing import Callable, Collection, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import spack.hooks
import spack.mirrors.mirror
import spack.spec
import spack.store
import spack.util.timer

from ...archive.unpack.metadata import write_metadata
from ...archive.unpack.staging import remove_stale, remove_tree
from ...content import Progress
from ...errors import NotFound, SpackOciError, StorageError, TrustError
from ...operations.install.arriving import Begin
from ...operations.install.closure import refused
from ...operations.install.fetch import RemotePackage
from ...operations.install.outcome import InstallItem, InstallOutcome
from ...relocate.mapping import Relocation
from .. import fetching
from ..configuration import mirrors
from ..hooks import database as hooks_database
from ..hooks import install, install_manifest, permissions
from ..specs import packages


class Fetched(NamedTuple):
    """A layer in the blob cache, on its way to the process that extracts it. ``url``: of the mirror that gave it."""

    url: str
    remote: RemotePackage
    seconds: float


class SpackSteps:
    """What :func:`install_all` does to each package."""

    #: Spack's hooks, and those of its users, may look at anything
    finish_needs_dependencies = True

    def __init__(
        self,
        candidates: Mapping[str, Sequence["spack.mirrors.mirror.Mirror"]],
        specs: Sequence["spack.spec.Spec"],
        explicit: Collection[str],
        *,
        overwritten: Collection[str] = (),
        say: Optional[Callable[[str], None]] = None,
        warn: Optional[Callable[[str], None]] = None,
        unsigned: bool = False,
    ) -> None:
        """``candidates``: DAG hash -> OCI mirrors, in the order in which they are asked; ``explicit``, ``overwritten``:
        DAG hashes; ``say``: told where packages are fetched from, in threads, and ``warn`` of failures that another
        mirror made good, and of policies; ``unsigned``: do not ask for signatures."""
        self.specs = {spec.dag_hash(): spec for spec in specs}
        #: DAG hash -> URL of the mirror that a package came from
        self.origins: Dict[str, str] = {}
        #: DAG hash -> names of the mirrors that do not have a package
        self.absent: Dict[str, List[str]] = {}
        self._explicit = explicit
        self._overwritten = overwritten
        self._say = say
        self._warn = warn
        self._candidates = candidates
        used = {m.name: m for found in candidates.values() for m in found}
        # here: in threads, Spack's configuration is not asked
        self._guards = {name: fetching.guard_of(mirror, unsigned, warn) for name, mirror in used.items()}
        self._relocations: Dict[str, Relocation] = {h: install.relocation_of(s) for h, s in self.specs.items()}

    def items(
        self, sizes: Mapping[str, int], further: Optional[Mapping[str, Collection[str]]] = None
    ) -> List[InstallItem]:
        """``sizes``: compressed bytes, as far as they are known; ``further``: what else a package waits for. By DAG
        hash."""
        further = further or {}
        needs = packages.runtime_needs(self.specs.values())
        return [
            InstallItem(
                dag_hash,
                packages.label(spec),
                str(spec.prefix),
                needs[dag_hash].union(further.get(dag_hash, ())),
                sizes.get(dag_hash, 0),
            )
            for dag_hash, spec in self.specs.items()
        ]

    def refused(self, items: Sequence[InstallItem], jobs: int) -> List[InstallOutcome]:
        """See :func:`.refused`: what an install comes to that a policy stops; empty: it may begin."""
        if not any(guard is not None and guard.required for guard in self._guards.values()):
            return []
        return refused(items, self._is_proven, self._check, jobs)

    def _is_proven(self, item: InstallItem) -> bool:
        """Whether the index of the mirror that is asked first says that its policy accepts a package."""
        mirror = self._candidates[item.dag_hash][0]
        guard = self._guards[mirror.name]
        if guard is None or not guard.required:
            return True
        return fetching.is_proven(mirror, self.specs[item.dag_hash].build_spec, guard)

    def _check(self, item: InstallItem) -> None:
        """Raise TrustError if a policy refuses a package, and no mirror has it that may give it. In threads."""
        failures: List[SpackOciError] = []
        spec = self.specs[item.dag_hash].build_spec
        for mirror in self._candidates[item.dag_hash]:
            guard = self._guards[mirror.name]
            if guard is None or not guard.required:
                return
            try:
                fetching.check(mirror, spec, guard)
                return
            except TrustError as e:
                failures.append(e)
            except SpackOciError:
                continue  # as in a fetch, another mirror may have it
        if failures:
            raise failures[0]

    def fetch(self, item: InstallItem, progress: Progress, begun: Begin) -> Fetched:
        """From the first mirror that has it; a failure of one is an error if no other mirror helps."""
        spec = self.specs[item.dag_hash]
        started = time.monotonic()
        failures: List[SpackOciError] = []
        told: List[str] = []
        for mirror in self._candidates[item.dag_hash]:
            try:
                fetched = fetching.fetch(
                    mirror,
                    spec.build_spec,
                    self._relocations[item.dag_hash],
                    progress=progress,
                    tell=self._say,
                    guard=self._guards[mirror.name],
                    arrives=partial(_tell_begun, begun, mirror.fetch_url, started),
                )
            except NotFound as e:
                self.absent.setdefault(item.dag_hash, []).append(mirror.name)
                failures.insert(0, e)
            except SpackOciError as e:
                failures.append(e)
                told.append(install.cannot_be_had(spec, mirror, e))
            else:
                self.origins[item.dag_hash] = mirror.fetch_url
                if self._warn is not None:
                    for text in told:
                        self._warn(text)
                return Fetched(mirror.fetch_url, fetched.remote, time.monotonic() - started)
        error = next((e for e in failures if isinstance(e, TrustError)), failures[-1])
        if isinstance(error, NotFound):
            names = ", ".join(m.name for m in self._candidates[item.dag_hash])
            raise NotFound(
                f"{item.label} is not in {names}",
                remedy="push it, build it with `spack install`, or see with --reuse what mirrors have",
            ) from error
        raise error

    def extract(self, item: InstallItem, fetched: Fetched) -> None:
        mirror = next(m for m in self._candidates[item.dag_hash] if m.fetch_url == fetched.url)
        store = mirrors.open_store(mirror, mirrors.FETCH)
        self._make(item, fetched, fetching.FetchedPackage(fetched.remote, store, fetching.blob_cache()))

    def extract_arriving(self, item: InstallItem, begun: Tuple[Fetched, str], check: Callable[[], None]) -> None:
        fetched, path = begun
        self._make(item, fetched, fetching.ArrivingPackage(fetched.remote, path, check))

    def _make(self, item: InstallItem, fetched: Fetched, package: fetching.Package) -> None:
        spec = self.specs[item.dag_hash]
        clock = _Clock()
        timer = spack.util.timer.Timer(clock)
        self._time_before(timer, clock, fetched)
        with timer.measure("install"):
            # what is there and not in the database was left by an install that was killed
            is_there = os.path.lexists(item.prefix)
            if is_there:
                _check_nothing_inside(item)
            self._extract(spec, package, is_there, timer)
        timer.stop()
        self._write_times(spec, timer)

    def _time_before(self, timer: "spack.util.timer.Timer", clock: "_Clock", fetched: Fetched) -> None:
        """Put into ``timer`` what was done before the package is extracted: nothing, as fetches share the line."""

    def _extract(
        self,
        spec: "spack.spec.Spec",
        package: fetching.Package,
        replace: bool,
        timer: "spack.util.timer.Timer",
    ) -> None:
        install.install_fetched(spec, package, replace, self._relocations[spec.dag_hash()])

    def _write_times(self, spec: "spack.spec.Spec", timer: "spack.util.timer.Timer") -> None:
        """The file that Spack's classic installer writes."""
        times = io.StringIO()
        timer.write_json(times, {"name": spec.name, "cache": True, "hash": spec.dag_hash()})
        name = os.path.basename(spec.package.times_log_path)
        write_metadata(str(spec.prefix), name, times.getvalue().encode("utf-8"))

    def finish(self, item: InstallItem) -> None:
        spec = self.specs[item.dag_hash]
        spack.store.STORE.layout.ensure_installed(spec)
        if hasattr(spec.package, "_post_buildcache_install_hook"):
            spec.package._post_buildcache_install_hook()
        spec.package.installed_from_binary_cache = True
        permissions.will_be_set(item.dag_hash)
        install_manifest.will_be_updated(item.dag_hash)
        spack.hooks.post_install(spec, item.dag_hash in self._explicit)

    def register(self, items: Sequence[InstallItem]) -> None:
        if items:
            database = spack.store.STORE.db
            with database.write_transaction(), hooks_database.ensured(item.dag_hash for item in items):
                for item in items:
                    database.add(self.specs[item.dag_hash], explicit=item.dag_hash in self._explicit)

    def discard(self, item: InstallItem) -> None:
        # one that was overwritten is registered: the old one, or the new one
        if item.dag_hash not in self._overwritten and _installed_inside(item.prefix) is None:
            remove_tree(item.prefix)
        remove_stale(item.prefix)


def _tell_begun(begun: Begin, url: str, started: float, remote: RemotePackage, path: str) -> None:
    begun((Fetched(url, remote, time.monotonic() - started), path))


class _Clock:
    """Seconds, with those in which this process did not work on a package added."""

    def __init__(self) -> None:
        self.added = 0.0

    def __call__(self) -> float:
        return time.time() + self.added


def _installed_inside(prefix: str) -> Optional["spack.spec.Spec"]:
    """An installed package whose prefix is in ``prefix``, if there is one."""
    installed = spack.store.STORE.db.query_local(installed=True)
    return next((spec for spec in installed if str(spec.prefix).startswith(prefix + os.sep)), None)


def _check_nothing_inside(item: InstallItem) -> None:
    """Raise StorageError if the prefix of an installed package is in that of ``item``, which is to be replaced."""
    other = _installed_inside(item.prefix)
    if other is not None:
        raise StorageError(
            f"installing {item.label}: {packages.label(other)} is installed in its prefix, {item.prefix}",
            remedy="uninstall that package first, and install both together",
        )
