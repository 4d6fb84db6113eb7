# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack install` takes from OCI mirrors in bulk what it can, and nothing that it leaves tells of it.

With 1.1.0 these are tests of the classic installer, with develop of the new one: each is the default there.
"""

import fcntl
import json
import os
import pty
import re
import select
import shutil
import signal
import struct
import termios
import time
from pathlib import Path
from xml.etree import ElementTree

import pytest
from support.network.holding_proxy import holding_proxy
from support.spacks.caches import http_cache
from support.spacks.installed_trees import records_of, tree_of
from support.spacks.stack_checks import check_stack, prefixes_of

NO_BULK = {"install": {"bulk": False}}


@pytest.fixture(scope="module")
def caches(built, our_python, new_cache, tmp_path_factory):
    """All of the stack; all but oci-middle, which others depend on; and oci-files damaged."""
    spack = built.sibling(tmp_path_factory.mktemp("pusher"), python=our_python)
    made = {name: new_cache("layout") for name in ("whole", "gap", "damaged")}
    spack.use(made["whole"])
    spack.run("oci", "push", "--update-index", "cache", "oci-stack")
    spack.use(made["gap"])
    names = ("oci-leaf@2.0", "oci-app", "oci-files", "oci-codegen")
    spack.run("oci", "push", "--update-index", "--only", "package", "cache", *names)
    shutil.copytree(directory_of(made["whole"]), directory_of(made["damaged"]), dirs_exist_ok=True)
    damage(made["damaged"], "oci-files")
    return made


def directory_of(cache):
    return Path(cache.url[len("oci+file://") :])


def damage(cache, name):
    """The layer of a package is cut off."""
    (tag,) = [tag for tag in cache.tags() if tag.startswith(name)]
    algorithm, _, digest = json.loads(cache.raw_manifest(tag))["layers"][-1]["digest"].partition(":")
    blob = directory_of(cache) / "blobs" / algorithm / digest
    blob.chmod(0o644)
    blob.write_bytes(blob.read_bytes()[:-100])


@pytest.fixture
def consumer(destination, caches):
    """``consumer("whole")``: with an install tree of its own and one of the caches."""

    def make(cache, name="destination", **section):
        spack = destination(name=name)
        spack.use(caches[cache])
        spack.write_config("oci", section)
        return spack

    return make


def in_bulk(done):
    """Names of what went in bulk, by the debug output."""
    found = re.search(r"In bulk: (.*)", done.stdout + done.stderr)
    return {word.partition("@")[0] for word in found.group(1).split()} if found else set()


def install(spack, *words, **kwargs):
    return spack.run("-d", "install", "--no-check-signature", "--reuse", *words, **kwargs)


def left_by(spack):
    """What an install has left: prefixes, records, module files."""
    trees = {name: tree_of(prefix) for name, prefix in prefixes_of(spack).items() if spack.tree in prefix.parents}
    modules = sorted(str(path.relative_to(spack.home)) for path in (spack.home / "modules").rglob("*"))
    return trees, records_of(spack.tree), modules


def without_paths(found, spack):
    """As text, so that installs into two trees can be compared but for the paths in the files."""
    trees, records, modules = found
    names = {name: {path: entry[:3] for path, entry in tree.items()} for name, tree in trees.items()}
    return json.loads(json.dumps([names, records, modules]).replace(str(spack.home), "HOME"))


def test_what_is_not_in_the_cache_is_built_and_its_dependents_come_after_it(consumer):
    """Also the modules are those of an install without bulk, of externals too."""
    found = []
    for name, section in (("bulk", {}), ("plain", NO_BULK)):
        spack = consumer("gap", name, **section)
        roots = {"tcl": str(spack.home / "modules")}
        spack.write_config("modules", {"default": {"enable": ["tcl"], "roots": roots}})
        done = install(spack, "oci-app", "oci-files")
        went = in_bulk(done)
        expected = {"oci-leaf", "oci-files"} | ({"oci-codegen"} if spack.version < (1, 2) else set())
        assert went == (expected if name == "bulk" else set()), done.stdout + done.stderr
        check_stack(spack, ["oci-leaf", "oci-middle", "oci-app", "oci-files"])
        found.append(without_paths(left_by(spack), spack))
    assert found[0] == found[1]
    is_classic = spack.version < (1, 2)  # the new installer runs no hooks for externals
    assert any("oci-external" in path for path in found[0][2]) == is_classic


def test_a_package_that_fails_is_left_to_the_installer(consumer):
    """Which says why, and builds it; what depends on it comes after that."""
    spack = consumer("damaged")
    done = install(spack, "oci-stack")
    assert {"oci-leaf", "oci-files", "oci-stack"} <= in_bulk(done)
    said = " ".join((done.stdout + done.stderr).split())
    assert said.count("oci-files@1.0/") and "cannot be had from the mirror cache" in said, said
    check_stack(spack)
    assert set(spack.run("find", "-x", "--format", "{name}").stdout.split()) == {"oci-stack"}


def test_a_root_that_fails_leaves_its_dependencies_as_dependencies(consumer):
    """With the marks, the records and the exit code of an install without bulk."""
    found = []
    for name, section in (("bulk", {}), ("plain", NO_BULK)):
        spack = consumer("damaged", name, **section)
        done = install(spack, "--cache-only", "oci-files", "oci-app", check=False, env={"OCITEST_NO_BUILD": "1"})
        assert ("oci-leaf" in in_bulk(done)) == (name == "bulk")
        names = set(spack.installed()) - {"oci-external"}
        assert names == {"oci-leaf", "oci-middle", "oci-app"}
        explicit = spack.run("find", "-x", "--format", "{name}").stdout.split()
        found.append((done.returncode, explicit, without_paths(left_by(spack), spack)))
    assert found[0] == found[1] and found[0][0] == 1 and found[0][1] == ["oci-app"]


def test_two_installs_at_once_install_each_package_once(consumer, caches):
    spack = consumer("whole")
    other = spack.sibling(spack.home.parent / "other")
    other.use(caches["whole"])
    arguments = ("install", *spack.cache_only, "oci-stack")
    with spack.popen(*arguments) as one, other.popen(*arguments) as two:
        said = [process.communicate(timeout=100) for process in (one, two)]
    assert (one.returncode, two.returncode) == (0, 0), said
    check_stack(spack)


@pytest.mark.slow
def test_beside_vanilla_spack_and_killed_nothing_is_lost(consumer, built, source, destination, new_cache):
    """Ours is killed when it has begun, vanilla Spack installs the same meanwhile, and ours finishes."""
    cache = new_cache("tls")
    pusher = source(ours=False)
    pusher.use(cache)
    pusher.run("buildcache", "push", "--unsigned", "--update-index", "cache", "oci-stack")
    ours = destination()
    vanilla = destination(ours=False, tree=ours.tree)
    for spack in (ours, vanilla):
        spack.use(cache)
        spack.run("buildcache", "list", "--allarch")
    words = ("install", *ours.cache_only, "oci-stack")
    with ours.popen(*words) as killed, vanilla.popen(*words) as other:
        until = time.monotonic() + 60
        while not list(ours.tree.glob("*/*oci-*")) and time.monotonic() < until and killed.poll() is None:
            time.sleep(0.01)
        os.killpg(killed.pid, signal.SIGKILL)
        out, err = other.communicate(timeout=100)
        killed.communicate()
    assert other.returncode == 0, out + err
    ours.run(*words)
    check_stack(ours, foreign=[built.tree])
    assert set(ours.run("find", "-x", "--format", "{name}").stdout.split()) == {"oci-stack"}


def test_the_table_of_the_new_installer_is_drawn_and_reads_keys(consumer, source, http_registry, destination):
    """While a download waits for the registry."""
    if consumer("whole", "version").version < (1, 2):
        pytest.skip("the new installer of Spack 1.1 reads its keys in another way")
    with holding_proxy(http_registry.host) as proxy:
        cache = http_cache(proxy.host, "bulk/table")
        pusher = source()
        pusher.use(cache)
        pusher.run("oci", "push", "--update-index", "cache", "oci-files")
        spack = destination()
        spack.use(cache)
        spack.run("buildcache", "list", "--allarch")  # the index is here from now on
        proxy.hold(r"GET .*/blobs/")
        pid, terminal = pty.fork()
        if pid == 0:
            fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 150, 0, 0))
            arguments = spack.argv("install", *spack.cache_only, "oci-files")
            os.execve(arguments[0], arguments, {**spack.env(), "TERM": "xterm", "OCITEST_NO_BUILD": "1"})
        seen = read_until(terminal, "fetching from build cache")
        assert proxy.reached.wait(60)
        os.write(terminal, b"/files")
        seen += read_until(terminal, "filter> files")
        proxy.pass_everything()
        seen += read_until(terminal, None)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, seen
    assert "Progress: 0/" in seen and re.search(r"\[\+\].*oci-leaf@2.0", seen), seen
    check_stack(spack, ["oci-leaf", "oci-files"])


def read_until(terminal, text):
    """What is on it, without colours, until ``text`` is; None: until all have closed it."""
    seen, end = "", time.monotonic() + 100
    while time.monotonic() < end and (text is None or text not in seen):
        if select.select([terminal], [], [], 1)[0]:
            try:
                data = os.read(terminal, 4096)
            except OSError:  # EIO: closed
                data = b""
            if not data:
                assert text is None, seen
                return seen
            seen += re.sub(r"\x1b\[[0-9;]*m", "", data.decode(errors="replace"))
    assert text is None or text in seen, seen
    return seen


CHOICES = """
import json, sys
import spack.cmd, spack.spec, spack.store
from spack_oci.spack.bulk import classic, new, run

