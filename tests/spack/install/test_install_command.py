# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack oci install` and `spack install` through the hooks leave what vanilla Spack leaves."""

import json
import os
import shutil
import signal
import time

import pytest
from support.spacks import spack_instance
from support.spacks.installed_trees import VERIFY, findings, records_of, tree_of
from support.spacks.obtain import obtain
from support.spacks.spack_instance import SpackFailed, SpackInstance
from support.spacks.stack_checks import STACK, check_stack, prefixes_of


@pytest.fixture(scope="module")
def cache(built, new_cache, tmp_path_factory):
    """A cache that vanilla Spack has filled."""
    cache = new_cache("tls")
    spack = built.sibling(tmp_path_factory.mktemp("pusher"))
    spack.use(cache)
    spack.run("buildcache", "push", "--unsigned", "--update-index", "cache", "oci-stack")
    return cache


def true_by_us_alone(name):
    """Static archives: Spack leaves old paths in them. The install manifest: Spack leaves that of the builder."""
    return name.endswith(".a") or name == "install_manifest.json"


def snapshot(spack):
    trees = {name: tree_of(prefix, true_by_us_alone) for name, prefix in prefixes_of(spack).items()}
    return trees, records_of(spack.tree)


def verified(spack):
    """What Spack's own checks say."""
    done = [spack.run(*arguments, check=False) for arguments in VERIFY]
    return [(d.returncode, findings(d.stdout + d.stderr)) for d in done]


def faults_of_manifests(check):
    """Path -> what is wrong with it; an external package has no manifest."""
    reports = [json.loads(line) for line in check[1] if line.startswith("{")]
    faults = {path: found for report in reports for path, found in report.items()}
    return {path: found for path, found in faults.items() if found != ["manifest missing"]}


@pytest.fixture(params=["oci install", "classic", "new"])
def how(request):
    return request.param


@pytest.fixture
def vanilla(how, destination, cache):
    """What vanilla Spack installs, and the place where it was."""
    spack = destination(ours=False, installer="new" if how == "new" else "old")
    spack.use(cache)
    spack.install_from_cache("oci-stack")
    found = snapshot(spack), verified(spack)
    shutil.rmtree(spack.tree)
    return spack, found


def test_trees_modes_and_records_are_those_of_vanilla_spack(how, vanilla, destination, cache, built):
    there, ((trees, database), checks) = vanilla
    spack = destination(tree=there.tree, installer=there.installer)
    spack.use(cache)
    if how == "oci install":
        spack.run("oci", "install", "oci-stack", env={"OCITEST_NO_BUILD": "1"})
    else:
        spack.install_from_cache("oci-stack")
    check_stack(spack, foreign=[built.tree])
    our_trees, our_database = snapshot(spack)
    assert set(our_trees) == set(trees)
    for name in trees:
        different = {p: (trees[name].get(p), our_trees[name].get(p)) for p in {*trees[name], *our_trees[name]}}
        assert not {p: pair for p, pair in different.items() if pair[0] != pair[1]}, name
    assert our_database == database
    manifest, libraries = verified(spack)
    assert not faults_of_manifests(manifest) and faults_of_manifests(checks[0]), "the manifest says what is there"
    assert libraries == checks[1]
    assert not [n for _, directories, _ in os.walk(spack.tree) for n in directories if ".oci-" in n]


@pytest.mark.parametrize("command", [["install", "--dry-run"], ["fetch"]])
def test_fresh_and_reuse_are_taken_as_by_spack_install(command, destination, cache, built):
    spack = destination()
    spack.use(cache)
    there = built.installed()["oci-leaf"]["version"]
    other = {"1.0": "2.0", "2.0": "1.0"}[there]
    preferring = ("-c", f"packages:oci-leaf:version:['{other}']", "oci", *command, "--json")
    for option, expected in (("--reuse", there), ("--fresh", other)):
        done = spack.run(*preferring, option, "oci-leaf", check=expected == there)
        document = json.loads(done.stdout)
        found = {p["name"]: p["version"] for p in document.get("install") or document["packages"]}
        assert found["oci-leaf"] == expected, option


@pytest.mark.one_spack
def test_nothing_is_done_twice(destination, cache):
    spack = destination()
    spack.use(cache)
    planned = json.loads(spack.run("oci", "install", "--dry-run", "--json", "oci-stack").stdout)
    assert {p["name"] for p in planned["install"]} >= set(STACK) and not planned["installed"]
    assert not (spack.tree / ".spack-db" / "index.json").exists() or not spack.installed()
    first = json.loads(spack.run("oci", "install", "--json", "oci-middle").stdout)
    assert {p["status"] for p in first["packages"]} == {"installed"}
    second = json.loads(spack.run("oci", "install", "--json", "oci-stack").stdout)
    names = {p["name"] for p in first["packages"]}
    assert not names & {p["name"] for p in second["packages"]}
    assert names == {p["name"] for p in second["installed_before"]}
    assert json.loads(spack.run("oci", "install", "--json", "oci-stack").stdout)["packages"] == []
    check_stack(spack)


