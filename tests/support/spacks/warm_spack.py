# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Commands of Spack in processes that are forked from a Python that has imported what Spack imports of others.

Most of what a short command of Spack costs are imports, and the tests of Spack run some two thousand. What is imported
before the fork is the standard library, what Spack brings along, what it or this package need of other projects, and
what of this package knows nothing of Spack; none of it looks at the environment. All of Spack itself, and what of this
package replaces functions in it, is imported in the forked process, in its usual order: hooks, configuration and
environment variables are those of a command that somebody has typed. Before the fork, the byte code of Spack's modules
is read, their regular expressions are compiled, and Spack finds out which distribution this is, for which it starts two
processes. A process ends without freeing its memory. All of this halves what a short command costs.

As a program, ``python warm_spack.py CHECKOUT FD``, this is the process that is forked. Other modules use :func:`run`.
"""

import array
import atexit
import contextlib
import gc
import importlib
import importlib.machinery
import importlib.util
import json
import os
import pkgutil
import re
import runpy
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

#: bytes of a request: words and environment
_LARGEST = 1 << 20

# -- in the tests ----------------------------------------------------------------------------------------------------


class _Agent:
    def __init__(self, python: Path, checkout: Path, environment: Mapping[str, str]) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        kept = {k: v for k, v in environment.items() if not k.startswith(("SPACK_", "PYTHON"))}
        with theirs:
            # it ends when nobody has the other end of its socket any more
            self._process = subprocess.Popen(
                [str(python), str(Path(__file__).resolve()), str(checkout), str(theirs.fileno())],
                env=kept,
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )

    def start(self, request: Mapping[str, Any], descriptors: Sequence[int]) -> socket.socket:
        """What tells the process id, and then its status."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [theirs.fileno(), *descriptors]))]
            self._control.sendmsg([json.dumps(request).encode()], ancillary)
        return ours


_agents: Dict[Tuple[Path, Path], _Agent] = {}
_starting = threading.Lock()


def run(
    checkout: Path, python: Path, argv: Sequence[str], env: Mapping[str, str], cwd: Path, input: str, timeout: float
) -> "subprocess.CompletedProcess[str]":
    """As ``subprocess.run`` in a new session, with pipes. Raises TimeoutExpired; the process group is killed then."""
    with _starting:
        if (python, checkout) not in _agents:
            _agents[python, checkout] = _Agent(python, checkout, env)
        agent = _agents[python, checkout]
    with contextlib.ExitStack() as stack:
        pipes = [os.pipe() for _ in range(3)]
        theirs = [pipes[0][0], pipes[1][1], pipes[2][1]]
        try:
            request = {"argv": list(argv), "env": dict(env), "cwd": str(cwd)}
            status = stack.enter_context(agent.start(request, theirs))
        finally:
            for descriptor in theirs:
                os.close(descriptor)
        readers = [_Reader(pipes[1][0]), _Reader(pipes[2][0])]
        threading.Thread(target=_feed, args=(pipes[0][1], input.encode()), daemon=True).start()
        status.settimeout(timeout)
        pid = None
        try:
            pid = _number(status)
            returncode = _number(status)
            for reader in readers:
                reader.join(timeout)
        except socket.timeout:
            raise subprocess.TimeoutExpired(list(argv), timeout) from None
        finally:
            if pid is not None and any(reader.is_alive() for reader in readers):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGKILL)
    out, err = (reader.text for reader in readers)
    return subprocess.CompletedProcess(list(argv), returncode, out, err)


def _number(status: socket.socket) -> int:
    data = status.recv(64)
    assert data, "the process that forks Spack's is gone"
    return int(data)


class _Reader(threading.Thread):
    def __init__(self, descriptor: int) -> None:
        super().__init__(daemon=True)
        self._descriptor = descriptor
        self.text = ""
        self.start()

    def run(self) -> None:
        with open(self._descriptor, errors="replace") as stream:
            self.text = stream.read()


def _feed(descriptor: int, data: bytes) -> None:
    with contextlib.suppress(BrokenPipeError), open(descriptor, "wb") as stream:
        stream.write(data)


# -- the process that is forked --------------------------------------------------------------------------------------

#: of this package and its tests' commands, if they are there
_OTHERS = (
    *("requests", "urllib3", "jsonschema", "zstandard", "isal.igzip", "isal.isal_zlib", "elftools.elf.elffile"),
    *("clingo", "nacl.secret", "cryptography.hazmat.primitives.serialization", "ssl", "tempfile", "encodings.idna"),
    *("cryptography.hazmat.primitives.asymmetric.ec", "cryptography.hazmat.primitives.asymmetric.rsa", "tarfile"),
    *("cryptography.hazmat.primitives.asymmetric.ed25519", "multiprocessing.pool", "concurrent.futures.process"),
)
_SPACKS = (
    *("spack.main", "spack.environment", "spack.concretize", "spack.binary_distribution", "spack.installer"),
    *(f"spack.cmd.{name}" for name in ("buildcache", "find", "install", "location", "mirror", "python", "spec")),
)


def _is_of_spack(name: str) -> bool:
    """Whether it may look at the environment, or is something that hooks wait for."""
    first, _, rest = name.partition(".")
    second = rest.partition(".")[0]
    return first == "llnl" or (first == "spack" and second != "vendor") or (first == "spack_oci" and second == "spack")


