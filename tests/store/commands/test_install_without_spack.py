# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack-oci install`, `run`, `activate`, `list`, `uninstall`, `gc`, as a user sees them."""

import contextlib
import gzip
import io
import json
import os
import shlex
import shutil
import stat
import subprocess
import tarfile
from pathlib import Path

import pytest
from spack_oci.content import BytesSource, read_blob
from spack_oci.descriptor import OCI_MANIFEST, Descriptor, sha256_digest
from spack_oci.errors import NotFound
from spack_oci.image.contents import LOCK_FILE
from spack_oci.layout import open_layout
from spack_oci.reference import LayoutDirectory
from spack_oci.relocate.aliases import ALIAS_DIRECTORY, remove_aliases
from spack_oci.store.database import Database

LONGER = "longer-" * 16


def prefix(store, name):
    (found,) = [p for p in store.glob("*/*") if p.name.startswith(f"{name}-1") or p.name.startswith(f"{name}-2")]
    return found


def hello(client, store):
    return client.run("run", "--store", store, "oci-app", "--", "hello").stdout


@pytest.mark.parametrize("word", ["s", LONGER], ids=["shorter", "longer"])
def test_a_package_runs_from_another_tree_with_all_that_it_needs(client, cache, built, tmp_path, word):
    store = tmp_path / word / "sw"
    client.run("install", cache, "oci-stack", "--store", store)
    out = hello(client, store)
    assert f"middle: {store}" in out and f"leaf: {store}" in out and "greeting: hello from leaf 2.0" in out
    said = client.run("run", "--store", store, "--", "greet-long").stdout
    assert f"says: from {store}" in said
    for path in store.rglob("*"):
        if path.is_file() and not path.is_symlink() and ".spack" not in path.parts:
            assert os.fsencode(built) not in path.read_bytes(), path


def test_only_what_was_asked_for_is_explicit_and_only_what_is_run_is_there(client, cache, store):
    client.run("install", cache, "oci-stack", "--store", store)
    explicit = {p["name"]: p["explicit"] for p in client.packages("--store", store)}
    assert explicit == {
        **{"oci-stack": True, "oci-app": False, "oci-files": False, "oci-leaf": False},
        **{"oci-middle": False, "oci-script": False},
    }
    client.run("install", cache, "oci-app", "--store", store)
    assert {p["name"] for p in client.packages("--store", store) if p["explicit"]} == {"oci-stack", "oci-app"}


def test_a_second_install_has_nothing_to_do(client, cache, store):
    client.run("install", cache, "oci-app", "--store", store)
    again = client.json("install", cache, "oci-app", "--store", store)
    assert again["packages"] == [] and {p["name"] for p in again["installed_before"]} == {
        "oci-app",
        "oci-middle",
        "oci-leaf",
    }


def test_a_dry_run_says_what_would_be_done_and_does_nothing(client, cache, store):
    plan = client.json("install", cache, "oci-app", "--store", store, "-n")
    assert [p["name"] for p in plan["install"]] == ["oci-leaf", "oci-middle", "oci-app"]
    assert all(p["size"] > 0 and p["prefix"].startswith(str(store)) for p in plan["install"])
    assert not store.exists()


def test_the_newest_version_is_installed_and_an_older_one_on_demand(client, cache, store):
    client.run("install", cache, "oci-leaf", "--store", store)
    assert client.names(store) == {"oci-leaf@2.0"}
    client.run("install", cache, "oci-leaf@:1", "--store", store)
    assert client.names(store) == {"oci-leaf@1.0", "oci-leaf@2.0"}


def test_a_lock_file_names_the_roots(client, cache, store, tmp_path):
    nodes = {n["name"]: n for n in Database(str(_root_of(cache, client, tmp_path))).read().nodes.values()}
    lock = tmp_path / "spack.lock"
    root = nodes["oci-app"]
    lock.write_text(json.dumps({"roots": [{"hash": root["hash"], "spec": "oci-app"}], "concrete_specs": {}}))
    client.run("install", cache, lock, "--store", store)
    assert client.names(store) == {"oci-app@1.0", "oci-middle@1.0", "oci-leaf@2.0"}


