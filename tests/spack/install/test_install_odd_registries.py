# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Every kind of registry of ``tests/faults/modes.py``, and real installs: both installers, and `spack oci install`.

Nothing is built from source: where Spack turns to that, the test's recipes fail, and by then the user has read why.
`make test-all` prints what is shown, with the other sub-commands.
"""

import copy
import re

import pytest
from faults import walks
from faults.modes import MODES
from faults.worlds import NAME, World
from support.registries.fault_registry import fault_registry
from support.spacks.stack_checks import check_stack

pytestmark = pytest.mark.one_spack

PACKAGES = ("oci-app", "oci-codegen")
INSTALLED = ("oci-app", "oci-middle", "oci-leaf", "oci-codegen")
TITLES = {"old": "spack install (classic)", "new": "spack install (new)", "oci": "spack oci install"}
#: some of each installer in each run
QUICK = {("null-tags", "old"), ("private", "new"), ("storage-403", "oci")}


@pytest.fixture(scope="module")
def pushed(built, our_python, tmp_path_factory):
    """What the registry holds."""
    spack = built.sibling(tmp_path_factory.mktemp("pusher") / "spack", python=our_python)
    with fault_registry() as registry:
        spack.mirrors(cache=f"oci+http://{registry.host}/{NAME}")
        spack.run("oci", "push", "--update-index", "cache", *PACKAGES)
        return copy.deepcopy(registry.repositories[NAME])


@pytest.fixture(autouse=True)
def forked(monkeypatch):
    """How a process starts makes no difference here, and there are hundreds."""
    monkeypatch.delenv("SPACK_OCI_COLD_SPACK", raising=False)


def _cases():
    for mode in MODES:
        for how in TITLES:
            quick = (mode.name, how) in QUICK
            yield pytest.param(mode, how, marks=[] if quick else pytest.mark.slow, id=f"{mode.name}-{how}")


@pytest.mark.parametrize("mode, how", list(_cases()))
def test_an_install_from_a_registry_that_is_not_like_others(mode, how, pushed, destination, built, record_property):
    spack = destination(installer=None if how == "oci" else how)
    with fault_registry() as registry:
        registry.repositories[NAME] = copy.deepcopy(pushed)
        # as a user who has no patience sets it
        spack.write_config("oci", {"registries": {registry.host: {"max_retry_after": 0.5, "patience": 20}}})
        spack.mirrors(cache=f"oci+http://{registry.host}/{NAME}")
        mode.begin(World(spack.home, built.tree, None, registry))
        words = ["oci", "install"] if how == "oci" else ["install", "--no-check-signature"]
        done = spack.run(*words, *PACKAGES, env={"OCITEST_NO_BUILD": "1"}, check=False, timeout=300)
        asked = registry.requests()
    said = done.stdout + done.stderr
    record_property("odd registry", (mode.who, TITLES[how], _shown(done)))
    assert "/spack_oci/" not in said, said
    assert len(asked) <= 40, asked
    assert (done.returncode != 0) == ("install" in mode.fails), said
    if done.returncode == 0:
        check_stack(spack, INSTALLED, foreign=[built.tree])
    else:
        assert not _ours(spack), said
        assert registry.host in said.partition("NO_BUILD")[0], said
    left = set(walks.prefixes_on_disk(spack.tree)) - _ours(spack)
    # the new installer of 1.1 leaves the metadata of a build that has failed
    assert not [f for prefix in left for f in prefix.rglob("*") if f.is_file() and ".spack" not in f.parts], said


def _ours(spack):
    """Prefixes that are registered, less the external one."""
    return {prefix for prefix in walks.installed(spack.tree).values() if spack.tree in prefix.parents}


def _shown(done):
    """``ok``, or the first line of what a user sees of it."""
    if done.returncode == 0:
        return "ok"
    lines = [line for line in done.stderr.splitlines() if "Warning: " in line or "Error: " in line] or ["?"]
    return re.sub(r"127\.0\.0\.1:\d{3,}", "HOST", re.sub(r"sha256:[0-9a-f]{64}", "sha256:...", lines[0].strip()))