def _names_of_ours() -> List[str]:
    """None in a Python without this package."""
    if importlib.util.find_spec("spack_oci") is None:
        return []
    package = importlib.import_module("spack_oci")
    names = [module.name for module in pkgutil.walk_packages(package.__path__, "spack_oci.", onerror=lambda _: None)]
    return [name for name in names if not _is_of_spack(name) and not name.endswith("__main__")]


def _imports_of_spack() -> Tuple[List[str], List[str], List[Tuple[str, int]]]:
    """What importing Spack imports that is not of Spack, from which files the rest is, and the regular expressions that
    are compiled: found out in a process of its own."""
    reading, writing = os.pipe()
    if os.fork() == 0:
        before = set(sys.modules)
        for name in _SPACKS:
            with contextlib.suppress(Exception):
                importlib.import_module(name)
        others = [n for n in sys.modules if n not in before and not _is_of_spack(n)]
        files = [getattr(m, "__file__", None) for n, m in list(sys.modules.items()) if _is_of_spack(n)]
        expressions = [(key[1], key[2]) for key in getattr(re, "_cache", ()) if key[0] is str]
        with open(writing, "w") as stream:
            json.dump([others, [f for f in files if f and f.endswith(".py")], expressions], stream)
        os._exit(0)
    os.close(writing)
    with open(reading) as stream:
        others, files, expressions = json.load(stream)
    os.wait()
    return others, files, expressions


def _prepare() -> None:
    others, files, expressions = _imports_of_spack()
    for name in (*others, *_OTHERS, *_names_of_ours()):
        with contextlib.suppress(Exception):
            importlib.import_module(name)
    with contextlib.suppress(ImportError):
        distro = importlib.import_module("spack.vendor.distro")
        distro.id(), distro.version()  # remembered
    for name in [n for n in sys.modules if _is_of_spack(n)]:  # the package around what Spack brings along
        del sys.modules[name]
    for pattern, flags in expressions:
        re.compile(pattern, flags)
    adapter = importlib.util.find_spec("spack_oci")
    for directory in (adapter and adapter.submodule_search_locations) or ():
        files.extend(map(str, Path(directory, "spack").rglob("*.py")))
    _read_code_once(files)


def _read_code_once(files: Sequence[str]) -> None:
    """A module of one of these files is executed whenever it is imported, and its byte code is in memory."""
    loader = importlib.machinery.SourceFileLoader
    read = loader.get_code
    codes = {file: read(loader("module", file), "module") for file in files}
    loader.get_code = lambda self, name: codes.get(self.path) or read(self, name)  # type: ignore[method-assign]


def _serve(control: socket.socket) -> Dict[str, Any]:
    """Returns in a forked process, whose streams and environment are those of the request, which is returned."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    size = array.array("i").itemsize
    while True:
        data, ancillary, _, _ = control.recvmsg(_LARGEST, socket.CMSG_LEN(4 * size))
        if not data:
            os._exit(0)
        descriptors = array.array("i", ancillary[0][2][: 4 * size])
        if os.fork() == 0:
            control.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            request: Dict[str, Any] = json.loads(data)
            status = socket.socket(fileno=descriptors[0])
            pid = os.fork()
            if pid == 0:
                status.close()
                _become(request, descriptors[1:])
                return request
            for descriptor in descriptors[1:]:
                os.close(descriptor)
            _tell(status, pid)
        for descriptor in descriptors:
            os.close(descriptor)


def _tell(status: socket.socket, pid: int) -> None:
    with contextlib.suppress(BrokenPipeError):
        status.send(str(pid).encode())
        status.send(str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])).encode())
    os._exit(0)


def _become(request: Mapping[str, Any], descriptors: Sequence[int]) -> None:
    os.setsid()
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    sys.stdin = sys.__stdin__ = open(0, closefd=False)  # type: ignore[misc]  # noqa: SIM115
    sys.stdout = sys.__stdout__ = open(1, "w", closefd=False)  # type: ignore[misc]  # noqa: SIM115
    errors = "backslashreplace"
    sys.stderr = sys.__stderr__ = open(2, "w", 1, errors=errors, closefd=False)  # type: ignore[misc]  # noqa: SIM115
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])


def main() -> Optional[str]:
    checkout, descriptor = sys.argv[1:]
    library = os.path.join(checkout, "lib", "spack")
    sys.path[0] = library  # in the place of this file's directory
    _prepare()
    sys.path.remove(library)
    gc.collect()
    gc.freeze()
    request = _serve(socket.socket(fileno=int(descriptor)))
    program, *sys.argv[1:] = request["argv"]
    sys.argv[0] = program
    vendor = sys.modules.get("spack.vendor")
    if vendor is not None:
        sys.path.insert(0, library)
        import spack  # type: ignore[import-not-found]

        spack.vendor = vendor
        sys.path.remove(library)
    try:
        runpy.run_path(program, run_name="__main__")
    except SystemExit as e:
        if e.code is None or isinstance(e.code, int):
            _end(e.code or 0)
        raise
    return None


def _end(status: int) -> None:
    """End as Python does, but without taking apart all that was imported: that would take longer than some commands."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status & 0xFF)


if __name__ == "__main__":
    main()
