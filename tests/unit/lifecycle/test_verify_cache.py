# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What `spack oci verify` finds at each of its levels, and that it finds nothing in a cache that is as it should be."""

import json
import os
import shutil
import subprocess
import tarfile
import time

import jsonschema
import pytest
from spack_oci.content.blob_cache import BlobCache
from spack_oci.descriptor import OCI_MANIFEST
from spack_oci.errors import Forbidden, NotFound
from spack_oci.index.publish import DATABASE_TAG
from spack_oci.index.update.loop import update_index
from spack_oci.layout import open_layout
from spack_oci.operations.check.findings import Kind, Level
from spack_oci.operations.check.verify import verify_cache
from spack_oci.operations.install.fetch import find_package
from spack_oci.operations.lifecycle.contents import read_contents
from spack_oci.reference import LayoutDirectory
from spack_oci.util.resources import read_schema
from support.memory_store import MemoryStore
from support.packages.cache_builder import QUICK, chain, node, overwrite_as_spack, push_package, tag_of
from support.packages.layers import OLD_ROOT, tar_info
from support.packages.readable_packages import filled, layer_of, prefix_of, push_readable

needs_gcc = pytest.mark.skipif(not shutil.which("gcc"), reason="needs gcc")


@pytest.fixture
def nodes():
    return chain("p", 3)


@pytest.fixture
def store(nodes):
    return filled(MemoryStore(), nodes)


def found(store, level=Level.CONTENT, **more):
    """{(kind, tag or None)} of the findings."""
    verification = verify_cache(store, read_contents(store), level, **more)
    return {(f.kind, f.tag or None) for f in verification.findings}


def change(store, digest, data=None):
    """As if a disk or a garbage collector had done it."""
    if data is None:
        del store.blobs[digest]
    else:
        store.blobs[digest] = data


def layer_digest(store, tag):
    return find_package(store, tag).layer.digest


@pytest.mark.parametrize("level", list(Level))
def test_a_cache_that_is_as_it_should_be_has_no_findings(store, level):
    verification = verify_cache(store, read_contents(store), level)
    assert verification.findings == [] and verification.total == 3
    assert len(verification.packages) == (0 if level == Level.INDEX else 3)
    document = {"version": 1, "policy": "off", **verification.to_dict()}
    jsonschema.Draft202012Validator(read_schema("commands/verify")).validate(document)


def test_the_index_level_needs_few_requests_however_many_packages_there_are(store):
    store.reset()
    assert found(store, Level.INDEX) == set()
    assert store.requests == 4


def test_the_index_level_needs_two_requests_and_the_pages_of_tags_where_the_index_is_kept(store, tmp_path):
    cache = BlobCache(str(tmp_path))
    read_contents(store, cache=cache, is_check=True)
    store.reset()
    assert not verify_cache(store, read_contents(store, cache=cache, is_check=True), Level.INDEX).findings
    assert store.calls == {"get_manifest": 1, "resolve": 1, "tags": 1}
    # what the kept documents do not show: somebody has overwritten ours alone
    read_contents(store, cache=cache)
    store.tagged["spack-oci.index"] = store.tagged["index.spack"]
    findings = verify_cache(store, read_contents(store, cache=cache, is_check=True), Level.INDEX).findings
    assert [finding.kind for finding in findings] == [Kind.INDEX_UNUSABLE]


def test_the_index_against_the_tags(store, nodes):
    other = node("other")
    push_package(store, [other])
    store.delete_manifest(tag_of(nodes[0]))
    assert found(store, Level.INDEX) == {(Kind.NOT_INDEXED, tag_of(other)), (Kind.GONE, tag_of(nodes[0]))}


def test_an_index_that_a_spack_without_this_extension_has_overwritten(store):
    overwrite_as_spack(store)
    assert found(store, Level.INDEX) == {(Kind.INDEX_UNUSABLE, None)}
    store.delete_manifest(DATABASE_TAG)
    assert found(store, Level.INDEX) == {(Kind.INDEX_UNUSABLE, None)}


def test_a_package_that_was_pushed_again_and_is_another_in_the_index(store, nodes):
    push_readable(store, nodes[2:], layer_of(nodes[2:]).file("share/new", "built anew"))
    assert found(store, Level.INDEX) == set()
    assert found(store, Level.MANIFESTS) == {(Kind.INDEX_DIFFERS, tag_of(nodes[2]))}


