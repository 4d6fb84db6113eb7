# SPDX-License-Identifier: (Apache-2.0 OR MIT)
# ruff: noqa: E501  (a table)
"""The faults that every operation meets, and what then becomes of it.

A cell of the table is a fault and an operation: the operation is run under the fault, in a world of its own, and has to
end within bounds of time, memory and requests, as ``Fault.ends`` says, with an error of ours or none; nothing is then
half-written, and the same command without the fault finishes.
"""

import errno
from dataclasses import dataclass, field
from typing import Any, Dict, FrozenSet, List, Mapping, Sequence

from support.registries.fault_state import Fault as HttpFault

from faults.machine import WRITES, Run
from faults.operations import OPERATIONS, Operation
from faults.worlds import World

FOREVER = 1 << 30
OK, ERROR, EITHER, NOT_APPLICABLE = "ok", "error", "either", "–"

#: bounds of one run: seconds (of which most are the busy machine's), bytes, requests for each that it needs without
#: faults, and these in addition
SECONDS, MEMORY, REQUESTS, MORE_REQUESTS = 120.0, 256 << 20, 6, 30

#: those that store nothing in the registry
_READERS = frozenset({"install", "fetch", "copy", "list", "verify"})
_ALL = frozenset(operation.name for operation in OPERATIONS)
#: those that write nothing to the disk but what is kept for the next time
_ONLY_CACHE = frozenset({"push", "update-index", "copy-up", "list", "prune", "repair", "verify", "sign", "snapshot"})


@dataclass(frozen=True)
class Fault:
    """``http``: what the registry does; ``shim``: see ``shim.c``; ``limits``: see ``agent.limit``.

    ``on``: names of operations that it can happen to; ``ok``: those of them that succeed all the same; ``either``: those
    that do with luck. ``late``: the first half of the calls works. ``keeps``: it also stops the removal of what is temporary.
    """

    name: str
    title: str
    http: Sequence[Mapping[str, Any]] = ()
    shim: Mapping[str, object] = field(default_factory=dict)
    limits: Mapping[str, int] = field(default_factory=dict)
    on: FrozenSet[str] = _ALL
    ok: FrozenSet[str] = frozenset()
    either: FrozenSet[str] = frozenset()
    late: bool = False
    keeps: bool = False

    def ends(self, operation: Operation) -> str:
        if operation.name not in self.on or (self.http and not operation.network):
            return NOT_APPLICABLE
        if operation.name in self.either:
            return EITHER
        return OK if operation.name in self.ok else ERROR

    def http_faults(self) -> List[HttpFault]:
        return [HttpFault(**settings) for settings in self.http]


def _http(name: str, title: str, method: str = "*", path: str = "/v2/", **more: Any) -> Fault:
    own = {key: more.pop(key) for key in ("on", "ok") if key in more}
    return Fault(name, title, http=({"method": method, "path": path, "times": FOREVER, **more},), **own)


def _failing(name: str, title: str, calls: str, number: int, **more: Any) -> Fault:
    shim = {"calls": calls, "errno": number}
    return Fault(name, title, shim=shim, **more)


_DISK = "open,write,truncate,name,mkdir"

