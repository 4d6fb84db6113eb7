# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Who packs: threads of this process for little, worker processes for much.

Compression, hashing and reading release Python's lock, and are two thirds of the time of a prefix with many small
files; the rest is Python. So threads of one process keep some three cores busy, however many there are, and processes
all of them; but each costs 0.1 s and some 25 MiB. Both write the same bytes.
"""

import os
import queue
import sys
from typing import Callable, List, Sequence, Tuple

from ...archive.pack import PackedLayer, pack_prefix
from ...content import Progress
from ...errors import StorageError
from ...package.record import Package
from ...util.threads import DaemonPool
from .forked_packer import forked_workers
from .pack_worker import PackWorker
from .plan import PushSettings, worth_forking

#: prefixes of more bytes than this are compressed by all cores together
LARGE = 16 << 20
#: processes are started for so many bytes
WORTH_PROCESSES = 128 << 20
#: packages that a process is given at a time, so that it has the next when it has packed one
AHEAD = 2


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
        self._ahead = max(2, 2 * packers // max(1, min(large, packers)))
        processes = settings.processes
        if processes is None:
            # an interpreter that is embedded in a program has no executable
            possible = packers > 1 and len(sizes) > 1 and bool(sys.executable)
            processes = possible and sum(sizes) >= WORTH_PROCESSES
        self._workers = self._make_workers(packers, len(sizes)) if processes else []
        self.threads = packers * AHEAD if self._workers else packers
        self._pool = None if self._workers else DaemonPool(packers, "deflate")
        self._idle: queue.SimpleQueue[PackWorker] = queue.SimpleQueue()
        for worker in self._workers * AHEAD:
            self._idle.put(worker)

    def pack(self, package: Package, size: int, progress: Progress) -> Tuple[PackedLayer, str]:
        """The layer, and the file that holds it. Raises as :func:`spack_oci.archive.pack.pack_prefix`."""
        path = os.path.join(self._stage, f"{package.dag_hash}.layer")
        if self._workers:
            return self._in_process(package, size, path, progress), path
        try:
            with open(path, "wb", buffering=0) as sink:
                layer = pack_prefix(
                    package.prefix,
                    build_info=package.build_info,
                    old_prefixes=package.old_prefixes,
                    compression=self._settings.compression,
                    sink=sink,
                    pool=self._pool if size > LARGE else None,
                    threads=self._ahead if size > LARGE else 1,
                    progress=progress,
                    cancelled=self._cancelled,
                )
        except OSError as e:
            raise StorageError.from_os_error(f"packing {package.label}", e) from e
        return layer, path

    def _in_process(self, package: Package, size: int, path: str, progress: Progress) -> PackedLayer:
        worker = self._idle.get()  # there is one for each thread
        try:
            return worker.pack(
                package.prefix,
                build_info=package.build_info,
                old_prefixes=package.old_prefixes,
                compression=self._settings.compression,
                path=path,
                threads=min(self._ahead, self._settings.packers) if size > LARGE else 1,
                progress=progress,
            )
        finally:
            self._idle.put(worker)

    def _make_workers(self, packers: int, packages: int) -> List[PackWorker]:
        """An empty list where the system allows no more processes."""
        if not worth_forking(self._settings, packages):
            return [PackWorker() for _ in range(packers)]
        try:
            return forked_workers(packers)
        except OSError:
            return []

    def stop(self) -> None:
        """End what is being packed; ``cancelled`` is true by now."""
        for worker in self._workers:
            worker.kill()

    def close(self) -> None:
        for worker in self._workers:
            worker.close()
        if self._pool:
            self._pool.shutdown(wait=True)
