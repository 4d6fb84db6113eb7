# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What can go wrong in the middle of an install from a cache: the line, the disk, the blob cache.

Afterwards no half prefix is there or registered, and the next run completes.
"""

import os
import re
import shlex
import shutil
import subprocess

import pytest
from support.caches import http_cache
from support.relay import relay
from support.stack_checks import check_app

pytestmark = pytest.mark.one_spack

#: incompressible bytes in the layer that is cut: so many that it comes in many pieces
LARGE = 6 << 20
NAMES = ("oci-app", "oci-middle", "oci-leaf")


@pytest.fixture(params=["oci install", "old", "new"])
def how(request):
    """The command, or the installer of Spack's own one."""
    return request.param


@pytest.fixture(scope="module")
def large(built, our_python, http_registry, tmp_path_factory):
    """(cache, name): in a registry, oci-app and what it needs; oci-leaf is large."""
    name = "spack/faults"
    cache = http_cache(http_registry.host, name)
    home = tmp_path_factory.mktemp("large")
    first = built.sibling(home / "source", python=our_python)
    first.use(http_cache(http_registry.host, "spack/faults-first"))
    first.run("oci", "push", "--update-index", "cache", "oci-app")
    spack = built.sibling(home / "spack", python=our_python, tree=home / "opt", padded_length=0)
    spack.use(http_cache(http_registry.host, "spack/faults-first"))
    spack.run("install", "--cache-only", "--no-check-signature", "--include-build-deps", "oci-app")
    (spack.prefix("oci-leaf") / "share" / "large").parent.mkdir(exist_ok=True)
    (spack.prefix("oci-leaf") / "share" / "large").write_bytes(os.urandom(LARGE))
    spack.use(cache)
    spack.run("oci", "push", "--update-index", "cache", "oci-app")
    return cache, name


def consumer(how, destination, cache):
    spack = destination(installer=None if how == "oci install" else how)
    spack.use(cache)
    return spack


def command(how, spack):
    return ["oci", "install", "oci-app"] if how == "oci install" else ["install", *spack.cache_only, "oci-app"]


def install(how, spack, **kwargs):
    return spack.run(*command(how, spack), env={"OCITEST_NO_BUILD": "1"}, **kwargs)


def nothing_is_half_there(spack):
    """Every prefix is registered or gone, what is registered is complete, and no temporary directory is left."""
    registered = {node["name"] for node in spack.installed().values()}
    there = {p.parent.name.split("-1.0-")[0].split("-2.0-")[0] for p in spack.tree.glob("*/oci-*/.spack")}
    if spack.installer == "new" and spack.version == (1, 1):
        there &= set(NAMES) - {"oci-leaf"}  # its source build, which the test stops, leaves a prefix
    assert there <= registered, "a prefix that is not registered"
    for name in registered & set(NAMES):
        prefix = spack.prefix(name)
        assert (prefix / ".spack" / "spec.json").is_file()
        if name == "oci-leaf":
            assert (prefix / "share" / "large").stat().st_size == LARGE
    assert not [n for _, directories, _ in os.walk(spack.tree) for n in directories if ".oci-" in n]


def complete(spack):
    prefixes = {name: spack.prefix(name) for name in NAMES}
    check_app(prefixes)
    assert (prefixes["oci-leaf"] / "share" / "large").stat().st_size == LARGE


# -- the line --------------------------------------------------------------------------------------------------------