try:
    from spack.installer_dispatch import create_installer as make
except ImportError:
    from spack.installer import PackageInstaller as make

specs = spack.cmd.parse_specs(["oci-stack"], concretize=True)
found = {}

def went(job, display):
    choice = run.choose(job.wanted, job.needs)
    chosen.extend(spec.name for spec in choice.specs.values())
    return run.Done()

classic.install_in_bulk = new.install_in_bulk = went
for name, options in json.loads(sys.argv[1]).items():
    chosen = []
    installer = make([spec.package for spec in specs], **options)
    if hasattr(installer, "build_requests"):
        installer._init_queue()
    else:
        with new.shortened_graph(installer):
            pass
    found[name] = sorted(chosen)
print(json.dumps(found))
"""

ALL = ["oci-app", "oci-files", "oci-leaf", "oci-middle", "oci-script", "oci-stack"]
DEPENDENCIES = [name for name in ALL if name != "oci-stack"]
COMMON = {
    "--overwrite": ({"overwrite": ["x"]}, []),
    "--fake": ({"fake": True}, []),
    "--keep-stage": ({"keep_stage": True}, []),
    "--keep-prefix": ({"keep_prefix": True}, []),
    "--until": ({"stop_at": "install"}, []),
    "--stop-before": ({"stop_before": "install"}, []),
    "--test all": ({"tests": True}, []),
    "--only dependencies": ({"install_package": False}, DEPENDENCIES),
}
#: the options that Spack 1.1 has for the policy, and those of later releases
POLICIES = {
    (1, 1): {
        "--cache-only": ({"package_cache_only": True, "dependencies_cache_only": True}, ALL),
        "--no-cache": ({"package_use_cache": False, "dependencies_use_cache": False}, []),
        "--use-buildcache package:never,dependencies:only": (
            {"package_use_cache": False, "dependencies_cache_only": True},
            DEPENDENCIES,
        ),
    },
    (1, 2): {
        "--cache-only": ({"root_policy": "cache_only", "dependencies_policy": "cache_only"}, ALL),
        "--no-cache": ({"root_policy": "source_only", "dependencies_policy": "source_only"}, []),
        "--use-buildcache package:never,dependencies:only": (
            {"root_policy": "source_only", "dependencies_policy": "cache_only"},
            DEPENDENCIES,
        ),
        "reports": ({"create_reports": True}, []),
    },
}


def test_options_and_policies_decide_what_goes_in_bulk(consumer):
    """Asked of Spack's installer itself, which does nothing here."""
    spack = consumer("whole")
    cases = {**COMMON, **POLICIES[(1, 1) if spack.version < (1, 2) else (1, 2)]}
    file = spack.home / "choices.py"
    file.write_text(CHOICES)
    options = json.dumps({name: options for name, (options, _) in cases.items()})
    found = json.loads(spack.run("python", file, options).stdout.splitlines()[-1])
    build = {"oci-codegen"}
    assert {name: [n for n in names if n not in build] for name, names in found.items()} == {
        name: names for name, (_, names) in cases.items()
    }


