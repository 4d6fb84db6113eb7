# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Our document as bytes: its schema, what a damaged one does, what of a spec document goes in."""

import json
from functools import partial

import jsonschema
import pytest
from spack_oci.descriptor import OCI_LAYER_GZIP, Descriptor, sha256_digest
from spack_oci.errors import InvalidContent, NotAPackage
from spack_oci.index.entry import PackageEntry
from spack_oci.index.frames import compress, decompress
from spack_oci.index.lines import DatabaseOfLines, entries_from_lines
from spack_oci.index.model import PackageIndex
from spack_oci.index.nodes import nodes_of_document
from spack_oci.index.update.loop import update_index
from spack_oci.index.update.read_package import PushedNodes, package_from_push, read_package
from spack_oci.package.record import Layer
from spack_oci.util.resources import read_schema
from support.memory_store import MemoryStore
from support.packages.cache_builder import chain, document, node, push_package

DESCRIPTOR = Descriptor.of(b"x", OCI_LAYER_GZIP)


def index_of(*packages):
    index = PackageIndex()
    for nodes in packages:
        entry = PackageEntry(f"{nodes[0]['name']}.spack", DESCRIPTOR, DESCRIPTOR)
        index.add(nodes_of_document(document(nodes), "test"), entry)
    return index


def installs(index):
    return json.loads(b"".join(index.database()))["database"]["installs"]


def spliced():
    """A package that was built against one dependency and runs with another."""
    old, new = node("dep", "1.0"), node("dep", "2.0")
    build = node("p", dependencies=[old])
    result = node("p", dependencies=[new], build_spec={"name": "p", "hash": build["hash"]})
    return result, new, build, old


def test_lines_follow_the_schema():
    notes = {"org.spack-oci.relocation.prefix-length": "63", "org.spack-oci.relocation.binaries": "2"}
    store = MemoryStore()
    push_package(store, chain("p", 3), annotations=notes)
    push_package(store, [node("external", external={"path": "/usr", "module": None, "extra_attributes": {}})])
    update_index(store)
    index = PackageIndex()
    for tag in store.tags():
        if tag.endswith(".spack") and tag != "index.spack":
            package = read_package(store, tag)
            index.add(package.nodes, package.entry)
    validator = jsonschema.Draft202012Validator(read_schema("index"))
    lines = [json.loads(line) for line in index.lines()]
    assert len(lines) == 5
    for line in lines:
        validator.validate(line)
    assert not validator.is_valid({**lines[0], "version": 3})
    assert not validator.is_valid({"hash": "abc", "record": {}})


def test_document_survives_a_round_trip():
    index = index_of(chain("p", 5), chain("q", 2))
    data = b"".join(compress(index.lines()))
    again = PackageIndex.from_lines(decompress(data))
    assert b"".join(compress(again.lines())) == data
    assert list(again.packages()) == list(index.packages())
    assert b"".join(again.database()) == b"".join(index.database())


def test_names_that_are_not_ascii_survive():
    index = index_of([node("p", parameters={"note": "größer \u2028 \U0001f600"})])
    data = b"".join(index.lines())
    assert data.count(b"\n") == 2
    assert b"".join(PackageIndex.from_lines(data.splitlines(keepends=True)).lines()) == data


@pytest.mark.parametrize(
    "damage,message",
    [
        (lambda lines: [], "not JSON"),
        (lambda lines: lines[:-1], "announced"),
        (lambda lines: [lines[0], lines[1][:-20], *lines[2:]], "line that cannot be read"),
        (lambda lines: [lines[0].replace(b'"version":2', b'"version":3', 1), *lines[1:]], "update spack-oci"),
        (lambda lines: [lines[0].replace(b"spack-oci.index", b"other"), *lines[1:]], "format"),
        (lambda lines: [lines[0], lines[1], lines[1], *lines[3:]], "announced"),
        (lambda lines: [lines[0], b'{"hash":"abc","record":{"spec":{}}}\n', *lines[2:]], "malformed"),
    ],
)
def test_damaged_document_is_refused(damage, message):
    lines = list(index_of(chain("p", 3)).lines())
    with pytest.raises(InvalidContent) as e:
        PackageIndex.from_lines(damage(lines))
    assert message in str(e.value)


def test_missing_node_is_refused():
    lines = list(index_of(chain("p", 3)).lines())
    needed = chain("p", 3)[2]["hash"].encode()
    rest = [line for line in lines if not line.startswith(b'{"hash":"' + needed)]
    header = json.loads(rest[0])
    rest[0] = json.dumps({**header, "nodes": header["nodes"] - 1}).encode()
    with pytest.raises(InvalidContent, match="needs"):
        PackageIndex.from_lines(rest)


def test_database_is_cut_out_of_the_lines():
    index = index_of(chain("p", 3), chain("q", 1), [node("r", parameters={"a": ',"package":{}', "b": '","record":'})])
    data = b"".join(index.database())
    assert DatabaseOfLines(index.lines, sha256_digest(data)).read() == data
    lines = list(index.lines())
    for number in range(1, len(lines)):
        for damaged in (b"\n", lines[number][:120], lines[number][:60] + b" " + lines[number][60:]):
            with pytest.raises(InvalidContent):
                DatabaseOfLines(partial(list, [*lines[:number], damaged, *lines[number + 1 :]]), sha256_digest(data))