def test_a_download_that_is_cut_goes_on_where_it_was(how, large, destination, http_registry):
    before = len(http_registry.requests())
    with relay(http_registry.host, cuts=[LARGE // 3, LARGE // 3], answers=True) as host:
        spack = consumer(how, destination, http_cache(host, large[1]))
        install(how, spack)
    complete(spack)
    answers = [line.rsplit(" ", 1)[1] for line in http_registry.requests()[before:] if line.startswith("GET")]
    assert "206" in answers, "the rest was asked for, not the whole"


@pytest.mark.slow
def test_a_line_that_is_cut_all_the_time_is_named(how, large, destination, http_registry):
    """No source build takes its place silently; over a better line, the next run completes."""
    cuts = []
    with relay(http_registry.host, cuts=cuts, answers=True) as host:
        spack = consumer(how, destination, http_cache(host, large[1]))
        spack.run("buildcache", "list", "--allarch")
        cuts += [100] * 10000  # in the middle of the headers
        done = install(how, spack, check=False)
        said = " ".join((done.stdout + done.stderr).split())
    assert done.returncode != 0
    assert "oci-leaf@" in said and host in said and "connection" in said, said
    nothing_is_half_there(spack)
    spack.use(large[0])
    install(how, spack)
    complete(spack)


# -- the blob cache --------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["changed", "cut short", "empty"])
def test_a_damaged_entry_is_fetched_again(how, damage, large, destination):
    spack = consumer(how, destination, large[0])
    spack.run("oci", "fetch", "oci-app")
    blobs = list((spack.user_cache / "oci" / "blobs" / "blobs" / "sha256").iterdir())
    assert len(blobs) == len(NAMES)
    for blob in blobs:
        data = blob.read_bytes()
        middle = len(data) // 2
        change = {"changed": data[:middle] + b"!!!!" + data[middle + 4 :], "cut short": data[:middle], "empty": b""}
        blob.write_bytes(change[damage])
    install(how, spack)
    complete(spack)


# -- the disk --------------------------------------------------------------------------------------------------------

#: the command runs on a small file system, which then grows, and runs again; numbers tell what happened
SCRIPT = """
mount -t tmpfs -o size={size}k tmpfs {mount} || exit 99
({setup}) >/dev/null 2>&1
{command}; echo "first: $?"
echo "half: $(find {tree} -name '*.oci-*' | wc -l)"
echo "registered: $({find})"
echo "prefixes: $(cd {tree} && echo */oci-*/.spack/spec.json)"
mount -o remount,size=100m {mount} || exit 99
{command} 2>&1; echo "second: $?"
{hello} && test $(stat -c %s {tree}/*/oci-leaf-*/share/large) = {large} && echo complete
"""


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("unshare"), reason="unshare is not installed")
@pytest.mark.parametrize("full", ["tree", "cache"])
def test_a_full_disk(how, full, large, destination):
    """The disk of the install tree, or that of the blob cache."""
    spack = consumer(how, destination, large[0])
    spack.tree.mkdir()
    mount = spack.tree
    if full == "cache":
        mount = spack.home / "small"
        mount.mkdir()
        spack.run("config", "add", f"oci:cache:root:{mount}")
    spack.run("buildcache", "list", "--allarch")  # the index is there

    def shell(*arguments):
        return shlex.join(spack.argv(*arguments))

    script = SCRIPT.format(
        size=LARGE // 2 >> 10,
        mount=mount,
        tree=spack.tree,
        setup=shell("buildcache", "list", "--allarch"),
        command=shell(*command(how, spack)),
        find=shell("find", "--format", "{name}") + " | tr '\\n' ' '",
        hello=f"{spack.tree}/*/oci-app-*/bin/hello",
        large=LARGE,
    )
    argv = ["unshare", "--map-root-user", "--mount", "sh", "-c", script]
    env = {**spack.env(), "OCITEST_NO_BUILD": "1"}
    done = subprocess.run(argv, env=env, input="", capture_output=True, text=True, timeout=300)
    if done.returncode == 99 or "unshare:" in done.stderr:
        pytest.skip(f"no tmpfs in a user namespace here: {done.stderr.strip()}")
    said = " ".join((done.stdout + done.stderr).split())
    facts = dict(line.split(": ", 1) for line in done.stdout.splitlines() if line.count(": ") == 1)
    assert facts["first"] != "0", said
    # the tree's is known before the download
    assert re.search(r"No space left on device|needs [\d.]+ MB; [\d.]+ .?B are free in ", said), said
    assert re.search(r"[\d.]+ .?B (are )?free", said) and "free some space" in said and str(mount) in said, said
    assert facts["half"] == "0"
    assert "oci-leaf" not in facts["registered"].split(), "too large for this disk"
    if not (spack.installer == "new" and spack.version == (1, 1)):  # leaves what its source build made
        assert "oci-leaf" not in facts["prefixes"]
    assert facts["second"] == "0" and "complete" in done.stdout.splitlines(), said
