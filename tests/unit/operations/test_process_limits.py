# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Under ``ulimit -u``, or a container's limit of processes: with as many threads and processes as there may be."""

import os
import subprocess
import sys
import tempfile

import pytest

#: a user that nobody is, so that the limit counts only what the test starts; root itself has no limit
USER = 54321

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux") or os.geteuid() != 0, reason="only root may become another user"
)

PROGRAM = """
import io, os, pathlib, resource, sys, threading, time
import concurrent.futures, multiprocessing.connection, queue, selectors, tempfile
import jsonschema, spack_oci.image.runtime  # what is imported lazily is not to be read by the other user
from spack_oci.archive.unpack.read_ahead import ReadAhead
from spack_oci.layout import open_layout
from spack_oci.operations.install.execute import InstallLimits, fetch_all, install_all
from spack_oci.operations.install.outcome import InstallItem
from spack_oci.operations.push.execute import PushSettings, execute_push, plan_push
from spack_oci.reference import LayoutDirectory
from spack_oci.registry.downloads import BackgroundWriter
from spack_oci.util.concurrency.threads import DaemonPool
from support.packages.prefixes import make_package

root, most = sys.argv[1], int(sys.argv[2])
os.setresgid({user}, {user}, {user})
os.setresuid({user}, {user}, {user})
os.chdir(root)
resource.setrlimit(resource.RLIMIT_NPROC, (most, most))


class Steps:
    finish_needs_dependencies = True

    def fetch(self, item, progress, begun=None):
        target = io.BytesIO()
        with BackgroundWriter(target) as writer:
            buffer = writer.buffer()
            buffer[:5] = b"layer"
            writer.write(buffer, 5)
        assert target.getvalue() == b"layer"

    def extract(self, item, fetched):
        with ReadAhead(io.BytesIO(bytes(3 << 20))) as stream:
            while stream.read():
                pass
        os.mkdir(item.prefix)

    def finish(self, item):
        assert all(os.path.isdir(os.path.join(root, h)) for h in item.dependencies)

    def register(self, items):
        self.registered = [item.dag_hash for item in items]

    def discard(self, item):
        raise AssertionError(item)


def install():
    names = [f"p{{n}}" for n in range(20)]
    items = [InstallItem(name, name, f"{{root}}/{{name}}", frozenset(names[: n % 5])) for n, name in enumerate(names)]
    assert {{o.status for o in fetch_all(items, Steps(), InstallLimits(transfers=8))}} == {{"installed"}}
    steps = Steps()
    outcomes = install_all(items, steps, InstallLimits(workers=4, transfers=8))
    assert [o.error for o in outcomes if o.status != "installed"] == []
    assert sorted(steps.registered) == sorted(i.dag_hash for i in items)


def push():
    tree = pathlib.Path(root, "store")
    packages = [make_package(tree, f"p{{n}}", files={{"data": os.urandom(1000)}}) for n in range(6)]
    store = open_layout(LayoutDirectory(root + "/layout"), create=True)
    settings = PushSettings(stage=root + "/stage", fork=True, processes=True, pack_jobs=4)
    result = execute_push(plan_push(store, packages, settings=settings), store, settings=settings)
    assert [str(o.error) for o in result.failed] == []
    assert len(list(store.tags())) == 6


{operation}()
print("done")
"""


@pytest.mark.parametrize("operation", ["install", "push"])
@pytest.mark.parametrize("most", [1, 2, 3, 5, 8, 14])
def test_with_as_many_threads_and_processes_as_the_system_allows(operation, most):
    with tempfile.TemporaryDirectory() as root:  # pytest keeps its directories to their owner
        os.chown(root, USER, USER)
        program = PROGRAM.format(user=USER, operation=operation)
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
        argv = [sys.executable, "-c", program, root, str(most)]
        done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=120)
    assert done.stdout == "done\n", done.stderr[-2000:]