def test_half_a_push(store, nodes):
    """A Spack that was killed: what needs p-0 is there, p-0 is not; and a tag that is no package."""
    store.delete_manifest(tag_of(nodes[2]))
    update_index(store, QUICK)
    broken = f"broken-1.0-{'a' * 32}.spack"
    store.put_manifest(b'{"schemaVersion":2,"layers":[],"config":null}', OCI_MANIFEST, broken)
    assert found(store, Level.MANIFESTS) == {
        (Kind.DEPENDENCY_MISSING, tag_of(nodes[0])),
        (Kind.DEPENDENCY_MISSING, tag_of(nodes[1])),
        (Kind.UNREADABLE, broken),
        (Kind.NOT_INDEXED, broken),
    }


def test_a_layer_of_the_image_besides_the_own_that_is_described_wrongly(store, nodes):
    """Who installs the package does not need it; a container engine does."""
    tag = tag_of(nodes[0])
    manifest = json.loads(store.get_manifest(tag)[1])
    manifest["layers"].insert(0, {"digest": layer_digest(store, tag)})
    store.put_manifest(json.dumps(manifest).encode(), OCI_MANIFEST, tag)
    update_index(store, QUICK)
    assert found(store, Level.INDEX) == set() and found(store, Level.MANIFESTS) == {(Kind.UNREADABLE, tag)}


def test_an_image_for_another_platform_than_the_spec(store):
    lone = node("lone", arch={"platform": "linux", "platform_os": "debian12", "target": "aarch64"})
    push_readable(store, [lone])
    update_index(store, QUICK)
    assert found(store) == {(Kind.PLATFORM_DIFFERS, tag_of(lone))}


def test_a_layer_that_is_gone_and_one_that_is_damaged(store, nodes):
    gone, damaged = tag_of(nodes[0]), tag_of(nodes[1])
    change(store, layer_digest(store, gone))
    data = store.blobs[layer_digest(store, damaged)]
    change(store, layer_digest(store, damaged), data[:-9] + b"x" + data[-8:])
    assert found(store, Level.MANIFESTS) == set()
    assert found(store, Level.BLOBS) == {(Kind.LAYER_MISSING, gone)}
    assert found(store, Level.CONTENT) == {(Kind.LAYER_MISSING, gone), (Kind.LAYER_DAMAGED, damaged)}


def test_a_layer_that_is_not_there_until_it_is_read_is_not_missing(store, nodes, monkeypatch):
    """goharbor/harbor #22609: a cache in front of another registry."""
    monkeypatch.setattr(store, "has_blob", lambda digest: False)
    assert found(store, Level.BLOBS) == set()
    change(store, layer_digest(store, tag_of(nodes[0])))
    assert found(store, Level.BLOBS) == {(Kind.LAYER_MISSING, tag_of(nodes[0]))}


def test_each_finding_says_what_it_is_about_and_what_to_do(store, nodes):
    change(store, layer_digest(store, tag_of(nodes[0])))
    overwrite_as_spack(store)
    for finding in verify_cache(store, read_contents(store), Level.CONTENT).findings:
        assert finding.message and finding.remedy and (finding.tag or finding.kind == Kind.INDEX_UNUSABLE)


@pytest.mark.parametrize(
    "spoil, kind",
    [
        (lambda layer: layer.member(tar_info("../../etc/cron.d/x", tarfile.REGTYPE, 0o644), b"x"), Kind.UNSAFE),
        (lambda layer: layer.member(tar_info(layer.name("dev"), tarfile.CHRTYPE, 0o644)), Kind.UNSAFE),
        (lambda layer: layer.file("bin/su", b"x", mode=0o4755), Kind.UNSAFE),
    ],
    ids=["outside", "device", "setuid"],
)
def test_members_that_no_package_has(store, nodes, spoil, kind):
    hostile = node("hostile")
    layer = layer_of([hostile])
    spoil(layer)
    push_readable(store, [hostile], layer)
    update_index(store, QUICK)
    assert found(store) == {(kind, tag_of(hostile))}


def test_a_layer_of_another_package_and_one_that_is_no_tarball(store):
    one, other, text = node("one"), node("other"), node("text")
    push_readable(store, [one], layer_of([other]))
    push_package(store, [text], layer=b"hello")
    update_index(store, QUICK)
    assert found(store) == {(Kind.UNSAFE, tag_of(one)), (Kind.LAYER_DAMAGED, tag_of(text))}


