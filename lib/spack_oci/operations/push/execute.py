# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Push: from installed prefixes to tags in a store. :func:`plan_push` says what to do, :func:`execute_push` does it.

For each package: **prepare** its layer (pack the prefix, or take what the blob cache knows of this very prefix),
**send** it, and, when the layers of its whole runtime closure are there, **tag** it: config blob first, then the
manifest. So a tag never names a blob that is missing, and a push that died runs again and does what is left.

One thread, the caller's, decides; worker threads pack and send. It is the only one that changes the state of the push,
so nothing of it needs a lock.
"""

import contextlib
import os
import queue
import secrets
import shutil
import tempfile
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Set

from ...archive.pack import PackedLayer
from ...content import BlobSource, ChecksBlobs, FileSource, Presence, RepositoryWriter
from ...content.blob_cache import CachedBlob, KnownLayer, LayerKey, with_room
from ...content.cancellable import CancellableSource
from ...descriptor import Descriptor
from ...errors import DigestMismatch, SpackOciError, StorageError, unforeseen
from ...index.condemned import reprieve
from ...package.record import Layer, Package
from ...util.concurrency.cancellation import Cancelled, Deadline, interrupted_once, next_event
from ...util.concurrency.threads import DaemonPool
from ...util.progress import Reporter, Silent, Work
from ...util.text import counted, elided
from ..trust.write import SignatureWriter
from .ahead import SendingAhead, send_ahead
from .level import Rates, level_annotation, order_of_packing
from .outcome import FAILED, PUSHED, SKIPPED, PackageOutcome, PushResult, outcome_line
from .packing import LARGE, Packing
from .plan import PACK, PlannedPackage, PushPlan, PushSettings, has_tag, plan_push
from .tagging import Tagger, TagJob, created_from_environment, tagging_processes

__all__ = ["PushPlan", "PushResult", "PushSettings", "execute_push", "plan_push"]


#: seconds that an interrupted push waits for requests that are under way
PATIENCE = 3.0
#: how many stores are remembered to have a layer
_ORIGINS = 4


def execute_push(
    plan: PushPlan,
    store: RepositoryWriter,
    *,
    settings: Optional[PushSettings] = None,
    reporter: Optional[Reporter] = None,
) -> PushResult:
    """Do what ``plan`` says. A package that fails does not stop the others (unless ``settings.fail_fast``); its error
    is in the result. Only interruptions (KeyboardInterrupt, SystemExit) are raised; nothing is left in the stage then.
    And ConfigurationError, before anything is done, for a signer whose key cannot be had.
    """
    if settings is not None and settings.signer is not None:
        _ = settings.signer.public  # of which a wrong password makes an error
    # otherwise nothing that is there will be pushed
    is_doubtful = bool(plan.to_push) and (plan.condemned or plan.force)
    if is_doubtful:  # before a tag is there: a prune deletes what has the same manifest as when it was condemned
        reprieve(store, [item.package.tag for item in plan.to_push])
    result = _Push(plan, store, settings or PushSettings(), reporter or Silent()).run()
    if is_doubtful:  # a prune that was writing its plan at the same time may have put something back
        reprieve(store, [outcome.package.tag for outcome in result.pushed])
    return result


@dataclass
class _Job:
    """A package on its way. ``number``: its place in the order in which they start."""

    number: int
    plan: PlannedPackage
    #: DAG hashes of the closure whose layers are still to come
    waiting: Set[str]
    started: float = 0.0
    seconds: float = 0.0
    layer: Optional[KnownLayer] = None
    #: file that holds the layer, or None: the store has to have it
    path: Optional[str] = None
    #: the file is ours to remove
    temporary: bool = False
    #: what is sent of that file while it is written
    ahead: Optional[SendingAhead] = None
    #: under which the layer is remembered
    key: Optional[LayerKey] = None
    sent: int = 0
    read: int = 0

    @property
    def package(self) -> Package:
        return self.plan.package


class _Event(NamedTuple):
    """A step that a worker has finished."""

    handle: Callable[[_Job, Any], None]
    job: _Job
    future: "Future[Any]"


class _Push:
    def __init__(self, plan: PushPlan, store: RepositoryWriter, settings: PushSettings, reporter: Reporter) -> None:
        self._plan = plan
        self._store = store
        self._settings = settings
        self._reporter = reporter
        self._stop = threading.Event()
        self._rates = Rates(settings.compression)
        #: of what is under way when the push ends
        self._patience = Deadline(None)
        self._events: queue.SimpleQueue[_Event] = queue.SimpleQueue()
        self._layers: Dict[str, Layer] = dict(plan.layers)
        self._outcomes: Dict[str, PackageOutcome] = {}
        #: DAG hash -> jobs that wait for its layer
        self._dependents: Dict[str, List[_Job]] = {}

    def run(self) -> PushResult:
        started = time.monotonic()
        jobs = self._jobs()
        self._reporter.begin(Work(len(jobs), "packages", self._plan.bytes_to_read, "read"))
        for warning in self._plan.warnings:
            self._reporter.warn(warning)
        try:
            with interrupted_once():
                if jobs:
                    self._work(jobs)
                    self._settle_signatures()
                    self._warn_of_short_prefixes()
                    self._warn_of_replaced_content()
        finally:
            self._reporter.end()
        outcomes = [
            self._outcomes.get(item.package.dag_hash)
            or PackageOutcome(item.package, SKIPPED, self._layers.get(item.package.dag_hash))
            for item in self._plan.packages
        ]
        return PushResult(outcomes, time.monotonic() - started, self._layers)

    def _jobs(self) -> List[_Job]:
        coming = {item.package.dag_hash for item in self._plan.to_push}
        jobs: List[_Job] = []
        order, self._measured = order_of_packing(self._plan.to_push, self._settings.compression)
        for item in order:
            closure = {dag_hash for dag_hash, _ in item.package.runtime} | {item.package.dag_hash}
            job = _Job(len(jobs), item, waiting=closure & coming, key=item.key)
            for dag_hash in job.waiting:
                self._dependents.setdefault(dag_hash, []).append(job)
            jobs.append(job)
        return jobs

    def _work(self, jobs: Sequence[_Job]) -> None:
        # its name is known before it is there, so that no signal finds a moment to leave it
        stage = os.path.join(self._settings.stage or tempfile.gettempdir(), f"spack-oci-push-{secrets.token_hex(8)}")
        try:
            self._make_stage(stage)
            sizes = [job.plan.size for job in jobs if job.plan.action == PACK]
            self._stage = stage
            self._packing = Packing(self._settings, stage, sizes, self._stop.is_set)
            try:
                self._work_in_pools(jobs)
            finally:
                self._packing.close(self._patience.left)
        finally:
            shutil.rmtree(stage, ignore_errors=True)

    def _work_in_pools(self, jobs: Sequence[_Job]) -> None:
        packers, senders = self._settings.packers, max(1, self._settings.transfer_jobs)
        self._tagger = self._make_tagger([job.package for job in jobs])
        self._tag_processes = tagging_processes(self._tagger, len(jobs), self._settings)
        self._to_prepare = list(reversed(jobs))
        #: layers that are being packed, or packed and not yet sent
        self._in_flight = 0
        self._max_in_flight = packers + senders
        self._pack_pool = DaemonPool(self._packing.threads, "pack")
        self._send_pool = DaemonPool(senders, "send")
        try:
            while self._prepare_more() or len(self._outcomes) < len(jobs):
                event = next_event(self._events)
                event.handle(event.job, event.future)
        finally:
            if len(self._outcomes) < len(jobs):
                self._stop_early()
                self._patience = Deadline(PATIENCE)
            self._pack_pool.end(self._patience.left)
            self._send_pool.end(self._patience.left)
            if self._tag_processes is not None:
                self._tag_processes.close(self._patience.left)

    def _make_tagger(self, packages: Sequence[Package]) -> Tagger:
        created = created_from_environment()
        return Tagger(packages, self._store, self._settings, created=created, force=self._plan.force)

    def _settle_signatures(self) -> None:
        """See that no other signer has overwritten one, where the update of the index will not."""
        signed = [o for o in self._outcomes.values() if o.signature is not None]
        if self._settings.signer is None or self._settings.index_follows or not signed:
            return
        writer = SignatureWriter(self._store, self._settings.signer)
        jobs = max(1, self._settings.transfer_jobs)
        left = writer.settle([o.signature for o in signed if o.signature is not None], jobs)
        for outcome, signature in zip(signed, left):
            if isinstance(signature, SpackOciError):
                self._finish(outcome._replace(status=FAILED, error=signature, signature=None))

    def _warn_of_short_prefixes(self) -> None:
        """Once for all packages: only what is in the store counts, and only if something in it cannot grow."""
        short = [
            outcome.relocation_summary["prefix_length"]
            for outcome in self._outcomes.values()
            if outcome.status == PUSHED and outcome.relocation_summary.get("fixed_strings")
        ]
        if short and min(short) < self._settings.short_prefix:
            self._reporter.warn(
                f"prefixes of {min(short)} characters were pushed with binaries whose strings cannot grow: to install "
                "them into longer paths may not be possible; build with config:install_tree:padded_length"
            )

    def _warn_of_replaced_content(self) -> None:
        """Whoever has an index, or a copy, may have the content that was there before."""
        labels = [outcome.package.label for outcome in self._outcomes.values() if outcome.replaced]
        if labels:
            self._reporter.warn(
                f"{counted(len(labels), 'package')} replaced with other content under the same hash: {elided(labels)}"
            )

    @staticmethod
    def _make_stage(stage: str) -> None:
        try:
            os.makedirs(os.path.dirname(stage), exist_ok=True)
            os.mkdir(stage, 0o700)
        except OSError as e:
            raise StorageError.from_os_error("making a directory for layers", e) from e

    # -- the steps, in the deciding thread ------------------------------------------------------------------------

    def _prepare_more(self) -> bool:
        """Start packing as far as the limit of blobs in flight allows. False when nothing is left to start."""
        while self._to_prepare and self._in_flight < self._max_in_flight and not self._is_measuring():
            job = self._to_prepare.pop()
            self._in_flight += 1
            self._submit(self._pack_pool, self._prepared, job, self._prepare)
        return bool(self._to_prepare)

    def _is_measuring(self) -> bool:
        """The first layers are on their way, and tell with what the others are to be packed."""
        started = len(self._plan.to_push) - len(self._to_prepare)
        if started < self._measured or started - self._in_flight >= self._measured:
            return False
        return self._rates.sent.value is None

    def _submit(
        self,
        pool: DaemonPool,
        then: Callable[[_Job, Any], None],
        job: _Job,
        step: Callable[[_Job], Any],
    ) -> None:
        future = pool.submit(self._run_step, step, job)
        future.add_done_callback(lambda done: self._events.put(_Event(then, job, done)))

    def _prepared(self, job: _Job, future: "Future[Any]") -> None:
        error = future.exception()
        if error is not None:
            self._in_flight -= 1
            self._failed(job, error)
        else:
            self._submit(self._send_pool, self._sent, job, self._send)

    def _sent(self, job: _Job, future: "Future[Any]") -> None:
        self._in_flight -= 1
        error = future.exception()
        if error is not None:
            self._failed(job, error)
            return
        assert job.layer is not None
        package = job.package
        self._layers[package.dag_hash] = Layer(job.layer.descriptor, job.layer.diff_id, package.label)
        self._arrived(package.dag_hash)

    def _arrived(self, dag_hash: str) -> None:
        """A layer is in the store, or will never be: tag the packages that waited for nothing else."""
        for job in self._dependents.pop(dag_hash, ()):
            job.waiting.discard(dag_hash)
            if not job.waiting and job.package.dag_hash not in self._outcomes:
                self._tag(job)

    def _tag(self, job: _Job) -> None:
        assert job.layer is not None
        found = ((self._layers.get(dag_hash), label) for dag_hash, label in job.package.runtime)
        layers = [Layer(layer.descriptor, layer.diff_id, label) for layer, label in found if layer is not None]
        summary, level = job.layer.relocation_summary, level_annotation(self._settings.compression, job.key)
        tag_job = TagJob(job.number, layers, summary, is_new=job.sent > 0, level=level)
        if self._tag_processes is not None and not self._stop.is_set():
            future = self._tag_processes.submit(tag_job)
            future.add_done_callback(lambda done: self._events.put(_Event(self._tagged, job, done)))
        else:
            self._submit(self._send_pool, self._tagged, job, lambda _: self._tagger.tag(tag_job))

    def _tagged(self, job: _Job, future: "Future[Any]") -> None:
        error = future.exception()
        if error is not None:
            self._failed(job, error)
            return
        package, tagged = job.package, future.result()
        self._finish(
            PackageOutcome(
                package,
                PUSHED,
                self._layers[package.dag_hash],
                tagged.manifest,
                signature=tagged.signature,
                licenses=tagged.licenses,
                seconds=job.seconds,
                read=job.read,
                sent=job.sent,
                relocation_summary=job.layer.relocation_summary if job.layer else {},
                replaced=tagged.replaced,
            )
        )

    def _failed(self, job: _Job, error: BaseException) -> None:
        if not isinstance(error, Exception) or isinstance(error, MemoryError):
            raise error
        if not isinstance(error, (SpackOciError, OSError, Cancelled)):
            error = unforeseen(f"pushing {job.package.label}", error)
        self._finish(PackageOutcome(job.package, FAILED, error=error, read=job.read, sent=job.sent))
        if self._settings.fail_fast:
            self._stop_early()
        self._arrived(job.package.dag_hash)

    def _stop_early(self) -> None:
        self._stop.set()
        self._packing.stop()
        if self._tag_processes is not None:
            self._tag_processes.cancel()

    def _finish(self, outcome: PackageOutcome) -> None:
        self._outcomes[outcome.package.dag_hash] = outcome
        self._reporter.finished(outcome.package.name, self._counter() + outcome_line(outcome))

    def _counter(self) -> str:
        """``[ 3/12] ``, unless there is only one."""
        count = len(self._plan.to_push)
        return f"[{len(self._outcomes):{len(str(count))}}/{count}] " if count > 1 else ""

    # -- what workers do ------------------------------------------------------------------------------------------

    def _run_step(self, step: Callable[[_Job], Any], job: _Job) -> Any:
        try:
            self._check()
            return step(job)
        except BaseException:
            if self._settings.fail_fast:
                self._stop.set()  # here, so that this thread begins nothing else meanwhile
            raise

    def _check(self) -> None:
        if self._stop.is_set():
            raise Cancelled

    def _prepare(self, job: _Job) -> None:
        if job.plan.problem:
            raise job.plan.problem
        job.started = time.monotonic()
        self._reporter.started(job.package.name)
        known = job.plan.known
        if known is None:
            self._pack(job)
            return
        job.layer = known
        if job.plan.mount_from and self._store.mount_blob(known.descriptor, job.plan.mount_from):
            return
        job.path = self._settings.cache.get(known.descriptor.digest) if self._settings.cache else None
        if job.path is None and not self._is_in_store(known.descriptor):
            self._pack(job)

    def _is_in_store(self, layer: Descriptor) -> bool:
        """--force is what repairs a damaged layer, so there it is looked at where that is cheap."""
        if self._plan.force and isinstance(self._store, ChecksBlobs):
            return self._store.check_blob(layer)
        return self._store.has_blob(layer.digest)

    def _pack(self, job: _Job) -> None:
        ahead = self._begin_ahead(job)
        compression = self._rates.compression()
        if job.key is not None:
            job.key = job.key._replace(encoder=compression.encoder)

        def moved(count: int) -> None:
            job.read += count
            self._reporter.moved(count)
            if ahead is not None:
                ahead.grew(count)

        try:
            with self._rates.packing(job.plan.size, compression):
                packed, job.path = with_room(
                    self._settings.cache,
                    self._stage,
                    job.plan.size,
                    lambda: self._packing.pack(job.package, job.plan.size, compression, moved),
                )
        except BaseException:
            if ahead is not None:
                ahead.give_up()
            raise
        job.layer, job.temporary, job.ahead = _known(packed), True, ahead
        if ahead is not None:
            ahead.packed()

    def _begin_ahead(self, job: _Job) -> Optional[SendingAhead]:
        """Nothing is sent ahead that the store may have: a forced push finds the layer of the tag again."""
        if not 0 < self._settings.ahead_from <= job.plan.size:
            return None
        if self._plan.force and has_tag(self._store, job.package.tag):
            return None
        path, during = self._packing.path(job.package), self._rates.sent.measured(0)
        return send_ahead(self._store, path, self._check, lambda count: self._reporter.moved(sent=count), during)

    def _send(self, job: _Job) -> None:
        if job.path is not None and not job.temporary:
            self._send_cached(job, job.path)
        if job.path is not None and job.temporary:
            kept = self._keep(job, job.path, f"{job.path}.copy")
            if job.ahead is not None and job.layer is not None:
                job.ahead.belongs_to(job.layer.descriptor.digest)
            self._put(job, FileSource(job.path))
            if not kept:
                self._keep(job, job.path, job.path)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(job.path)
        self._remember(job)
        job.seconds = time.monotonic() - job.started

    def _send_cached(self, job: _Job, path: str) -> None:
        """Send a layer of the blob cache; if it was removed meanwhile or is damaged, pack the prefix after all."""
        assert job.layer is not None and self._settings.cache is not None
        try:
            self._put(job, CachedBlob(path, job.layer.descriptor))
        except (FileNotFoundError, DigestMismatch):
            self._settings.cache.drop(job.layer.descriptor.digest)
            self._pack(job)

    def _put(self, job: _Job, source: BlobSource) -> None:
        def moved(count: int) -> None:
            self._reporter.moved(sent=count)

        assert job.layer is not None
        descriptor = job.layer.descriptor
        presence = Presence.POSSIBLE if self._store.url in job.layer.origins else Presence.UNLIKELY
        with self._rates.sent.measured(descriptor.size if job.ahead is None else 0):
            if self._store.put_blob(descriptor, CancellableSource(source, self._check), moved, presence):
                job.sent = descriptor.size

    def _keep(self, job: _Job, path: str, copy: str) -> bool:
        """Hand the layer over to the blob cache before it is sent, by another name (``copy``) that the cache may have,
        so that nothing packs it again, whatever happens to the upload. False: this file system knows no other names.
        A cache that cannot be written to is no reason to fail.
        """
        assert job.layer is not None
        cache = self._settings.cache
        if cache is None:
            return True
        try:
            if copy != path:
                os.link(path, copy)
        except OSError:
            return False
        try:
            cache.add(job.layer.descriptor.digest, copy)
            if job.key is not None and job.plan.size > LARGE:
                cache.remember_layer(job.key, job.layer)
        except StorageError as e:
            self._reporter.warn(str(e))
        return True

    def _remember(self, job: _Job) -> None:
        """Note what the prefix was packed to, and that this store has it."""
        cache, key, layer = self._settings.cache, job.key, job.layer
        if cache is None or key is None or layer is None or self._store.url in layer.origins:
            return
        origins = (self._store.url, *layer.origins)[:_ORIGINS]
        try:
            cache.remember_layer(key, layer._replace(origins=origins))
        except StorageError as e:
            self._reporter.warn(str(e))


def _known(packed: PackedLayer) -> KnownLayer:
    return KnownLayer(packed.descriptor, packed.diff_id, packed.tar_size, packed.summary.to_dict())
