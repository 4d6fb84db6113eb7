# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack oci install` beside other installers: it holds no lock while it waits for another one.

Spack's installers keep a read lock on everything that they have installed while they wait for the next package. Whoever
waits for one of those with a lock on that next package in his hands would wait for ever, and so would they.
"""

import pytest

#: another process is in the middle of an install: it reads one package, and asks for the other when ours waits
SCRIPT = """
import multiprocessing, sys
import spack.store, spack.util.lock
from spack_oci.spack.bulk import locks as prefix_locks
from spack_oci.spack.commands import install, install_plan

planned = install_plan.plan(install_plan.concretized_roots(["oci-middle"]))
assert [s.name for s in planned.missing] == ["oci-leaf", "oci-middle"]
first, second = planned.missing if sys.argv[1] == "first" else planned.missing[::-1]
context = multiprocessing.get_context("fork")
has_one, ours_waits = context.Event(), context.Event()

def installer():
    locks = spack.store.STORE.prefix_locker
    one, other = locks.lock(first), locks.lock(second)
    one.acquire_read()
    has_one.set()
    if not ours_waits.wait(60):
        sys.exit(3)
    try:
        other.acquire_write(20)
    except spack.util.lock.LockTimeoutError:
        sys.exit(4)
    other.release_write()
    one.release_read()

process = context.Process(target=installer)
process.start()
assert has_one.wait(60)
waits = []

class Time:
    @staticmethod
    def sleep(seconds):
        waits.append(seconds)
        ours_waits.set()
        process.join()

prefix_locks.time = Time
with install._locked(planned) as locked:
    print("waits", len(waits), "exit", process.exitcode, "locked", *[s.name for s in locked.missing])
"""


@pytest.mark.parametrize("theirs", ["first", "last"])
def test_nothing_is_held_while_waiting(theirs, destination):
    spack = destination()
    file = spack.home / "locks.py"
    file.write_text(SCRIPT)
    out = spack.run("python", file, theirs, timeout=100).stdout
    assert out.split("\n")[0] == "waits 1 exit 0 locked oci-leaf oci-middle"


@pytest.mark.one_spack
def test_what_others_have_installed_meanwhile_is_left_out(destination, new_cache, source):
    """The plan was made before the locks were there."""
    cache = new_cache("layout")
    pusher = source()
    pusher.use(cache)
    pusher.run("oci", "push", "--without-build-dependencies", "--update-index", "cache", "oci-middle")
    spack = destination()
    spack.use(cache)
    file = spack.home / "late.py"
    file.write_text(
        "import subprocess, sys\n"
        "from spack_oci.spack.commands import install, install_plan\n"
        "planned = install_plan.plan(install_plan.concretized_roots(['oci-middle']))\n"
        "subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)\n"
        "with install._locked(planned) as locked:\n"
        "    print([s.name for s in locked.missing], [s.name for s in locked.installed])\n"
    )
    out = spack.run("python", file, *spack.argv("oci", "install", "oci-leaf")).stdout
    assert out.splitlines()[-1] == "['oci-middle'] ['oci-leaf']"


FREE = """
import multiprocessing
import spack.cmd, spack.store
from spack_oci.spack.bulk import locks

specs = spack.cmd.parse_specs(["oci-files"], concretize=True)[0]
specs = [specs, specs["oci-leaf"]]
context = multiprocessing.get_context("fork")
is_locked, is_over = context.Event(), context.Event()

def other():
    with spack.store.STORE.prefix_locker.write_lock(specs[1]):
        is_locked.set()
        is_over.wait(60)

process = context.Process(target=other)
process.start()
assert is_locked.wait(60)
print([spec.name for spec in specs if spec.dag_hash() in locks.lock_free(specs)])
is_over.set()
process.join()
print(len(locks.lock_free(specs)))
"""


@pytest.mark.one_spack
def test_what_another_process_is_installing_is_not_waited_for_in_bulk(destination):
    assert destination().script(FREE).splitlines()[-2:] == ["['oci-files']", "2"]