def test_an_environment_with_a_view(destination, cache):
    spack = destination()
    spack.use(cache)
    directory = spack.home / "env"
    spack.run("env", "create", "--with-view", str(spack.home / "view"), "-d", directory)
    spack.run("-e", directory, "add", "oci-app")
    spack.run("-e", directory, "oci", "install")
    assert (spack.home / "view" / "bin" / "hello").exists()
    assert spack.installed()["oci-app"]


@pytest.mark.one_spack
def test_a_lock_file_of_another_spack_is_installed(destination, cache, our_python, built, tmp_path):
    for version in ("1.0.2", "develop"):
        checkout = obtain(spack_instance.checkout, version)
        other = SpackInstance(checkout, our_python, tmp_path / version, external=built.external)
        other.use(cache)
        directory = tmp_path / version / "env"
        other.run("env", "create", "--without-view", "-d", directory)
        other.run("-e", directory, "add", "oci-app")
        other.run("-e", directory, "concretize", "--reuse")
        spack = destination(name=f"after-{version}")
        spack.use(cache)
        spack.run("-e", directory, "oci", "install")
        check_stack(spack, ["oci-leaf", "oci-middle", "oci-app"])


@pytest.mark.one_spack
def test_module_files_are_those_of_spack_install(destination, cache):
    """Also those of externals, which the others load; and they name a view, where that is wanted."""
    found = []
    for name, command in (("ours", ["oci", "install"]), ("spack", ["install", "--cache-only"])):
        spack = destination(name=name, installer="old")
        spack.use(cache)
        modules = {"enable": ["tcl"], "roots": {"tcl": str(spack.home / "modules")}, "use_view": True}
        spack.run("env", "create", "--with-view", str(spack.home / "view"), "-d", spack.home / "env")
        (spack.scope / "modules.yaml").write_text(json.dumps({"modules": {"default": modules}}))
        spack.run("-e", spack.home / "env", "add", "oci-app")
        spack.run("-e", spack.home / "env", *command, env={"OCITEST_NO_BUILD": "1"})
        files = [path for path in (spack.home / "modules").rglob("*") if path.is_file()]
        texts = {path.relative_to(spack.home / "modules"): path.read_text().split("\n", 4)[4] for path in files}
        assert any(f"{spack.home}/view/bin" in text for text in texts.values())
        found.append({path: text.replace(str(spack.home), "HOME") for path, text in texts.items()})
    assert any("oci-external" in str(path) for path in found[1]) and found[0] == found[1]


@pytest.mark.one_spack
def test_layers_that_were_fetched_before_are_not_downloaded_again(destination, cache, tls_registry):
    """What vanilla Spack has pushed has its layers named in configs alone: those are asked for each time."""
    spack = destination()
    spack.use(cache)
    manifests = [json.loads(cache.raw_manifest(tag)) for tag in cache.tags() if tag != "index.spack"]
    layers = {manifest["layers"][-1]["digest"] for manifest in manifests if manifest["layers"]}

    def downloaded():
        read = [line.split()[1].rpartition("/")[2] for line in tls_registry.requests() if line.startswith("GET")]
        return [digest for digest in read if digest in layers]

    before = len(downloaded())
    spack.run("oci", "fetch", "oci-stack")
    fetched = downloaded()[before:]
    assert len(fetched) >= 6 and len(set(fetched)) == len(fetched)
    spack.run("oci", "install", "oci-stack")
    spack.run("oci", "fetch", "oci-stack")
    assert downloaded()[before:] == fetched
    check_stack(spack)


@pytest.mark.one_spack
def test_what_no_mirror_has_fails_with_its_dependents_only(destination, new_cache, built, tmp_path_factory):
    partial = new_cache("tls")
    pusher = built.sibling(tmp_path_factory.mktemp("pusher"))
    pusher.use(partial)
    pusher.run("buildcache", "push", "--unsigned", "--only", "package", "cache", "oci-leaf@2.0", "oci-app")
    spack = destination()
    spack.use(partial)
    done = spack.run("oci", "install", "--json", "oci-app", check=False)
    status = {p["name"]: p["status"] for p in json.loads(done.stdout)["packages"]}
    assert done.returncode == 1 and status["oci-leaf"] == "installed" and status["oci-app"] == "skipped"
    assert status["oci-middle"] == "failed" and "is not in cache" in done.stderr
    assert "oci-leaf" in spack.installed() and "oci-app" not in spack.installed()


