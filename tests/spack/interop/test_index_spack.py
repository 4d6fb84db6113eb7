# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The index and real Spack: what vanilla code makes of ours, what an install asks for, and a registry that is down."""

import json
import os

import pytest
from support.registries.docker_registry import docker_registry, free_port
from support.spacks.caches import http_cache

#: runs in vanilla Spack: the index as Spack's own code writes it, and ours as Spack's own code reads it
COMPARE = """
import json, os, pathlib, sys, tempfile
import spack.binary_distribution, spack.spec

def database(read=None):
    db = spack.binary_distribution.BuildCacheDatabase(tempfile.mkdtemp())
    if read and hasattr(db, "_read_from_stream"):
        with open(read) as f:
            db._read_from_stream(f)
    elif read:
        db._read_from_file(pathlib.Path(read))
    return db

documents, ours = sys.argv[1:]
db = database()
for name in sorted(os.listdir(documents)):
    with open(os.path.join(documents, name)) as f:
        spec = spack.spec.Spec.from_dict(json.load(f))
    db.add(spec)
    db.mark(spec, "in_buildcache", True)
with open(ours + ".spack", "w") as f:
    db._write_to_file(f)
again = database(ours)
assert all(record.spec.dag_hash() == dag_hash for dag_hash, record in again._data.items())
print(sum(record.in_buildcache for record in again._data.values()))
"""


def test_same_records_as_spacks_own_code(new_cache, source, built, tmp_path):
    """Every record equals, member for member, the one that Spack's own update-index writes for these packages."""
    cache = new_cache("layout")
    pusher = source()
    pusher.use(cache)
    pusher.run("oci", "push", "--update-index", "cache", "oci-stack", "oci-private")
    layout = cache.url[len("oci+file://") :]
    tags = [tag for tag in cache.tags() if tag.endswith(".spack") and tag != "index.spack"]
    documents = tmp_path / "documents"
    documents.mkdir()
    for tag in tags:
        (documents / tag).write_text(json.dumps({"spec": cache.config(tag)["spec"]}))
    layer = json.loads(cache.raw_manifest("index.spack"))["layers"][0]["digest"]
    ours = tmp_path / "ours.json"
    with open(os.path.join(layout, "blobs", *layer.split(":")), "rb") as f:
        ours.write_bytes(f.read())
    script = tmp_path / "compare.py"
    script.write_text(COMPARE)
    vanilla = source(ours=False, name="comparing")
    assert int(vanilla.run("python", script, documents, ours).stdout) == len(tags)
    assert json.loads(ours.read_text()) == json.loads((tmp_path / "ours.json.spack").read_text())


def blobs_and_manifests(registry, since):
    """What was asked of the registry, but for the index."""
    asked = [line.split()[:2] for line in registry.requests()[since:]]
    return [
        (method, path)
        for method, path in asked
        if ("/blobs/" in path or "/manifests/" in path) and not path.endswith(("/index.spack", "/spack-oci.index"))
    ]


def test_install_needs_one_request_a_package(http_registry, new_cache, source, destination):
    cache = new_cache("http")
    pusher = source()
    pusher.use(cache)
    pusher.run("oci", "push", "--update-index", "cache", "oci-stack")
    consumer = destination(installer="old")
    consumer.use(cache)
    consumer.run("spec", "oci-leaf")  # fetches the index
    before = len(http_registry.requests())
    consumer.install_from_cache("oci-stack")
    asked = blobs_and_manifests(http_registry, before)
    installed = [node for node in consumer.installed().values() if not node.get("external")]
    assert len(installed) > 5
    assert [(method, "/blobs/" in path) for method, path in asked] == [("GET", True)] * len(installed)


@pytest.fixture
def restartable(tmp_path):
    """``with registry(): ...`` on the same port with the same content, as often as it takes."""
    port, directory = free_port(), tmp_path / "registry"
    directory.mkdir()
    return lambda: docker_registry(port=port, directory=directory)


@pytest.mark.one_spack
def test_kept_index_serves_while_the_registry_is_down(restartable, source, destination):
    pusher, consumer = source(), destination()
    with restartable() as registry:
        cache = http_cache(registry.host, "spack/down")
        pusher.use(cache)
        consumer.use(cache)
        pusher.run("oci", "push", "--only", "package", "--update-index", "cache", "oci-leaf@1.0")
        assert "oci-leaf@1.0" in consumer.run("spec", "oci-leaf").stdout
    done = consumer.run("spec", "oci-leaf")
    assert "oci-leaf@1.0" in done.stdout
    assert "the copy of" in done.stderr and "seconds ago is used" in done.stderr


def test_mirror_that_is_down_is_named_and_the_others_are_used(new_cache, source, destination):
    cache = new_cache("http")
    pusher, consumer = source(), destination()
    pusher.use(cache)
    pusher.run("oci", "push", "--only", "package", "--update-index", "cache", "oci-leaf@1.0")
    consumer.mirrors(dead=f"oci+http://127.0.0.1:{free_port()}/nothing", cache=cache.mirror)
    done = consumer.run("spec", "oci-leaf")
    assert "oci-leaf@1.0" in done.stdout
    assert "nothing" in done.stderr and "cannot be had" in done.stderr


def test_mirrors_are_asked_at_once(destination):
    """Neither of two mirrors answers before the other one is asked as well."""
    consumer = destination()
    consumer.mirrors(one="oci+http://127.0.0.1:1/a", two="oci+http://127.0.0.1:1/b")
    script = """
import threading
import spack.binary_distribution as bd
from spack_oci.errors import Unreachable
from spack_oci.spack import index_reading

asked = threading.Barrier(2, timeout=100)

def fetch(url, store, known_digest, cache):
    asked.wait()
    raise Unreachable(f"{url} is down")

index_reading._fetch = fetch
try:
    bd.BINARY_INDEX.update()
except bd.FetchCacheError as e:
    print("/a is down" in str(e), "/b is down" in str(e))
"""
    assert consumer.script(script).split() == ["True", "True"]
