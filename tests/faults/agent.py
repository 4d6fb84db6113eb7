# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Runs `spack-oci`, and operations that it has no word for, each in a forked process: to start Python a thousand times
would take ten minutes. Started by :mod:`faults.machine`, with the shim preloaded.

Reads a line of JSON for each run, and answers with one: see :class:`faults.machine.Run`.
"""

import argparse
import contextlib
import ctypes
import importlib
import json
import os
import pkgutil
import resource
import select
import signal
import sys
import time
from types import SimpleNamespace
from typing import Any, Callable, Dict, List

import spack_oci
from spack_oci.cli import main as program
from spack_oci.registry.http.limiter import forget_rates


def import_everything() -> None:
    """So that no forked process has to."""
    for module in pkgutil.walk_packages(spack_oci.__path__, "spack_oci."):
        if not module.name.startswith("spack_oci.spack") and not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    keys = ("cryptography.hazmat.primitives.serialization", "cryptography.hazmat.primitives.asymmetric.ec")
    for name in (
        "requests",
        "jsonschema",
        "zstandard",
        "isal.igzip",
        "encodings.idna",
        "socket",
        "ssl",
        "tempfile",
        *keys,
    ):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


def shorten_waits() -> None:
    """As a user who has no patience would set it; the order of what is done stays as it is."""
    from spack_oci.configuration import registries
    from spack_oci.registry.http.retry import RetryPolicy
    from spack_oci.registry.settings import RegistrySettings

    registries.OUTAGE = 1.0
    _set_defaults(RetryPolicy, base=0.05, cap=0.4, max_retry_after=0.5, patience=2.0)
    _set_defaults(RegistrySettings, retry=RetryPolicy(), read_timeout=0.7, commit_timeout=0.7, connect_timeout=2.0)


def _set_defaults(cls: Any, **values: Any) -> None:
    """Of a NamedTuple."""
    cls.__new__.__defaults__ = tuple(values.get(name, default) for name, default in cls._field_defaults.items())


# -- operations that `spack-oci` has no word for ---------------------------------------------------------------------


def copy(source: str, destination: str) -> int:
    """As `spack oci copy`."""
    from spack_oci.cli.caches import index_settings, location_of, open_cache
    from spack_oci.content.interfaces import MissingStore
    from spack_oci.layout import is_layout
    from spack_oci.operations.lifecycle.copy import Selection, compare, execute_copy, plan_copy
    from spack_oci.reference import LayoutDirectory

    origin = open_cache(source)
    location = location_of(destination)
    there: Any = MissingStore(destination)
    if not isinstance(location, LayoutDirectory) or is_layout(location):
        there = open_cache(destination, writes=True)
    both = compare(origin, there)
    target = open_cache(destination, create=True, writes=True)
    result = execute_copy(origin, target, both.found, plan_copy(both, Selection()), index_settings(destination), jobs=2)
    return _told(result.failed)


def fetch(cache: str, store: str) -> int:
    """As `spack oci fetch`."""
    from spack_oci.cli.caches import read_source
    from spack_oci.cli.settings import read
    from spack_oci.configuration.settings import blob_cache
    from spack_oci.operations.install.execute import FAILED, fetch_all
    from spack_oci.store.database import Records
    from spack_oci.store.install import StoreSteps, plan
    from spack_oci.store.store import Store

    source = read_source(cache)
    tree = Store.open_or_create(store)
    planned = plan(tree, Records(), [source.graph[h] for h in sorted(source.available)], source)
    steps = StoreSteps(tree, planned, source, set(), blob_cache(read()))
    outcomes = fetch_all(steps.items(), steps)
    return _told({o.item.label: o.error for o in outcomes if o.status == FAILED})


def collect(layout: str) -> int:
    """Remove what no tag of a layout reaches."""
    from spack_oci.layout import open_layout
    from spack_oci.layout.gc import collect_garbage
    from spack_oci.reference import LayoutDirectory

    collect_garbage(open_layout(LayoutDirectory(layout)), grace=60)
    return 0


def verify(cache: str) -> int:
    """As `spack oci verify`, at its deepest level, without a policy."""
    from spack_oci.cli.caches import open_cache, open_index
    from spack_oci.operations.check.findings import Level
    from spack_oci.operations.check.package_level import Rules
    from spack_oci.operations.check.verify import verify_cache
    from spack_oci.operations.lifecycle.contents import read_contents

    store = open_cache(cache, writes=True)
    found = verify_cache(store, read_contents(store, open_index(cache, writes=True)), Level.CONTENT, Rules())
    return _told({f"{finding.kind.value} {finding.tag}": finding for finding in found.findings})


def sign(cache: str, key: str) -> int:
    """As `spack oci sign`: all packages, and then the index."""
    from spack_oci.cli.caches import open_cache
    from spack_oci.index.update.loop import UpdateSettings, update_index
    from spack_oci.operations.trust.index_signing import IndexSigning
    from spack_oci.operations.trust.sign import sign_packages
    from spack_oci.operations.trust.write import Pace
    from spack_oci.package.record import is_package_tag
    from spack_oci.trust.signers import signer_of_file

    store = open_cache(cache, writes=True)
    signer = signer_of_file(key, bytes)
    tags = sorted(tag for tag in store.tags() if is_package_tag(tag))
    outcomes = sign_packages(store, tags, signer, jobs=2, pace=Pace(settle=0.0))
    signing = IndexSigning(store, [o.written for o in outcomes if o.written], signer)
    update_index(store, UpdateSettings(signatures=signing))
    return _told({o.tag: o.error for o in outcomes if o.error})


def prune(cache: str, kept: str) -> int:
    """As `spack oci prune --keep-specs KEPT --grace 0`. ``kept``: how its tag begins."""
    from spack_oci.cli.caches import index_settings, open_cache
    from spack_oci.errors import ConfigurationError
    from spack_oci.operations.lifecycle.contents import read_current_contents
    from spack_oci.operations.lifecycle.prune import Keep, condemn, delete_condemned, plan_prune
    from spack_oci.registry.probe import deletion_refused

    store, settings = open_cache(cache, writes=True), index_settings(cache)
    refused = deletion_refused(store)  # type: ignore[arg-type]
    if refused:
        raise ConfigurationError(f"{cache} deletes nothing: {refused}")
    contents = read_current_contents(store, settings)
    named = frozenset(h for tag, h in contents.need_index().tags.items() if tag.startswith(kept))
    result = condemn(store, plan_prune(store, contents, Keep(named=named)), settings)
    done = delete_condemned(store, lambda: read_current_contents(store, settings), result, settings, grace=0)
    return _told(done.failed)


def _told(failed: Dict[str, Any]) -> int:
    from spack_oci.cli.output import error

    for name, cause in failed.items():
        error(f"{name}: {cause}")
    return 1 if failed else 0


DRIVERS: Dict[str, Callable[..., int]] = {
    "copy": copy,
    "fetch": fetch,
    "collect": collect,
    "verify": verify,
    "sign": sign,
    "prune": prune,
}


def perform(words: List[str]) -> int:
    """A word of ``DRIVERS`` with a ``!``, or a command line of `spack-oci`."""
    if not words[0].startswith("!"):
        return program.main(words)
    driver = DRIVERS[words[0][1:]]
    parsed = argparse.Namespace(command=words[0][1:], run=lambda _: driver(*words[1:]))
    # what becomes of errors is the program's business
    program.parser = lambda only: SimpleNamespace(parse_args=lambda _: parsed)  # type: ignore[assignment,return-value]
    return program.main([])


# -- one run ---------------------------------------------------------------------------------------------------------


def limit(limits: Dict[str, int]) -> None:
    """``files``: that can be opened yet; ``memory``: bytes that can be mapped yet."""
    if "files" in limits:
        most = len(os.listdir("/proc/self/fd")) - 1 + limits["files"]
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if "memory" in limits:
        with open("/proc/self/statm") as file:
            mapped = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (mapped + limits["memory"],) * 2)


def child(request: Dict[str, Any], shim: ctypes.CDLL, alive: int) -> None:
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for descriptor, name in ((0, os.devnull), (1, request["out"]), (2, request["err"])):
        opened = os.open(name, os.O_RDONLY if descriptor == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(opened, descriptor)
        os.close(opened)
    os.set_inheritable(alive, True)
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", closefd=False, buffering=1)  # noqa: SIM115
    os.environ.update(request["env"])
    os.chdir(request["env"]["HOME"])
    for name, value in request["faults"].items():
        shim.setenv(name.encode(), value.encode(), 1)
    shim.faults_arm()
    forget_rates()  # all processes share them
    code = 70
    try:
        limit(request["limits"])
        code = perform(request["words"])
    except SystemExit as e:
        code = e.code if isinstance(e.code, int) else 1
    except BaseException:
        shim.unsetenv(b"FAULTS_CALLS")
        shim.faults_arm()
        sys.excepthook(*sys.exc_info())
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    os._exit(code)


def run(request: Dict[str, Any], shim: ctypes.CDLL) -> Dict[str, Any]:
    """Ends everything that the run has started, which holds the other end of a pipe as long as it lives."""
    ended, alive = os.pipe()
    begun = time.monotonic()
    pid = os.fork()
    if pid == 0:
        os.close(ended)
        child(request, shim, alive)
    os.close(alive)
    in_time = bool(select.select([ended], [], [], request["timeout"])[0])
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    _, status, usage = os.wait4(pid, 0)
    os.close(ended)
    return {
        "code": os.waitstatus_to_exitcode(status),
        "in_time": in_time,
        "seconds": time.monotonic() - begun,
        "memory": usage.ru_maxrss * 1024,
    }


def main() -> None:
    import_everything()
    shorten_waits()
    shim = ctypes.CDLL(None)
    for line in sys.stdin:
        answer = run(json.loads(line), shim)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