def test_database_must_be_the_one_that_was_announced():
    lines = list(index_of(chain("p", 3)).lines())
    with pytest.raises(InvalidContent, match="announces"):
        DatabaseOfLines(lambda: lines, DESCRIPTOR.digest)


def test_not_zstd_is_invalid():
    with pytest.raises(InvalidContent, match="zstd"):
        list(decompress(b"plain text"))


def test_truncated_zstd_is_invalid():
    data = compress(index_of(*(chain(f"p{n}", 10) for n in range(50))).lines())
    data = b"".join(data)
    with pytest.raises(InvalidContent):
        PackageIndex.from_lines(decompress(data[: len(data) // 2]))


def test_entries_of_wanted_hashes_only():
    index = index_of(chain("p", 2), chain("q", 1))
    wanted = chain("p", 2)[0]["hash"]
    assert list(entries_from_lines(index.lines(), {wanted, chain("p", 2)[1]["hash"]})) == [wanted]


def test_spliced_package_brings_its_build_spec():
    nodes = spliced()
    index = index_of(nodes)
    records = installs(index)
    assert set(records) == {n["hash"] for n in nodes}
    index.prune()
    assert set(installs(index)) == {n["hash"] for n in nodes}
    # an edge to the build spec is none that Spack counts
    assert records[nodes[2]["hash"]]["ref_count"] == 0


def test_build_spec_that_is_missing_is_refused():
    with pytest.raises(NotAPackage, match="which it lacks"):
        nodes_of_document(document(spliced()[:2]), "test")


def test_own_document_of_a_package_wins():
    """What the hash does not cover may differ between two documents."""
    package, other = node("p"), {**node("p"), "annotations": {"original_specfile_version": 5, "a": 0}}
    dependent = node("q", dependencies=[package])
    for order in ([[package], [dependent, other]], [[dependent, other], [package]]):
        assert installs(index_of(*order))[package["hash"]]["spec"] == package


def test_documents_of_dependents_do_not_depend_on_order():
    one, two = node("p"), {**node("p"), "annotations": {"original_specfile_version": 5, "a": 0}}
    q, r = node("q", dependencies=[one]), node("r", dependencies=[one])
    first, second = index_of([q, one], [r, two]), index_of([r, two], [q, one])
    assert b"".join(first.lines()) == b"".join(second.lines())


def test_known_nodes_are_skipped_and_change_nothing():
    p = chain("shared", 3)
    q = [node("q", dependencies=p[:1]), *p]
    index = index_of(p)
    nodes = nodes_of_document(document(q), "test", index.has_node)
    assert [n.dag_hash for n in nodes] == [q[0]["hash"]]
    index.add(nodes, PackageEntry("q.spack", DESCRIPTOR, DESCRIPTOR))
    whole = index_of(p)
    whole.add(nodes_of_document(document(q), "test"), PackageEntry("q.spack", DESCRIPTOR, DESCRIPTOR))
    assert b"".join(index.lines()) == b"".join(whole.lines())


def test_nodes_that_differ_are_not_skipped():
    """What the hash does not cover: annotations of a spec that an older Spack wrote."""
    dependency = node("p")
    other = {**dependency, "annotations": {"original_specfile_version": 4, "compiler": "gcc@=12"}}
    as_dependency = index_of([node("q", dependencies=[dependency]), dependency])
    assert as_dependency.has_node(dependency) and not as_dependency.has_node(other)
    as_package = index_of([dependency])
    assert as_package.has_node(dependency) and as_package.has_node(other)
    assert not as_package.has_node(node("r"))


def test_version_4_is_converted_as_spack_does():
    nodes = chain("p", 2)
    for n in nodes:
        del n["annotations"]
        n["compiler"] = {"name": "gcc", "version": "12.2.0"}
    converted = [n.spec for n in nodes_of_document(document(nodes, 4), "test")]
    assert [n["annotations"] for n in converted] == [{"original_specfile_version": 4, "compiler": "gcc@=12.2.0"}] * 2
    assert all("compiler" not in n for n in converted)


def test_push_with_spacks_own_types_is_what_is_read_back():
    """``Spec.to_dict`` has tuples where JSON has lists."""
    nodes = chain("p", 2)
    store = MemoryStore()
    descriptor = push_package(store, nodes)
    read = read_package(store, next(iter(store.tagged)))
    nodes[0]["dependencies"][0]["parameters"] = {"deptypes": ("build", "link"), "virtuals": ()}
    layer = Layer(read.entry.layer, read.entry.diff_id, "p")
    facts = {"prefix_length": 5, "binaries": 1}
    pushed = package_from_push(read.entry.tag, descriptor, document(nodes), layer, facts)
    assert pushed.nodes == read.nodes
    shared = PushedNodes()
    shared.converted[nodes[0]["hash"]] = read.nodes[1]  # another one
    twice = [
        package_from_push(read.entry.tag, descriptor, document(nodes), layer, facts, shared=shared).nodes
        for _ in range(2)
    ]
    assert twice == [read.nodes, read.nodes] and all(a is b for a, b in zip(*twice))
    with pytest.raises(NotAPackage):
        package_from_push(read.entry.tag, descriptor, {"spec": {"nodes": 5}}, layer, facts)
    assert (pushed.entry.prefix_length, pushed.entry.relocation) == (5, {"binaries": 1})
    assert pushed.entry.layer == read.entry.layer