def test_the_image_of_an_environment_names_the_roots(client, cache, store, tmp_path):
    """Its lock file is in one of its layers, as `spack -e ENVIRONMENT oci push --tag` makes it."""
    own = shutil.copytree(cache, tmp_path / "own")
    app = next(p for p in client.packages("--allarch", own) if p["name"] == "oci-app")
    lock = json.dumps({"roots": [{"hash": app["hash"], "spec": "oci-app"}], "concrete_specs": {}}).encode()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        member = tarfile.TarInfo(LOCK_FILE.lstrip("/"))
        member.size = len(lock)
        tar.addfile(member, io.BytesIO(lock))
    push_image(open_layout(LayoutDirectory(str(own))), "tools", buffer.getvalue())
    client.run("install", own, "--image", "tools", "--store", store)
    assert client.names(store) == {"oci-app@1.0", "oci-middle@1.0", "oci-leaf@2.0"}
    push_image(open_layout(LayoutDirectory(str(own))), "bare", gzip.compress(b"\0" * 10240))
    done = client.run("install", own, "--image", "bare", "--store", store, check=False)
    assert done.returncode == 1 and "only images of environments have one" in done.stderr


def push_image(repository, tag, data):
    """An image with one layer."""
    layer = Descriptor("application/vnd.oci.image.layer.v1.tar+gzip", sha256_digest(data), len(data))
    config = Descriptor("application/vnd.oci.image.config.v1+json", sha256_digest(b"{}"), 2)
    repository.put_blob(layer, BytesSource(data))
    repository.put_blob(config, BytesSource(b"{}"))
    manifest = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config.to_dict(), "layers": [layer.to_dict()]}
    repository.put_manifest(json.dumps(manifest).encode(), OCI_MANIFEST, tag)


def _root_of(cache, client, tmp_path):
    store = tmp_path / "other"
    client.run("install", cache, "oci-app", "--store", store)
    return store


def test_metadata_is_complete_as_spack_writes_it(client, cache, store):
    client.run("install", cache, "oci-leaf", "--store", store)
    there = prefix(store, "oci-leaf") / ".spack"
    assert {"spec.json", "binary_distribution", "install_manifest.json", "install_times.json", "repos"} <= {
        p.name for p in there.iterdir()
    }
    manifest = json.loads((there / "install_manifest.json").read_text())
    library = prefix(store, "oci-leaf") / "lib" / "libleaf.so.1"
    assert manifest[str(library)]["size"] == library.stat().st_size
    assert json.loads((there / "spec.json").read_text())["spec"]["nodes"][0]["name"] == "oci-leaf"


