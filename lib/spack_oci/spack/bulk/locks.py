# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Spack's locks on prefixes, for many packages at once.

Nobody waits here for a lock while he holds one: Spack's installers keep a read lock on everything that they have
installed while they wait for the next, so two that wait for each other would wait for ever.
"""

import contextlib
import random
import time
from typing import Any, Dict, Iterator, List, Optional, Sequence

import spack.spec
import spack.store
import spack.util.lock

from ...errors import StorageError

#: seconds to wait for a lock; Spack takes 0 for "no time limit"
_AT_ONCE = 1e-9


def lock_all(specs: Sequence["spack.spec.Spec"]) -> Optional[List[Any]]:
    """Write locks on the prefixes of all ``specs``, or none (None) when somebody else holds one of them."""
    held: List[Any] = []
    with _released_on_error(held):
        for spec in specs:
            lock = _lock(spec)
            if lock is None:
                release(held)
                return None
            held.append(lock)
    return held


def pause() -> None:
    """Between two attempts."""
    time.sleep(random.uniform(0.05, 0.5))


def lock_free(specs: Sequence["spack.spec.Spec"]) -> Dict[str, Any]:
    """DAG hash -> write lock, of those of ``specs`` on which nobody else has one."""
    held: List[Any] = []
    found: Dict[str, Any] = {}
    with _released_on_error(held):
        for spec in specs:
            lock = _lock(spec)
            if lock is not None:
                held.append(lock)
                found[spec.dag_hash()] = lock
    return found


def release(locks: Sequence[Any]) -> None:
    for lock in locks:
        lock.release_write()


def _lock(spec: "spack.spec.Spec") -> Optional[Any]:
    lock = spack.store.STORE.prefix_locker.lock(spec)
    try:
        lock.acquire_write(_AT_ONCE)
    except spack.util.lock.LockTimeoutError:
        return None
    except spack.util.lock.LockError as e:
        raise StorageError(f"cannot lock {spec.prefix}: {e}", remedy="check the permissions of the install tree") from e
    return lock


@contextlib.contextmanager
def _released_on_error(held: List[Any]) -> Iterator[None]:
    try:
        yield
    except BaseException:
        release(held)
        raise