def elf(path, *flags):
    subprocess.run(
        ["gcc", "-shared", "-x", "c", "-", "-x", "none", "-o", str(path), *flags], input=b"int f;", check=True
    )
    return path.read_bytes()


@needs_gcc
def test_libraries_that_nothing_has_and_search_paths_that_lead_nowhere(tmp_path, nodes):
    store = MemoryStore()
    first = elf(tmp_path / "libfirst.so", "-Wl,-soname,libfirst.so.1")
    (tmp_path / "liblost.so").write_bytes(elf(tmp_path / "l.so", "-Wl,-soname,liblost.so.3"))
    push_readable(store, nodes[2:], layer_of(nodes[2:]).file("lib/libfirst.so.1", first))
    linked = ("-Wl,--no-as-needed", f"-L{tmp_path}", "-lfirst")
    good = elf(tmp_path / "good.so", *linked, f"-Wl,-rpath,{prefix_of(nodes[2])}/lib:$ORIGIN/../lib:/usr/lib")
    push_readable(store, nodes[1:], layer_of(nodes[1:]).file("lib/libgood.so", good))
    gone = f"{OLD_ROOT}/linux-x86_64/gone-1.0-{'q' * 32}/lib"
    bad = elf(tmp_path / "bad.so", *linked, "-llost", f"-Wl,-rpath,/tmp/spack-stage/build/lib:{gone}")
    push_readable(store, nodes, layer_of(nodes).file("lib/libbad.so", bad))
    update_index(store, QUICK)
    findings = verify_cache(store, read_contents(store), Level.CONTENT).findings
    assert {f.tag for f in findings} == {tag_of(nodes[0])}
    said = {kind: [f.message for f in findings if f.kind == kind] for kind in {f.kind for f in findings}}
    assert said[Kind.LIBRARY_MISSING] == ["nothing that it depends on has liblost.so.3 (lib/libbad.so)"]
    assert len(said[Kind.SEARCH_PATH]) == 2 and any(gone in message for message in said[Kind.SEARCH_PATH])
    # of what was not read, nothing is said
    only = verify_cache(store, read_contents(store), Level.CONTENT, tags=[tag_of(nodes[0])])
    assert {f.kind for f in only.findings} == {Kind.SEARCH_PATH}


def test_a_sample_reads_so_many_packages_and_the_whole_index(store, nodes):
    verification = verify_cache(store, read_contents(store), Level.BLOBS, sample=2)
    assert len(verification.packages) == 2 and verification.total == 3
    push_package(store, [node("other")])
    assert (Kind.NOT_INDEXED, tag_of(node("other"))) in found(store, Level.BLOBS, sample=1)


def test_a_layer_that_many_packages_have_is_asked_for_once(store):
    for number in range(5):
        push_package(store, [node(f"n{number}")], layer=b"the same")
    update_index(store, QUICK)
    store.reset()
    assert found(store, Level.BLOBS, jobs=1) == set()
    assert store.calls["has_blob"] == 4


def test_what_could_not_be_looked_at_is_no_clean_bill(store, nodes):
    store.fail("has_blob", Forbidden("asking for it", status=403), when=lambda d: d == digest)
    digest = layer_digest(store, tag_of(nodes[1]))
    assert found(store, Level.BLOBS) == {(Kind.NOT_CHECKED, tag_of(nodes[1]))}


def test_files_of_writers_of_a_layout_that_were_killed(tmp_path):
    layout = open_layout(LayoutDirectory(str(tmp_path / "cache")), create=True)
    push_readable(layout, [node("one")])
    update_index(layout, QUICK)
    staging = tmp_path / "cache" / ".spack-oci" / "tmp"
    (staging / "young").write_bytes(b"x")
    assert found(layout) == set()
    (staging / "old").write_bytes(b"x" * 100)
    os.utime(staging / "old", (time.time() - 90000,) * 2)
    assert found(layout) == {(Kind.TEMPORARY_FILES, None)}


def test_a_cache_without_anything_may_be_a_wrong_name_and_is_no_good_cache():
    store = MemoryStore()
    with pytest.raises(NotFound, match="neither packages nor an index"):
        verify_cache(store, read_contents(store))