# -- activation ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["sw", "my  'sw' $x"])
@pytest.mark.parametrize("shell", ["bash -eu", "dash -eu", "zsh -eu", "fish", "tcsh -f"])
def test_activate_and_deactivate_in_every_shell(client, cache, tmp_path, shell, place):
    """``-eu``: as scripts are written that stop at each mistake (conda/conda #3200, #8186)."""
    shell, *options = shell.split()
    if shutil.which(shell) is None:
        pytest.skip(f"needs {shell}")
    store = tmp_path / place
    client.run("install", cache, "oci-app", "--store", store)
    ending = {"fish": ".fish", "tcsh": ".csh"}.get(shell, "")
    word = "." if shell not in ("fish", "tcsh") else "source"
    lines = [f'{word} "$STORE/activate{ending}"', "hello", "deactivate", "env"]
    env = {"PATH": os.environ["PATH"], "HOME": str(client.home), "MARK": "x", "STORE": str(store)}
    script = client.home / "script"
    script.write_text("\n".join(lines) + "\n")
    argv = [shell, *options, str(script)]
    done = subprocess.run(argv, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"app: {store}" in done.stdout
    after = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    assert after["PATH"] == env["PATH"] and "CMAKE_PREFIX_PATH" not in after


def test_activating_twice_and_changing_the_path_meanwhile_loses_nothing(client, cache, store):
    client.run("install", cache, "oci-app", "--store", store)
    text = f'. {store}/activate; PATH="/later:$PATH"; . {store}/activate; deactivate; echo "$PATH"'
    done = subprocess.run(["sh", "-c", text], env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True)
    assert done.stdout == "/later:/usr/bin:/bin\n", done.stderr


def test_the_environment_of_named_packages_alone_is_printed_for_a_shell(client, cache, store):
    client.run("install", cache, "oci-stack", "oci-leaf@1.0", "--store", store)
    leaf = client.run("activate", "--store", store, "--shell", "bash", "oci-leaf@1.0").stdout
    assert "oci-leaf-1.0" in leaf and "oci-app" not in leaf
    fish = client.run("activate", "--store", store, env={"SHELL": "/usr/bin/fish"}).stdout
    assert "set -gx --path PATH" in fish


def test_run_gives_the_arguments_and_the_exit_code_of_the_program(client, cache, store):
    client.run("install", cache, "oci-app", "--store", store)
    done = client.run(
        "run", "--store", store, "oci-app", "--", "sh", "-c", "echo $1-$2; exit 7", "x", "a", "-b", check=False
    )
    assert (done.returncode, done.stdout) == (7, "a--b\n")
    assert client.run("run", "--store", store, "--", "no-such-program", check=False).returncode == 2


# -- removing --------------------------------------------------------------------------------------------------------


def test_what_others_need_is_not_removed_unless_they_go_too(client, cache, store):
    client.run("install", cache, "oci-stack", "--store", store)
    refused = client.run("uninstall", "oci-leaf", "--store", store, check=False)
    assert refused.returncode == 4 and "is needed by" in refused.stderr
    gone = client.json("uninstall", "oci-app", "--dependents", "--store", store)
    assert [p["name"] for p in gone["removed"]] == ["oci-stack", "oci-script", "oci-app"]
    assert client.names(store) == {"oci-middle@1.0", "oci-leaf@2.0", "oci-files@1.0"}


def test_gc_removes_what_nothing_needs_that_was_asked_for(client, cache, store):
    client.run("install", cache, "oci-stack", "oci-leaf@1.0", "--store", store)
    client.run("uninstall", "oci-stack", "--store", store)
    would = client.json("gc", "--store", store, "-n")
    assert len(would["remove"]) == 5 and len(client.names(store)) == 6
    client.run("gc", "--store", store)
    assert client.names(store) == {"oci-leaf@1.0"}
    assert [p.name.rsplit("-", 1)[0] for p in store.glob("linux-*/*")] == ["oci-leaf-1.0"]


def test_a_removal_that_was_killed_is_finished_by_the_next_run(client, cache, store):
    client.run("install", cache, "oci-leaf@1.0", "oci-leaf@2.0", "--store", store)
    database = Database(str(store))
    (old,) = [h for h, n in database.read().nodes.items() if n["version"] == "1.0"]
    (store / ".spack-oci" / "removing").mkdir(parents=True)
    (store / ".spack-oci" / "removing" / old).write_text(str(prefix_of(database, old)))
    where = prefix_of(database, old)
    with database.transaction() as records:
        records.remove(old)
    assert where.exists()
    client.run("gc", "--store", store)
    assert not where.exists() and not list((store / ".spack-oci" / "removing").iterdir())


def prefix_of(database, dag_hash):
    return Path(database.read().by_hash[dag_hash]["path"])


# -- faults and places -----------------------------------------------------------------------------------------------


def test_every_failure_is_one_line_with_its_exit_code(client, cache, store, tmp_path):
    client.run("install", cache, "oci-leaf", "--store", store)
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").touch()
    (tmp_path / "newer" / ".spack-db").mkdir(parents=True)
    (tmp_path / "newer" / ".spack-db" / "index.json").write_text('{"database": {"version": "9", "installs": {}}}')
    cases = [
        (2, "cannot read the spec", ["install", cache, "oci-leaf@"]),
        (2, "no store is named", ["install", cache, "oci-leaf", "--no-store"]),
        (2, "is no cache", ["install", "nowhere", "oci-leaf"]),
        (2, "nothing to install", ["install", cache]),
        (2, f"first: `spack-oci install oci+file://{cache} oci-leaf`", ["install", "oci-leaf", f"oci+file://{cache}"]),
        (3, "oci-lead is not in", ["install", cache, "oci-lead"]),
        (3, "one is not @7", ["install", cache, "oci-app@7"]),
        (2, "did you mean `oci://ghcr.io/a/b`?", ["install", "ghcr.io/a/b", "oci-leaf"]),
        (2, "did you mean `oci://ghcr.io/a`?", ["list", "OCI+HTTPS://me:secret@ghcr.io/a"]),
        (2, "'nowhere' is no cache, and no store is named", ["list", "nowhere"]),
        (1, "gone does not exist", ["list", tmp_path / "gone"]),
        (1, "does not exist", ["install", tmp_path / "gone", "oci-leaf"]),
        (4, "is no store, and not empty", ["install", cache, "oci-leaf", "--store", tmp_path / "full"]),
        (4, "is no store", ["list", "--store", tmp_path / "empty"]),
        (4, "version 9", ["install", cache, "oci-leaf", "--store", tmp_path / "newer"]),
        (3, "matches 2 packages", ["show", cache, "oci-leaf"]),
        (3, "did you mean oci-leaf", ["show", cache, "oci-leef"]),
        (3, f"`spack-oci list --allarch oci+file://{cache}`", ["show", cache, "zzz"]),
        (3, f"`spack-oci list --store {store}`", ["uninstall", "zzz", "--store", store]),
    ]
    for code, text, words in cases:
        if "--no-store" in words:
            words.remove("--no-store")
        elif "--store" not in words and words[0] == "install":
            words += ["--store", store]
        done = client.run(*words, check=False)
        assert (done.returncode, text in done.stderr) == (code, True), (words, done)
        assert done.stderr.count("\n") == 1 and "Traceback" not in done.stderr and "secret" not in done.stderr
    assert (tmp_path / "newer" / ".spack-db" / "index.json").read_text().count("9") == 1
    assert client.names(store) == {"oci-leaf@2.0"}


def test_a_cache_without_an_index_is_named_with_what_to_do(client, built, store, tmp_path):
    client.run("push", built, tmp_path / "bare", "oci-leaf@2.0")
    done = client.run("install", tmp_path / "bare", "oci-leaf", "--store", store, check=False)
    assert done.returncode == 1 and "has no index" in done.stderr and "update-index" in done.stderr
    client.run("update-index", tmp_path / "bare")
    client.run("install", tmp_path / "bare", "oci-leaf", "--store", store)


def test_a_cache_that_lacks_a_dependency_is_named_before_anything_is_done(client, built, store, tmp_path):
    client.run("push", "--only", "package", "--update-index", built, tmp_path / "part", "oci-app")
    done = client.run("install", tmp_path / "part", "oci-app", "--store", store, check=False)
    assert done.returncode == 1 and "lacks" in done.stderr and "oci-middle@1.0" in done.stderr
    assert not (store / ".spack-db" / "index.json").exists()


def test_packages_that_cannot_be_had_do_not_stop_others_but_their_dependents(client, cache, store, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(cache, broken)
    (entry,) = [r for r in client.packages("--allarch", broken) if r["name"] == "oci-files"]
    blob = broken / "blobs" / "sha256" / entry["layer"].partition(":")[2]
    blob.chmod(0o644)
    blob.write_bytes(blob.read_bytes()[:-1] + b"x")
    done = client.run("install", broken, "oci-stack", "--store", store, check=False)
    assert done.returncode == 1 and "oci-files@1.0" in done.stderr
    assert client.names(store) == {"oci-app@1.0", "oci-middle@1.0", "oci-leaf@2.0", "oci-script@1.0"}
    client.run("install", cache, "oci-stack", "--store", store)
    assert "oci-stack@1.0" in client.names(store)


def test_an_install_that_is_killed_is_finished_by_the_next(client, cache, store):
    for delay in (0.05, 0.3, 0.5, 0.6, 0.7, 0.9):
        process = client.popen("install", cache, "oci-stack", "--store", store)
        try:
            process.wait(delay)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
        process.communicate()
        if (store / ".spack-db" / "index.json").exists():
            records = Database(str(store)).read()
            for dag_hash in records.installed():
                assert os.path.isdir(records.by_hash[dag_hash]["path"])
    client.run("install", cache, "oci-stack", "--store", store)
    assert "greeting: hello" in hello(client, store)
    assert not list(store.glob("*/.*.oci-*"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may make a small file system")
def test_a_full_disk_is_named_and_leaves_what_was_there(client, cache, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=160k", "tmpfs", small], capture_output=True).returncode != 0:
        pytest.skip("may not mount")
    try:
        store = small / "sw"
        client.run("install", cache, "oci-leaf@1.0", "--store", store)
        done = client.run("install", cache, "oci-stack", "--store", store, check=False)
        assert done.returncode == 1 and "free some space" in done.stderr, done.stderr
        assert "Traceback" not in done.stderr
        assert "oci-leaf@1.0" in client.names(store) and "oci-stack@1.0" not in client.names(store)
        assert not list(store.glob("*/.*.oci-*"))
    finally:
        subprocess.run(["umount", small], check=True)


def test_two_installs_at_once_lose_nothing(client, cache, store):
    both = [client.popen("install", cache, name, "--store", store) for name in ("oci-stack", "oci-private", "oci-app")]
    assert [(p.communicate(timeout=120), p.returncode)[1] for p in both] == [0, 0, 0]
    found = {p["name"]: p["explicit"] for p in client.packages("--store", store)}
    assert {n for n, explicit in found.items() if explicit} == {"oci-stack", "oci-private", "oci-app"}
    assert len(found) == 7


def test_a_missing_external_is_named_and_not_invented(client, cache, store, tmp_path):
    # the index of a cache whose packages were built with an external that this machine does not have
    moved = tmp_path / "moved"
    shutil.copytree(cache, moved)
    repository = open_layout(LayoutDirectory(str(moved)))
    for tag in ("index.spack", "index.spack-oci"):
        with contextlib.suppress(NotFound):
            repository.delete_manifest(tag)
    _push_index_with_external(repository, client, cache, "/opt/not-here")
    done = client.run("install", moved, "oci-middle", "--store", store)
    assert "oci-external@1.0 is expected in /opt/not-here, which is not there" in done.stderr


def _push_index_with_external(repository, client, cache, path):
    """What Spack writes as ``index.spack``, with another path of the external package."""
    database = read_database(open_layout(LayoutDirectory(str(cache))))
    for install in database["database"]["installs"].values():
        if install["spec"].get("external"):
            install["spec"]["external"]["path"] = path
    push_image(repository, "index.spack", json.dumps(database).encode())


def read_database(repository):
    _, data = repository.get_manifest("index.spack")
    layer = Descriptor.from_dict(json.loads(data)["layers"][0])
    return json.loads(read_blob(repository, layer))


def test_a_store_that_may_only_be_read_still_runs_what_is_in_it(client, cache, store):
    client.run("install", cache, "oci-app", "--store", store)
    before = {p: p.stat().st_mtime_ns for p in store.rglob("*") if not p.is_symlink()}
    for path in [store, *store.rglob("*")]:
        if path.is_dir() and not path.is_symlink():
            path.chmod(path.stat().st_mode & ~0o222)
    try:
        assert "greeting: hello" in hello(client, store)
        assert client.run("activate", "--store", store, "--shell", "sh").stdout
        assert client.names(store)
        if os.geteuid() != 0:
            done = client.run("install", cache, "oci-private", "--store", store, check=False)
            assert done.returncode in (1, 4) and "may not write" in done.stderr
    finally:
        for path in [store, *store.rglob("*")]:
            if path.is_dir() and not path.is_symlink():
                path.chmod(path.stat().st_mode | 0o200)
    assert {p: p.stat().st_mtime_ns for p in store.rglob("*") if not p.is_symlink()} == before


def test_everybody_can_use_what_somebody_installed_with_a_private_umask(client, cache, store):
    store.mkdir(mode=0o755)
    client.run("install", cache, "oci-app", "--store", store, preexec_fn=lambda: os.umask(0o077))
    for path in [*store.rglob("*")]:
        mode = stat.S_IMODE(path.lstat().st_mode)
        if path.is_symlink() or "dir-0700" in path.parts or path.name in ("prefix_lock", "lock"):
            continue
        if ".spack-oci" not in path.parts:
            assert mode & 0o044 == 0o044, (oct(mode), path)


def test_a_store_of_a_group_stays_one(client, cache, store):
    store.mkdir()
    store.chmod(0o2775)
    client.run("install", cache, "oci-app", "--store", store, preexec_fn=lambda: os.umask(0o022))
    for path in (store / ".spack-db", *store.glob("linux-*")):
        assert stat.S_IMODE(path.stat().st_mode) & 0o2070 == 0o2070, path
    for name in ("index.json", "index_verifier", "lock", "prefix_lock"):
        assert stat.S_IMODE((store / ".spack-db" / name).stat().st_mode) & 0o060 == 0o060, name
    for path in store.rglob("**/"):  # what is made in a package, by it or by hand, is the group's too
        assert path.stat().st_mode & stat.S_ISGID, path


def test_programs_run_from_a_store_with_blanks_and_quotes_in_its_path(client, cache, tmp_path):
    """prefix-dev/pixi #1990, pypa/pipx #1198."""
    store = tmp_path / "my  'sw' $x"
    said = client.run("install", cache, "oci-stack", "--store", store).stderr
    assert f"`. {shlex.quote(f'{store}/activate')}` puts them on your PATH" in said, said
    assert "greeting: hello" in hello(client, store)
    for program in ("greet", "greet-long"):
        assert f"from {store}" in client.run("run", "--store", store, "oci-script", "--", program).stdout


def test_a_container_without_a_home_is_enough(client, cache, store, tmp_path):
    env = {"HOME": "/", "TMPDIR": str(tmp_path)}
    client.run("install", cache, "oci-app", "--store", store, env=env)
    assert "greeting" in client.run("run", "--store", store, "--", "hello", env=env).stdout


def test_a_forgotten_separator_and_a_missing_program_are_told_apart(client, cache, store):
    client.run("install", cache, "oci-app", "--store", store)
    done = client.run("run", "--store", store, "oci-app", "hello", check=False)
    assert done.returncode == 2 and f"`spack-oci run --store {store} oci-app -- hello`" in done.stderr
    done = client.run("run", "--store", store, "oci-app", "--", "helo", check=False)
    assert done.returncode == 2 and f"`spack-oci list --store {store}`" in done.stderr


# -- prefixes that are longer than those of the build ------------------------------------------------------------------


def test_a_prefix_that_no_short_name_fits_is_refused_before_the_download(client, cache, tmp_path):
    store = tmp_path / ("longer-" * 33) / "sw"
    done = client.run("install", cache, "oci-leaf@2.0", "--store", store, check=False)
    assert done.returncode == 1 and "cannot be relocated" in done.stderr, done.stderr
    assert not list(client.home.glob(".cache/spack-oci/blobs/blobs/sha256/*"))


def test_a_package_that_comes_back_has_the_short_name_again_that_others_know(client, cache, tmp_path):
    """Spack can uninstall what others need (`--force`), and its short name goes with it."""
    store = tmp_path / LONGER / "sw"
    client.run("install", cache, "oci-app", "--store", store)
    leaf = prefix(store, "oci-leaf")
    names = remove_aliases(str(store / ALIAS_DIRECTORY), str(leaf))
    assert names
    with Database(str(store)).transaction() as records:
        records.remove(leaf.name.rpartition("-")[2])
    shutil.rmtree(leaf)
    client.run("install", cache, "oci-leaf@2.0", "--store", store)
    assert all(os.path.isdir(name) for name in names)
    assert "greeting: hello" in hello(client, store)


# -- large files that hold nothing -------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [64 << 20, pytest.param(8 << 30, marks=pytest.mark.slow)], ids=["64-MiB", "8-GiB"])
def test_a_file_of_zeros_is_pushed_and_installed_and_takes_no_room(client, built, tmp_path, size):
    """A pre-sized database, say. Its layer is thousands of times smaller, and that is no bomb: the push has said it."""
    source = shutil.copytree(built, tmp_path / "source", symlinks=True)
    database = source / ".spack-db" / "index.json"
    database.write_text(database.read_text().replace(str(built), str(source)))
    large = prefix(source, "oci-codegen") / "share" / "empty.db"
    large.parent.mkdir()
    with open(large, "wb") as file:
        file.write(b"header")
        file.truncate(size)
    cache, store = tmp_path / "cache", tmp_path / "sw"
    client.run("push", "--update-index", source, cache, "oci-codegen", timeout=600)
    client.run("install", cache, "oci-codegen", "--store", store, timeout=600)
    status = (prefix(store, "oci-codegen") / "share" / "empty.db").stat()
    assert (status.st_size, status.st_blocks * 512 < 1 << 20) == (size, True)