def test_reports_say_the_same_of_what_was_installed_in_bulk(consumer):
    """With the logs of the builds."""
    found = []
    for name, section in (("bulk", {}), ("plain", NO_BULK)):
        spack = consumer("whole", name, **section)
        file = spack.home / "report.xml"
        done = install(spack, "--log-format", "junit", "--log-file", str(file), "oci-app")
        assert bool(in_bulk(done)) == (name == "bulk" and spack.version < (1, 2))
        text = re.sub(r"\[\d{4}-[\d:.-]+\]", "[TIME]", file.read_text()).replace(str(spack.home), "HOME")
        cases = ElementTree.fromstring(text).iter("testcase")
        found.append({case.get("classname"): [(part.tag, part.attrib, part.text) for part in case] for case in cases})
    assert found[0] == found[1] and {"oci-app", "oci-leaf", "oci-middle"} <= found[0].keys()


@pytest.mark.one_spack
def test_garbage_is_collected_less_often_where_an_oci_mirror_is_configured(consumer):
    spack = consumer("whole")
    file = spack.home / "command.py"
    file.write_text(
        "import contextlib, gc, spack.cmd.install\n"
        "with contextlib.suppress(AttributeError):\n"
        "    spack.cmd.install.install(None, None)\n"
        "print(gc.get_threshold()[0])\n"
    )
    with_one = int(spack.run("python", file).stdout)
    spack.write_config("mirrors", {})
    assert with_one > int(spack.run("python", file).stdout)


@pytest.mark.one_spack
def test_an_environment_without_an_index_is_installed_in_bulk(consumer):
    """As in a fresh container: what is concrete already asks for no index, and packages are found by their tags."""
    spack = consumer("whole")
    directory = spack.home / "env"
    view = spack.home / "view"
    spack.run("env", "create", "--with-view", str(view), "-d", directory)
    spack.run("-e", directory, "add", "oci-app", "oci-leaf")
    spack.run("-e", directory, "concretize", "--reuse")
    spack.run("oci", "clean", "--all", check=False)
    spack.run("clean", "--misc-cache")
    done = spack.run(
        "-d", "-e", directory, "install", "--no-check-signature", "--only-concrete", env={"OCITEST_NO_BUILD": "1"}
    )
    assert {"oci-app", "oci-leaf", "oci-middle"} <= in_bulk(done), done.stderr
    assert (view / "bin" / "hello").exists()
    assert set(spack.run("find", "-x", "--format", "{name}").stdout.split()) == {"oci-app", "oci-leaf"}
