# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Packing in a process of its own: Python runs one thread at a time, and a prefix of many small files is mostly Python.

The process is a plain child that speaks JSON lines on its standard input and output, so it is the same on every
platform, whatever start method multiprocessing has there. Where forking is safe, the first ones may be forked
(``cache/forked_packer.py``); they speak the same::

    > {"prefix": ..., "build_info": ..., "old_prefixes": [...], "compression": "zstd:3", "path": ..., "threads": 2}
    < {"read": 1048576}                   bytes of files since the last line, any number of times
    < {"layer": {...}}  or  {"error": {"type": "PrefixChanged", "message": ..., "remedy": ...}}

The end of its input, or of whoever reads its output, ends it.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from functools import partial
from pathlib import Path
from typing import Any, Callable, Deque, Dict, List, Mapping, Optional, Sequence, TextIO, Tuple, Type

from ... import errors
from ...archive.codec import Compression
from ...archive.pack import PackedLayer, RelocationSummary, pack_prefix
from ...content import Progress
from ...descriptor import Descriptor
from ...errors import ArchiveError, SpackOciError
from ...util.cancellation import Cancelled
from ...util.threads import DaemonPool

#: bytes of files between two reports
_REPORT = 4 << 20

_PROGRAM = (
    "import sys, json; sys.path[:] = json.loads(sys.argv[1]); "
    "from spack_oci.operations.push.pack_worker import serve; serve()"
)


class PackWorker:
    """The parent's side. Packages are packed one after the other; those asked for meanwhile wait in the pipe, so that
    the process has the next one before a thread of the parent, which has other things to do, takes an answer."""

    def __init__(self, process: Any = None) -> None:
        """``process``: one that serves already, with the attributes of a Popen; else one is started when needed."""
        self._process = process
        self._guard = threading.Lock()
        #: held while a request is written, which may take until the package before it is packed
        self._asking = threading.Lock()
        self._killed = False
        #: those who wait for their answer, in the order of their requests
        self._turns: Deque[threading.Event] = deque()

    def pack(
        self,
        prefix: str,
        *,
        build_info: Mapping[str, Any],
        old_prefixes: Sequence[str],
        compression: Compression,
        path: str,
        threads: int = 1,
        progress: Optional[Progress] = None,
    ) -> PackedLayer:
        """:func:`~.pack.pack_prefix` into the file ``path``. Raises what that raises, and Cancelled when killed."""
        request = {
            "prefix": prefix,
            "build_info": dict(build_info),
            "old_prefixes": list(old_prefixes),
            "compression": str(compression),
            "path": path,
            "threads": threads,
        }
        process, turn = self._ask(json.dumps(request) + "\n")
        try:
            turn.wait()
            for line in process.stdout:
                answer = json.loads(line)
                if "read" not in answer:
                    return _result(answer)
                if progress:
                    progress(answer["read"])
        finally:
            self._next_turn()
        if self._killed:
            raise Cancelled
        code = process.wait()
        with self._guard:
            if self._process is process:
                self._process = None
        raise ArchiveError(
            f"packing {prefix}: the worker process ended with {code}",
            remedy="it may have run out of memory: try again with fewer jobs (-j)",
        )

    def _ask(self, request: str) -> Tuple[Any, threading.Event]:
        """The process that has the request, and what tells when its next answer is ours."""
        turn = threading.Event()
        with self._asking:
            with self._guard:
                if self._killed:
                    raise Cancelled
                if self._process is None:
                    self._process = _start()
                process = self._process
                self._turns.append(turn)
                self._turns[0].set()
            with contextlib.suppress(BrokenPipeError):  # it has ended: so will its answers
                process.stdin.write(request)
                process.stdin.flush()
        return process, turn

    def _next_turn(self) -> None:
        with self._guard:
            self._turns.popleft()
            if self._turns:
                self._turns[0].set()

    def kill(self) -> None:
        """End the process, also in the middle of a package."""
        with self._guard:
            self._killed = True
            process = self._process
        if process is not None:
            process.kill()
            process.wait()

    def close(self) -> None:
        """End the process, which has nothing to do."""
        with self._guard:
            self._killed = True
            process, self._process = self._process, None
        if process is not None:
            process.communicate()


def _start() -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, json.dumps(_import_path())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        encoding="ascii",
    )


def _import_path() -> List[str]:
    """As this process has it, this package's own directory first."""
    own = str(Path(__file__).resolve().parents[3])
    return [own, *(path for path in sys.path if path and path != own)]


def _result(answer: Mapping[str, Any]) -> PackedLayer:
    if "error" in answer:
        error = answer["error"]
        kind: Type[SpackOciError] = getattr(errors, error["type"], SpackOciError)
        raise kind(error["message"], remedy=error["remedy"])
    layer = answer["layer"]
    return PackedLayer(
        Descriptor.from_dict(layer["descriptor"]),
        layer["diff_id"],
        layer["tar_size"],
        layer["files"],
        tuple(layer["textfiles"]),
        tuple(layer["binaries"]),
        tuple(layer["links"]),
        RelocationSummary(**layer["facts"]),
    )


def serve(requests: Optional[TextIO] = None, answers: Optional[TextIO] = None) -> None:
    """The child's side: pack what ``requests`` (standard input) asks for until it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    say = partial(_say, answers or sys.stdout)
    for line in requests or sys.stdin:
        answer(json.loads(line), say)


def answer(request: Mapping[str, Any], say: Callable[[Dict[str, Any]], None]) -> None:
    report = _Report(say)
    try:
        layer = _pack(request, report)
    except SpackOciError as e:
        say({"error": {"type": type(e).__name__, "message": e.message, "remedy": e.remedy}})
        return
    report.flush()
    say(
        {
            "layer": {
                "descriptor": layer.descriptor.to_dict(),
                "diff_id": layer.diff_id,
                "tar_size": layer.tar_size,
                "files": layer.files,
                "textfiles": layer.relocate_textfiles,
                "binaries": layer.relocate_binaries,
                "links": layer.relocate_links,
                "facts": layer.facts.to_dict(),
            }
        }
    )


def _pack(request: Mapping[str, Any], progress: Progress) -> PackedLayer:
    threads = request["threads"]
    pool = DaemonPool(threads, "deflate") if threads > 1 else None
    try:
        with open(request["path"], "wb", buffering=0) as sink:
            return pack_prefix(
                request["prefix"],
                build_info=request["build_info"],
                old_prefixes=request["old_prefixes"],
                compression=Compression.parse(request["compression"]),
                sink=sink,
                pool=pool,
                threads=threads,
                progress=progress,
            )
    except OSError as e:
        raise errors.StorageError.from_os_error(f"packing {request['prefix']}", e) from e
    finally:
        if pool:
            pool.shutdown()


class _Report:
    """Adds progress up, so that a small file does not cost a line."""

    def __init__(self, say: Callable[[Dict[str, Any]], None]) -> None:
        self._say = say
        self._count = 0

    def __call__(self, count: int) -> None:
        self._count += count
        if self._count >= _REPORT:
            self.flush()

    def flush(self) -> None:
        if self._count:
            self._say({"read": self._count})
            self._count = 0


def _say(answers: TextIO, document: Dict[str, Any]) -> None:
    try:
        answers.write(json.dumps(document) + "\n")
        answers.flush()
    except BrokenPipeError:
        os._exit(1)  # the parent is gone; so is whoever would want the layer
