# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack oci update-index`, and what an index with foreign content does to the commands that read it."""

import json

import pytest
from spack_oci.content import put_bytes
from spack_oci.descriptor import OCI_CONFIG, OCI_LAYER_GZIP, OCI_MANIFEST
from spack_oci.index.frames import compress, decompress
from spack_oci.index.publish import DOCUMENT_TYPE, document_manifest_bytes
from spack_oci.index.read import fetch_index
from spack_oci.reference import parse_url
from spack_oci.registry import open_repository
from support.packages.cache_builder import node, push_package, tag_of

pytestmark = pytest.mark.one_spack


def store_of(cache):
    return open_repository(parse_url(cache.url))


@pytest.fixture
def cache(new_cache, source):
    """A registry's repository with one package and an index."""
    made = new_cache("http")
    pusher = source(name="pusher")
    pusher.use(made)
    pusher.run("oci", "push", "--only", "package", "--update-index", "cache", "oci-leaf@1.0")
    return made


@pytest.fixture
def consumer(cache, destination):
    spack = destination()
    spack.use(cache)
    return spack


def test_mistyped_name_gets_no_index(cache, consumer):
    typo = cache.url + "e"
    failed = consumer.run("oci", "update-index", typo, check=False)
    assert failed.returncode == 1
    assert "neither packages nor an index" in failed.stderr
    assert f"did you mean cache ({cache.url})" in failed.stderr and "--create" in failed.stderr
    listed = consumer.run("oci", "list", typo, check=False)
    assert listed.returncode == 1 and f"did you mean cache ({cache.url})" in listed.stderr
    assert "update-index" not in listed.stderr
    assert list(store_of(cache).tags()) and not list(open_repository(parse_url(typo)).tags())
    consumer.run("oci", "update-index", "--create", typo)
    assert "index.spack" in list(open_repository(parse_url(typo)).tags())


def test_node_that_spack_cannot_read_is_left_out_and_the_concretizer_works(cache, consumer):
    """Of every way in which a node may be malformed, one for each guard: ours, and Spack's own reader."""
    store = store_of(cache)
    bad = node("bad", parameters={"build_system": "generic", "shared": "*"})
    push_package(store, [bad])
    said = consumer.run("oci", "update-index", "cache")
    assert tag_of(bad) in said.stderr and "no valid value of 'shared'" in said.stderr
    assert consumer.run("oci", "update-index", "--strict", "cache", check=False).returncode == 1
    assert "oci-leaf@1.0" in consumer.run("spec", "oci-leaf").stdout


def publish_database(store, text):
    """As some other program may do it."""
    manifest = {
        "mediaType": OCI_MANIFEST,
        "schemaVersion": 2,
        "config": put_bytes(store, b"{}", OCI_CONFIG).to_dict(),
        "layers": [put_bytes(store, text.encode(), OCI_LAYER_GZIP).to_dict()],
    }
    store.put_manifest(json.dumps(manifest).encode(), OCI_MANIFEST, "index.spack")


@pytest.mark.parametrize(
    "text, said",
    [
        ('{"database": {"version": "8", "installs": {"abc": 5}}}', "does without abc"),
        ('{"database": {"version": "8", "installs": 5}}', "no database of Spack"),
        ("nothing", "is not JSON"),
    ],
)
def test_mirror_with_a_broken_index_is_named_and_the_others_are_used(cache, consumer, new_cache, text, said):
    broken = new_cache("http")
    publish_database(store_of(broken), text)
    consumer.mirrors(broken=broken.mirror, cache=cache.mirror)
    done = consumer.run("spec", "oci-leaf")
    assert "oci-leaf@1.0" in done.stdout
    assert said in done.stderr and broken.url in done.stderr


@pytest.mark.parametrize("way", ["spack install", "oci install"])
@pytest.mark.parametrize(
    "old, new",
    [
        (b'"signed":false', b'"prefix_length":"5","signed":false'),
        (b'"prefix_length":', b'"prefix_length":-'),
        (b'"relocation":{', b'"relocation":{"strings":"many",'),
        (b'"package":{', b'"package":{"tag":5,"x":{'),
    ],
)
def test_bad_entry_of_one_mirror_does_not_fail_an_install(cache, consumer, new_cache, source, way, old, new):
    """What an index says of a package is of other types than it should be; the tag, or the next mirror, has it."""
    bad = new_cache("http")
    pusher = source(name="other-pusher")
    pusher.use(bad)
    pusher.run("oci", "push", "--only", "package", "--update-index", "cache", "oci-leaf@1.0")
    store = store_of(bad)
    found = fetch_index(store)
    lines = [line.replace(old, new) for line in decompress(found.document)]
    assert b"".join(lines) != b"".join(decompress(found.document))
    changed = put_bytes(store, b"".join(compress(lines)), DOCUMENT_TYPE)
    data = document_manifest_bytes(changed, None, found.manifest, found.digest, 1)
    store.put_manifest(data, OCI_MANIFEST, "spack-oci.index")
    consumer.mirrors(bad=bad.mirror, cache=cache.mirror)
    if way == "oci install":
        consumer.run("oci", "install", "oci-leaf@1.0")
    else:
        consumer.install_from_cache("oci-leaf@1.0")
    assert "oci-leaf" in consumer.installed()


def test_who_writes_does_not_read_pull_through_mirrors(cache, consumer):
    """A mirror that lags behind, or that says something else, would get into the index."""
    host = cache.url.partition("://")[2].partition("/")[0]
    consumer.write_config("oci", {"registries": {host: {"mirrors": ["oci+http://127.0.0.1:9/lagging"]}}})
    said = consumer.script(
        "import spack.mirrors.mirror\n"
        "from spack_oci.spack.configuration import mirrors\n"
        "mirror = spack.mirrors.mirror.MirrorCollection()['cache']\n"
        "for direction in (mirrors.FETCH, mirrors.PUSH):\n"
        "    for opened in (mirrors.open_store, mirrors.open_index_store):\n"
        "        print(direction, len(opened(mirror, direction).settings.mirrors))\n"
    )
    assert said.split() == ["fetch", "1", "fetch", "1", "push", "0", "push", "0"]


def test_index_in_another_repository(new_cache, source, destination):
    cache = new_cache("http")
    pusher, consumer = source(), destination()
    for spack in (pusher, consumer):
        spack.use(cache)
        spack.write_config("oci", {"index": {"repository": "{name}-index"}})
    pusher.run("oci", "push", "--only", "package", "--update-index", "cache", "oci-leaf@1.0")
    assert "index.spack" not in cache.tags()
    assert sorted(open_repository(parse_url(cache.url + "-index")).tags()) == ["index.spack", "spack-oci.index"]
    assert "oci-leaf@1.0" in consumer.run("spec", "oci-leaf").stdout
    assert "oci-leaf@1.0" in consumer.run("oci", "list", "cache").stdout
    assert "1 package (nothing new)" in pusher.run("oci", "update-index", "cache").stdout
    consumer.install_from_cache("oci-leaf@1.0")
    assert "oci-leaf" in consumer.installed()
