# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""A few of the faults of ``tests/faults`` with real Spacks: both installers and `spack oci install`."""

import errno
import os

import pytest
from faults.machine import WRITES, compile_shim
from support.spacks.stack_checks import check_stack

pytestmark = pytest.mark.one_spack

FAULTS = {
    "full": {"calls": "open,write,truncate,name,mkdir", "errno": errno.ENOSPC, "skip": 60},
    "quota": {"calls": "write", "errno": errno.EDQUOT, "skip": 5},
    "read-only": {"calls": WRITES, "errno": errno.EROFS, "skip": 80},
}


@pytest.fixture(scope="module")
def shim(tmp_path_factory):
    found = compile_shim(tmp_path_factory.mktemp("shim"))
    if found is None:
        pytest.skip("needs gcc, and Linux")
    return found


def _cases():
    for fault in FAULTS:
        for how in ("new", "old", "oci"):
            quick = (fault, how) == ("full", "new")
            yield pytest.param(how, fault, marks=[] if quick else pytest.mark.slow, id=f"{fault}-{how}")


@pytest.mark.parametrize("how, fault", list(_cases()))
def test_a_disk_that_fails_below_the_tree(how, fault, shim, source, destination, new_cache, built):
    """It fails by name, registers nothing that is not whole, builds nothing, and the next install finishes."""
    pusher, cache = source(), new_cache("layout")
    pusher.use(cache)
    pusher.run("oci", "push", "--update-index", "cache", "oci-app")
    spack = destination(installer=None if how == "oci" else how)
    spack.use(cache)
    words = ["oci", "install", "oci-app"] if how == "oci" else ["install", *spack.cache_only, "oci-app"]
    settings = {f"FAULTS_{name.upper()}": str(value) for name, value in FAULTS[fault].items()}
    env = {"LD_PRELOAD": str(shim), "FAULTS_PATH": str(spack.tree), "OCITEST_NO_BUILD": "1", **settings}
    done = spack.run(*words, env=env, check=False)
    said = done.stdout + done.stderr
    assert done.returncode != 0, said
    assert os.strerror(FAULTS[fault]["errno"]) in said, said
    # Spack's new installer shows the traceback of what fails in it
    assert how == "new" or "/spack_oci/" not in said, said
    spack.install_from_cache("oci-app")
    check_stack(spack, ("oci-app", "oci-middle", "oci-leaf"), foreign=[built.tree])
