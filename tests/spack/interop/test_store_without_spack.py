# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""One install tree, used by Spack and by `spack-oci` (which has none)."""

import json
import shutil

import pytest
from support.spacks.client import Client


@pytest.fixture
def client(tmp_path):
    return Client(tmp_path / "home")


@pytest.fixture
def cache(source, tmp_path):
    """Pushed by `spack oci push`."""
    directory = tmp_path / "cache"
    source().run("oci", "push", "--update-index", directory, "oci-stack")
    return directory


def manifest_errors(spack):
    """What `spack verify` finds wrong; an external has no manifest."""
    out = spack.run("verify", "manifest", "-a", "-j", check=False).stdout
    return {path for path in json.loads(out or "{}") if path.startswith(str(spack.tree))}


def test_spack_sees_verifies_uses_and_removes_what_spack_oci_installed(client, cache, destination):
    spack = destination(ours=False)
    client.run("install", cache, "oci-script", "--store", spack.tree)
    found = {s["name"] for s in json.loads(spack.run("find", "--json").stdout)}
    assert {"oci-script", "oci-app", "oci-middle", "oci-leaf"} <= found
    assert spack.run("find", "-x", "--format", "{name}").stdout.split() == ["oci-script"]
    assert spack.run("find", "-X", "--format", "{name}").stdout.split().count("oci-app") == 1
    assert manifest_errors(spack) == set()

    # nothing is found on the disk that the database does not say already
    before = json.loads((spack.tree / ".spack-db" / "index.json").read_text())["database"]["installs"]
    spack.run("reindex")
    after = json.loads((spack.tree / ".spack-db" / "index.json").read_text())["database"]["installs"]
    assert before.keys() == after.keys()
    for dag_hash, record in before.items():
        for key in ("spec", "ref_count", "installed", "explicit"):
            assert record[key] == after[dag_hash][key], (record["spec"]["name"], key)

    # as a dependency of something that Spack installs: only the rest is built
    spack.run("install", "oci-stack")
    assert spack.run("find", "-x", "--format", "{name}").stdout.split() == ["oci-script", "oci-stack"]
    assert manifest_errors(spack) == set()
    spack.run("uninstall", "-y", "oci-stack")
    spack.run("uninstall", "-y", "oci-script")
    assert "oci-script@1.0" not in client.names(spack.tree)


def test_spack_oci_installs_into_and_removes_from_a_tree_that_spack_made(client, cache, destination):
    spack = destination(ours=False)
    spack.run("install", "oci-leaf")
    client.run("install", cache, "oci-app", "--store", spack.tree)
    explicit = {p["name"]: p["explicit"] for p in client.packages("--store", spack.tree)}
    assert explicit["oci-leaf"] and explicit["oci-app"] and not explicit["oci-middle"]
    assert (
        f"leaf: {spack.prefix('oci-leaf')}" in client.run("run", "--store", spack.tree, "oci-app", "--", "hello").stdout
    )
    client.run("uninstall", "oci-app", "--store", spack.tree)
    client.run("gc", "--store", spack.tree)
    assert set(spack.hashes()) - {"oci-external"} == {"oci-leaf"}
    assert manifest_errors(spack) == set()


@pytest.mark.one_spack
def test_a_store_of_spack_oci_is_an_upstream(client, cache, destination, tmp_path):
    store = tmp_path / "shared"
    client.run("install", cache, "oci-app", "--store", store)
    spack = destination(ours=False)
    spack.write_config("upstreams", {"shared": {"install_tree": str(store)}})
    spack.run("install", "oci-script")
    assert str(spack.prefix("oci-app")).startswith(str(store))
    assert str(spack.prefix("oci-script")).startswith(str(spack.tree))


@pytest.mark.one_spack
def test_one_beside_spack_install_loses_nothing(client, cache, destination):
    spack = destination(ours=False)
    spack.mirrors(cache=f"oci+file://{cache}")
    process = spack.popen("install", "oci-files", "oci-middle")
    client.run("install", cache, "oci-script", "--store", spack.tree)
    process.communicate(timeout=300)
    assert process.returncode == 0
    assert {"oci-files", "oci-middle", "oci-script", "oci-app", "oci-leaf"} <= set(spack.hashes())
    explicit = set(spack.run("find", "-x", "--format", "{name}").stdout.split())
    assert explicit == {"oci-files", "oci-middle", "oci-script"}


@pytest.mark.one_spack
def test_a_push_without_spack_is_the_same_byte_for_byte(client, built, source, tmp_path):
    ours, theirs = tmp_path / "without", tmp_path / "with"
    spack = source()
    names = ["oci-files", "oci-leaf@1.0"]  # no recipe among these that adds to a run environment
    spack.run("oci", "push", "--update-index", theirs, *names)
    root = built.script("import spack.store; print(spack.store.STORE.root)").strip()
    env = {"SPACK_ROOT": str(built.checkout)}
    client.run("push", "--update-index", root, ours, *names, env=env)
    digests = [{r["tag"]: r["digest"] for r in client.packages("--allarch", c)} for c in (ours, theirs)]
    assert digests[0] == digests[1] and len(digests[0]) == 3
    assert _blobs(ours) == _blobs(theirs)


@pytest.mark.one_spack
def test_the_manifest_says_where_a_recipe_adds_to_the_environment_what_is_not_known_here(
    client, built, source, tmp_path
):
    cache = tmp_path / "cache"
    root = built.script("import spack.store; print(spack.store.STORE.root)").strip()
    done = client.run("push", "--update-index", root, cache, "oci-app")
    assert "oci-app@1.0" in done.stderr and "only Spack can compute" in done.stderr
    told = {name: client.json("show", cache, name)["annotations"] for name in ("oci-app", "oci-middle")}
    assert told["oci-app"]["org.spack-oci.environment"] == "prefix inspections"
    assert "org.spack-oci.environment" not in told["oci-middle"]


@pytest.mark.one_spack
def test_what_was_pushed_without_spack_installs_with_vanilla_spack(client, built, destination, tmp_path):
    cache = tmp_path / "cache"
    root = built.script("import spack.store; print(spack.store.STORE.root)").strip()
    client.run("push", "--update-index", root, cache, "oci-stack")
    ours = destination()
    ours.mirrors(cache=f"oci+file://{cache}")
    ours.install_from_cache("oci-stack")
    assert shutil.which("sh") and ours.prefix("oci-stack").is_dir()


def _blobs(cache):
    """Digests of all that is not an index: layers, configs and manifests of packages."""
    index = json.loads((cache / "index.json").read_text())["manifests"]
    tags = {m["annotations"]["org.opencontainers.image.ref.name"]: m["digest"] for m in index if m.get("annotations")}
    return {tag: digest for tag, digest in tags.items() if tag.endswith(".spack") and tag != "index.spack"}
