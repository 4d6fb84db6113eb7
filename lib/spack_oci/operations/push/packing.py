# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Who packs: threads of this process for little, forked processes for much.

Compression, hashing and reading release Python's lock, and are two thirds of the time of a prefix with many small
files; the rest is Python. So threads of one process keep some three cores busy, however many there are, and processes
all of them; but each costs some 25 MiB. Both write the same bytes.
"""

import os
from concurrent.futures import Executor
from typing import Any, Callable, Mapping, NamedTuple, Optional, Sequence, Tuple

from ...archive.codec import Compression
from ...archive.pack import PackedLayer, pack_prefix
from ...content import Progress
from ...errors import StorageError
from ...package.record import Package
from ...util.concurrency.processes import ProcessPool, Task, can_fork
from ...util.concurrency.threads import DaemonPool
from .level import LARGE
from .plan import PushSettings

#: processes are started for so many bytes
WORTH_PROCESSES = 128 << 20
#: packages that a process is given at a time, so that it has the next when it has packed one
AHEAD = 2
#: bytes of files between two reports of a process
_REPORT = 4 << 20


class _PackJob(NamedTuple):
    """``threads``: that compress it; ``path``: of the layer."""

    label: str
    prefix: str
    build_info: Mapping[str, Any]
    old_prefixes: Sequence[str]
    compression: Compression
    path: str
    threads: int

    def run(self, pool: Optional[Executor], progress: Progress, cancelled: Callable[[], bool]) -> PackedLayer:
        """Raises as :func:`~spack_oci.archive.pack.pack_prefix`, and StorageError."""
        try:
            with open(self.path, "wb", buffering=0) as sink:
                return pack_prefix(
                    self.prefix,
                    build_info=self.build_info,
                    old_prefixes=self.old_prefixes,
                    compression=self.compression,
                    sink=sink,
                    pool=pool,
                    threads=self.threads,
                    progress=progress,
                    cancelled=cancelled,
                )
        except OSError as e:
            raise StorageError.from_os_error(f"packing {self.label}", e) from e


class Packing:
    """Packs prefixes into files of ``stage``; :meth:`pack` may be called from ``threads`` threads at once."""

    def __init__(self, settings: PushSettings, stage: str, sizes: Sequence[int], cancelled: Callable[[], bool]) -> None:
        """``sizes``: of the prefixes that will be packed. No other thread may be running: it may fork."""
        self._settings = settings
        self._stage = stage
        self._cancelled = cancelled
        packers = settings.packers
        # a single large package may use the whole pool, many share it
        large = sum(size > LARGE for size in sizes)
        self._pieces = max(2, 2 * packers // max(1, min(large, packers)))
        self._processes = _processes(settings, sizes)
        self.threads = packers * AHEAD if self._processes else packers
        self._pool = None if self._processes else DaemonPool(packers, "deflate")

    def path(self, package: Package) -> str:
        """The file that :meth:`pack` writes."""
        return os.path.join(self._stage, f"{package.dag_hash}.layer")

    def pack(
        self, package: Package, size: int, compression: Compression, progress: Progress
    ) -> Tuple[PackedLayer, str]:
        """The layer, and the file that holds it. Raises as :func:`.pack_prefix`, and Cancelled."""
        path = self.path(package)
        pieces = min(self._pieces, self._settings.packers) if self._processes else self._pieces
        job = _PackJob(
            package.label,
            package.prefix,
            package.build_info,
            package.old_prefixes,
            compression,
            path,
            pieces if size > LARGE else 1,
        )
        if self._processes is not None:
            return self._processes.submit(job, progress).result(), path
        return job.run(self._pool if size > LARGE else None, progress, self._cancelled), path

    def stop(self) -> None:
        """End what is being packed; ``cancelled`` is true by now."""
        if self._processes is not None:
            self._processes.cancel()

    def close(self, patience: Optional[float] = None) -> None:
        """``patience``: see :meth:`.ProcessPool.close`."""
        if self._processes is not None:
            self._processes.close(patience)
        if self._pool:
            self._pool.end(patience)


def _processes(settings: PushSettings, sizes: Sequence[int]) -> Optional[ProcessPool]:
    """None where they are not worth it, or the system allows none."""
    wanted = settings.processes
    if wanted is None:
        wanted = can_fork() and settings.packers > 1 and len(sizes) > 1 and sum(sizes) >= WORTH_PROCESSES
    if not wanted:
        return None
    try:
        return ProcessPool(_pack, min(settings.packers, len(sizes)), name="pack", threads=1)
    except OSError:
        return None


def _pack(job: _PackJob, task: Task) -> PackedLayer:
    """In a process."""
    pool = DaemonPool(job.threads, "deflate") if job.threads > 1 else None
    report = _Report(task)
    try:
        layer = job.run(pool, report, task.cancelled)
        report.send()
        return layer
    finally:
        if pool:
            pool.end()


class _Report:
    """Adds progress up, so that a small file does not cost a message."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._count = 0

    def __call__(self, count: int) -> None:
        self._count += count
        if self._count >= _REPORT:
            self.send()

    def send(self) -> None:
        if self._count:
            self._task.report(self._count)
            self._count = 0