FAULTS: Sequence[Fault] = (
    # the registry's answers
    _http("401", "401", status=401),
    _http("403", "403", status=403),
    _http("404", "404 to everything", status=404),
    _http("429", "429 for ever", status=429),
    _http("429-later", "429 with `Retry-After` of a day", status=429, headers={"Retry-After": "86400"}),
    _http("500", "500 for ever", status=500),
    _http("503-once", "503 to three requests", status=503, times=3, ok=_ALL),
    _http("200-page", "200 with a page for people", status=200, headers={"Content-Type": "text/html"}, body=b"<html>Sign in</html>"),
    _http("201-empty", "201 without a body or a `Location`", status=201),
    _http("307-round", "redirected round and round", status=307, headers={"Location": "/v2/"}),
    # its timing
    _http("silence", "no answer", dribble=20.0),
    _http("dribble", "a byte now and then", dribble=0.2),
    _http("dribble-body", "a byte of a blob now and then", method="GET", path="/blobs/", dribble=0.3, dribble_after=200, on=_READERS),
    # connections
    _http("reset", "reset before the answer", reset_after=0),
    _http("reset-blob", "reset in the middle of each blob", method="GET", path="/blobs/", reset_after=40, on=_READERS),
    _http("cut-once", "cut in the middle of two answers", method="GET", truncate=20, times=2, ok=_ALL),
    _http("reset-upload", "reset in the middle of each upload", method="PUT", path="/blobs/uploads/", reset_after=10, on=frozenset({"push", "copy-up", "update-index", "prune", "repair", "sign", "snapshot"}), ok=_ALL),
    _http("garbage", "no HTTP", raw=b"SSH-2.0-OpenSSH_9.2\r\n"),
    # its lies
    _http("longer", "`Content-Length` larger than what comes", method="GET", raw=b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\nContent-Type: application/vnd.oci.image.manifest.v1+json\r\n\r\n{}"),
    _http("shorter", "`Content-Length` smaller than what comes", method="GET", raw=b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{\"tags\": []}"),
    _http("no-number", "`Content-Length` that is no number", method="GET", raw=b"HTTP/1.1 200 OK\r\nContent-Length: \xc2\xb2\r\n\r\n{}"),
    _http("damaged", "a byte of each blob is another", method="GET", path="/blobs/", corrupt=True, on=_READERS),
    _http("damaged-manifest", "a byte of each manifest is another", method="GET", path="/manifests/", corrupt=True),
    _http("endless-body", "bodies without end", method="GET", endless=True),
    _http("endless-fields", "header fields without end", raw=b"HTTP/1.1 200 OK\r\n", repeat=b"X-Field: value\r\n"),
    # the disk
    _failing("full", "no space on the disk", _DISK, errno.ENOSPC, ok=_ONLY_CACHE),
    _failing("full-late", "no space, half way", _DISK, errno.ENOSPC, ok=_ONLY_CACHE, late=True),
    _failing("quota", "quota used up", _DISK, errno.EDQUOT, ok=_ONLY_CACHE),
    _failing("quota-late", "quota used up, half way", _DISK, errno.EDQUOT, ok=_ONLY_CACHE, late=True),
    _failing("read-only", "read-only file system", WRITES, errno.EROFS, ok=_ONLY_CACHE),
    _failing("read-only-late", "read-only, half way (after an error of the disk)", WRITES, errno.EROFS, ok=_ONLY_CACHE, late=True, keeps=True),
    _failing("write-eio", "EIO when writing", "write", errno.EIO, ok=_ONLY_CACHE | {"gc"}),
    _failing("sync-eio", "EIO when syncing", "sync", errno.EIO, ok=_ALL - {"copy", "layout"}),
    _failing("read-eio", "EIO when reading", "read", errno.EIO, ok=frozenset({"update-index", "list", "fetch", "prune", "repair", "verify", "snapshot"})),
    _failing("rename-eio", "EIO when renaming", "name", errno.EIO, ok=_ONLY_CACHE),
    _failing("forbidden", "not permitted", WRITES, errno.EACCES, ok=_ONLY_CACHE),
    _failing("no-remove", "nothing can be removed", "remove", errno.EPERM, ok=_ALL - {"install", "gc"}, keeps=True),
    _failing("no-modes", "no modes and times (as on FAT)", "attr", errno.EPERM, ok=_ONLY_CACHE | {"gc"}),
    _failing("enosys-lock", "no locks: ENOSYS", "lock", errno.ENOSYS, ok=_ALL - {"install"}),
    _failing("enolck-lock", "no locks: ENOLCK", "lock", errno.ENOLCK, ok=_ALL - {"install"}),
    # limits of the system
    _failing("no-fork", "no more processes", "fork", errno.EAGAIN, ok=_ALL),
    _failing("no-thread", "no more threads", "thread", errno.EAGAIN, ok=_ALL),
    Fault("files", "one more open file", limits={"files": 1}),
    # what the process has of memory may be enough for something small; the library that signs ends the process itself:
    # what is written in Rust cannot do without memory
    Fault("memory", "no more memory", limits={"memory": 0}, on=_ALL - {"sign"}, either=_ALL),
    # the clock
    Fault("past", "a clock that is 20 years slow", shim={"clock": -20 * 365 * 86400}, ok=_ALL),
    Fault("future", "a clock that is 20 years fast", shim={"clock": 20 * 365 * 86400}, ok=_ALL),
)  # fmt: skip


def cells() -> List[Any]:
    return [(fault, op) for fault in FAULTS for op in OPERATIONS if fault.ends(op) != NOT_APPLICABLE]


def run_cell(world: World, fault: Fault, operation: Operation, calls: int) -> Run:
    """``calls``: of this kind, that the operation makes without faults."""
    world.registry.faults[:] = fault.http_faults()
    shim: Dict[str, object] = dict(fault.shim)
    if "calls" in shim and shim["calls"] not in ("fork", "thread"):
        # what is pushed is beside the world
        shim["path"] = world.built.parent.parent if shim["calls"] == "read" else world.root
    if fault.late:
        shim["skip"] = calls // 2
    try:
        return world.run(*operation.words(world), faults=shim, limits=fault.limits, timeout=SECONDS)
    finally:
        world.registry.faults.clear()


def complaints(run: Run, requests: int, usual: int) -> List[str]:
    """What is wrong with the end of a run. ``usual``: requests that it needs without faults."""
    wrong = []
    if not run.in_time:
        wrong.append(f"it does not end within {SECONDS:.0f} seconds")
    if "Traceback" in run.said or "please report it" in run.said:
        wrong.append("a defect is shown")
    if run.code not in (0, 1, 2, 3, 4):
        wrong.append(f"exit code {run.code}")
    # `doctor` tells in its table what fails
    if run.code and "Error: " not in run.err and "fail" not in run.out.lower():
        wrong.append("no error is shown")
    if run.memory > MEMORY:
        wrong.append(f"{run.memory >> 20} MiB of memory")
    if requests > usual * REQUESTS + MORE_REQUESTS:
        wrong.append(f"{requests} requests instead of {usual}")
    return wrong


#: whose cells wait for some seconds
SLOW = frozenset({"silence", "dribble", "dribble-body", "429"})

__all__ = ["EITHER", "ERROR", "FAULTS", "Fault", "OK", "SLOW", "cells", "complaints", "run_cell"]