@pytest.mark.one_spack
@pytest.mark.parametrize("command", [("oci", "install"), ("install", "--cache-only")])
@pytest.mark.parametrize("prefixes", [1, 3, *(pytest.param(n, marks=pytest.mark.slow) for n in (2, 4, 5, 6, 7))])
def test_killed_at_any_moment_the_next_run_completes(command, prefixes, destination, cache):
    """As soon as so many prefixes are there or being made."""
    spack = destination(installer="old")
    spack.use(cache)
    process = spack.popen(*command, "oci-stack")
    while process.poll() is None and len([p for p in spack.tree.glob("*/*") if "oci-" in p.name]) < prefixes:
        time.sleep(0.005)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    installed = json.loads(spack.run("find", "--json").stdout or "[]")
    for node in (n for n in installed if "external" not in n):
        assert (spack.prefix("/" + node["hash"]) / ".spack" / "spec.json").exists(), "no half prefix is registered"
    spack.run(*command, "oci-stack")
    check_stack(spack)
    assert not [n for _, directories, _ in os.walk(spack.tree) for n in directories if ".oci-" in n]


@pytest.mark.one_spack
def test_two_installs_of_the_same_at_once(destination, cache):
    spack = destination(installer="old")
    spack.use(cache)
    running = [spack.popen("oci", "install", "oci-stack") for _ in range(2)]
    running.append(spack.popen("install", "--cache-only", "oci-stack"))
    for process in running:
        out, err = process.communicate("", timeout=120)
        assert process.returncode == 0, out + err
    check_stack(spack)


@pytest.mark.one_spack
def test_a_damaged_entry_of_the_blob_cache_is_fetched_again(destination, cache):
    spack = destination(installer="old")
    spack.use(cache)
    spack.run("oci", "fetch", "oci-stack")
    blobs = list((spack.user_cache / "oci" / "blobs" / "blobs" / "sha256").iterdir())
    assert blobs
    for blob in blobs:
        blob.write_bytes(b"!" + blob.read_bytes()[1:])
    spack.install_from_cache("oci-middle")
    spack.run("oci", "install", "oci-stack")
    check_stack(spack)


@pytest.mark.one_spack
def test_a_cache_that_keeps_nothing_is_enough(destination, cache):
    spack = destination(installer="old")
    spack.use(cache)
    spack.run("config", "add", "oci:cache:max_size:'0'")
    spack.install_from_cache("oci-middle")
    spack.run("oci", "install", "oci-stack")
    check_stack(spack)


@pytest.mark.one_spack
@pytest.mark.parametrize("longer", [25, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 10))])
def test_longer_trees_than_the_one_of_the_build(longer, built, new_cache, destination, source, tmp_path):
    """From a short, unpadded tree into longer ones; programs find their own data."""
    cache = new_cache("layout")
    short = destination(name="s")
    first = new_cache("layout")
    pusher = source()
    pusher.use(first)
    pusher.run("oci", "push", "--without-build-dependencies", "--update-index", "cache", "oci-stack")
    short.use(first)
    short.run("oci", "install", "oci-stack")
    short.use(cache)
    short.run("oci", "push", "--without-build-dependencies", "--update-index", "cache", "oci-stack")
    home = tmp_path / "l"
    length = len(str(short.tree)) + longer
    tree = home / ("t" * (length - len(str(home)) - 1))
    assert len(str(tree)) == length
    spack = short.sibling(home, tree=tree)
    spack.use(cache)
    spack.run("oci", "install", "oci-stack")
    check_stack(spack, foreign=[short.tree])
    assert os.listdir(tree / ".a")
    spack.run("reindex")
    check_stack(spack)
    aliases = {os.readlink(tree / ".a" / name): name for name in os.listdir(tree / ".a")}
    leaf = next(target for target in aliases if "oci-leaf" in target)
    spack.run("uninstall", "-y", "--force", "oci-leaf")
    assert not os.path.lexists(tree / ".a" / aliases[leaf]) and len(os.listdir(tree / ".a")) == len(aliases) - 1
    spack.run("oci", "install", "oci-stack")
    check_stack(spack)


@pytest.mark.one_spack
def test_a_padded_tree_is_shown_as_by_spack_install(destination, cache):
    spack = destination(padded_length=128)
    spack.use(cache)
    said = spack.run("oci", "install", "oci-leaf@2.0").stdout
    assert "[padded-to-128-chars]" in said and "placeholder" not in said


@pytest.mark.one_spack
def test_on_error_decides_between_source_and_an_error(destination, cache):
    spack = destination(installer="old")
    spack.use(cache)
    spack.environment["OCITEST_SECRET"] = "wrong"
    env = {"OCITEST_NO_BUILD": "1"}
    done = spack.run("install", "oci-leaf", check=False, env=env)
    assert "cannot be had from the mirror cache: reading oci://" in done.stderr and "credentials" in done.stderr
    spack.run("config", "add", "oci:install:on_error:fail")
    with pytest.raises(SpackFailed, match="401|nauthorized|credentials"):
        spack.run("install", "oci-leaf", env=env)
