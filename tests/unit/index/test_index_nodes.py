# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Nodes that Spack's reader cannot read do not enter an index, and do not leave one on a client."""

import json

import pytest
from spack_oci.descriptor import OCI_LAYER_GZIP, Descriptor
from spack_oci.errors import InvalidContent, NotAPackage
from spack_oci.index.database import check_database
from spack_oci.index.entry import PackageEntry
from spack_oci.index.model import PackageIndex
from spack_oci.index.nodes import nodes_of_document
from spack_oci.index.read import fetch_index
from spack_oci.index.update.loop import merge_pushed, update_index
from support.memory_store import MemoryStore
from support.packages.cache_builder import QUICK, chain, dag_hash, document, node, push_package, quick, tag_of

GOOD = node("good")


def edge(**changes):
    base = {"name": "good", "hash": GOOD["hash"], "parameters": {"deptypes": ["build", "link"], "virtuals": ["c"]}}
    return {"dependencies": [{**base, **changes}]}


def parameters(**changes):
    return {"parameters": {"build_system": "generic", "cflags": [], **changes}}


#: what is changed in a node -> what the message says
MALFORMED = [
    (edge(parameters={"deptypes": ["built"], "virtuals": []}), "dependency"),
    (edge(parameters={"deptypes": [["build"]], "virtuals": []}), "dependency"),
    (edge(parameters={"deptypes": ["build"], "virtuals": [["c"]]}), "dependency"),
    (edge(parameters={"deptypes": ["build"], "virtuals": {}}), "dependency"),
    (edge(parameters={"deptypes": ["build"], "virtuals": [], "direct": "yes"}), "dependency"),
    (edge(name="other"), "calls its dependency"),
    ({"dependencies": [*edge()["dependencies"], *edge()["dependencies"]]}, "two dependencies good"),
    (parameters(shared="*"), "shared"),
    (parameters(shared=["a", "*"]), "shared"),
    (parameters(shared=None), "shared"),
    (parameters(shared=["a", 5]), "shared"),
    (parameters(shared={}), "shared"),
    (parameters(cflags=5), "cflags"),
    (parameters(cflags="-O2"), "cflags"),
    (parameters(cflags=True), "cflags"),
    (parameters(cxxflags=[5]), "cxxflags"),
    ({"parameters": []}, "parameters"),
    ({"arch": {"platform": "linux", "platform_os": "debian12", "target": {}}}, "valid arch"),
    ({"arch": {"platform": "linux", "platform_os": "debian12", "target": {"name": 5}}}, "valid arch"),
    ({"arch": {"platform": "linux", "platform_os": ["debian12"], "target": "x86_64"}}, "valid arch"),
    ({"version": "1." + "9" * 5000}, "version"),  # int() of it is a ValueError, for Spack too
    ({"annotations": {"original_specfile_version": 5, "compiler": "gcc@=" + "9" * 5000}}, "annotations"),
    ({"propagate": 5}, "propagate"),
    ({"abstract": 5}, "abstract"),
    ({"abstract": [["shared"]]}, "abstract"),
    ({"patches": [{}]}, "patches"),
    ({"annotations": {"original_specfile_version": 5, "compiler": "a b c"}}, "annotations"),
    ({"annotations": {"original_specfile_version": 5, "compiler": "gcc@=12.2.0."}}, "annotations"),
    ({"annotations": {"original_specfile_version": True}}, "annotations"),
    ({"patches": [GOOD["hash"]], **parameters(patches=True)}, "patches"),
    ({"annotations": {}}, "annotations"),
    ({"namespace": ["builtin"]}, "namespace"),
    ({"version": "1.0 beta"}, "version"),
    ({"version": "git.main=1.0+a"}, "version"),
    ({"versions": ["1.0"]}, "abstract"),
    ({"concrete": False}, "abstract"),
    ({"external": {"path": 5, "module": None}}, "external"),
    ({"external": {"path": "/usr", "module": None, "extra_attributes": []}}, "external"),
    ({"external": {"path": "/usr", "module": None, "extra_attributes": {"x": "\ud800"}}}, "JSON"),
    ({"build_spec": None}, "build_spec"),
    ({"build_spec": {"name": "p", "hash": ["x"]}}, "build_spec"),
    ({"package_hash": 5}, "package_hash"),
    ({"name": "a\ud800"}, "name"),
    ({"hash": "²" * 32}, "hash"),
    ({"x": "y" * (1 << 20)}, "bytes"),
]


@pytest.mark.parametrize("changes,message", MALFORMED)
def test_malformed_node_is_refused_by_name(changes, message):
    with pytest.raises(NotAPackage) as e:
        nodes_of_document(document([{**node("bad"), **changes}, GOOD]), "TAG")
    assert message in e.value.message and e.value.message.startswith("TAG ")
    e.value.message.encode("ascii")


def test_package_that_depends_on_itself_is_refused():
    a, b = dag_hash("a"), dag_hash("b")
    first = node("a", hash=a, dependencies=[{"name": "b", "hash": b}])
    second = node("b", hash=b, dependencies=[{"name": "a", "hash": a}])
    with pytest.raises(NotAPackage, match="depends on itself"):
        nodes_of_document(document([first, second]), "TAG")


def test_two_documents_cannot_make_a_package_depend_on_itself():
    """Each of them alone is right; forged hashes join them."""
    entry = PackageEntry("x.spack", Descriptor.of(b"x", OCI_LAYER_GZIP), Descriptor.of(b"x", OCI_LAYER_GZIP))
    a, b = dag_hash("a"), dag_hash("b")
    index = PackageIndex()
    index.add(
        nodes_of_document(
            document([node("b", hash=b, dependencies=[{"name": "a", "hash": a}]), node("a", hash=a)]), "b"
        ),
        entry,
    )
    forged = [node("a", hash=a, dependencies=[{"name": "b", "hash": b}]), node("b", hash=b)]
    with pytest.raises(NotAPackage, match="depends on itself"):
        index.add(nodes_of_document(document(forged), "a", index.has_node), entry)


#: content that any registry takes -> where it stands
FOREIGN = [
    {"annotations": {"org.spack-oci.relocation.strings": "²"}},
    {"annotations": {"org.spack-oci.relocation.strings": 5}},
    {"annotations": {"org.spack-oci.relocation.strings": "9" * 5000}},
    {"annotations": {"org.spack-oci.relocation.a\ud800": "5"}},
    {"annotations": {"org.spack-oci.pusher": {}}},
    {"annotations": [1]},
    {"annotations": "x"},
    {"layers": {}},
    {"config": 5},
]


@pytest.mark.parametrize("changes", FOREIGN)
def test_foreign_manifest_does_not_keep_the_others_out(changes):
    store = MemoryStore()
    push_package(store, [GOOD])
    bad = node("bad")
    push_package(store, [bad])
    media_type, data = store.manifests[store.tagged[tag_of(bad)]]
    data = json.dumps({**json.loads(data), **changes}).encode()
    descriptor = Descriptor.of(data, media_type)
    store.manifests[descriptor.digest] = (media_type, data)
    store.tagged[tag_of(bad)] = descriptor.digest
    warnings = []
    result = update_index(store, quick(warn=warnings.append))
    assert GOOD["hash"] in fetch_index(store).entries()
    if result.unreadable:
        assert list(result.unreadable) == [tag_of(bad)] and tag_of(bad) in warnings[0]
    else:
        assert result.total == 2
    assert update_index(store, QUICK).writes == 0


@pytest.mark.parametrize("changes", [changes for changes, _ in MALFORMED[:20]] + [{"name": "a\ud800"}])
def test_malformed_package_does_not_keep_the_others_out(changes):
    store = MemoryStore()
    push_package(store, [GOOD])
    bad = {**node("bad"), **changes}
    config = json.dumps({**document([bad, GOOD])}).encode()
    push_package(store, [node("bad")], tag="bad.spack")
    media_type, data = store.manifests[store.tagged["bad.spack"]]
    manifest = json.loads(data)
    manifest["config"].update(digest=Descriptor.of(config, "x").digest, size=len(config))
    store.blobs[manifest["config"]["digest"]] = config
    store.put_manifest(json.dumps(manifest).encode(), media_type, "bad.spack")
    result = update_index(store, QUICK)
    assert (result.total, list(result.unreadable)) == (1, ["bad.spack"])


def test_node_that_spacks_reader_refuses_is_left_out_and_named():
    store = MemoryStore()
    seen = []

    def check(nodes):
        seen.append([n.spec["name"] for n in nodes])
        if any(n.spec["name"] == "odd" for n in nodes):
            raise NotAPackage("the node odd@1.0 cannot be read by Spack")

    push_package(store, chain("p", 3))
    push_package(store, [node("odd")])
    warnings = []
    result = update_index(store, quick(check_nodes=check, warn=warnings.append))
    assert (result.total, list(result.unreadable)) == (1, [tag_of(node("odd"))])
    assert "odd@1.0 cannot be read by Spack" in warnings[0]
    assert sorted(seen) == [["odd"], ["p-2", "p-1", "p-0"]]
    seen.clear()
    push_package(store, [node("q", dependencies=chain("p", 3)[:1]), *chain("p", 3)])
    update_index(store, quick(check_nodes=check))
    assert ["q"] in seen and not any("p-0" in names for names in seen)


def test_own_package_that_spacks_reader_refuses_is_named():
    from spack_oci.index.update.read_package import read_package

    store = MemoryStore()
    push_package(store, [GOOD])
    push_package(store, [node("odd")])
    own = [read_package(store, tag_of(n)) for n in (GOOD, node("odd"))]

    def check(nodes):
        if nodes and nodes[0].spec["name"] == "odd":
            raise NotAPackage("odd")

    result = merge_pushed(store, own, quick(check_nodes=check))
    assert (result.total, list(result.unreadable)) == (1, [tag_of(node("odd"))])


def test_of_packages_that_were_pushed_together_each_node_is_read_once():
    from spack_oci.index.update.read_package import read_package

    store = MemoryStore()
    nodes = chain("p", 3)
    for start in range(3):
        push_package(store, nodes[start:])
    own = [read_package(store, tag_of(n)) for n in nodes]
    seen = []
    result = merge_pushed(store, own, quick(check_nodes=lambda new: seen.extend(n.dag_hash for n in new)))
    assert result.total == 3 and sorted(seen) == sorted(n["hash"] for n in nodes)


# On the client


def database(records, version="8"):
    return json.dumps({"database": {"version": version, "installs": records}}).encode()


def record(spec, **extra):
    return {"spec": spec, "ref_count": 0, "in_buildcache": True, **extra}


def test_database_that_spack_reads_is_taken_as_it_is():
    data = database({n["hash"]: record(n) for n in chain("p", 3)})
    assert check_database(data, "index.spack") == (data, {})


@pytest.mark.parametrize(
    "data",
    [b"[]", b"{}", b'{"database": 5}', b'{"database": {"version": "8"}}', database({}, "9"), database({}, ["8"])],
)
def test_what_is_no_database_is_refused(data):
    with pytest.raises(InvalidContent, match=r"index\.spack of X"):
        check_database(data, "index.spack of X")


@pytest.mark.parametrize(
    "bad",
    [
        5,
        {},
        {"spec": 5},
        record({**GOOD, "arch": 5}),
        record(GOOD, foreign=1),
        record(GOOD, in_buildcache="yes"),
        record(GOOD, ref_count="1"),
        record({**GOOD, "build_spec": {"name": "good", "hash": "gone"}}),
    ],
)
def test_broken_record_is_left_out_with_what_depends_on_it(bad):
    dependent, other = node("dependent", dependencies=[GOOD]), node("other")
    data = database({GOOD["hash"]: bad, dependent["hash"]: record(dependent), other["hash"]: record(other)})
    checked = check_database(data, "index.spack")
    assert list(json.loads(checked.data)["database"]["installs"]) == [other["hash"]]
    assert len(checked.left_out) == 2
    assert any(name.startswith("dependent@1.0/") for name in checked.left_out)


def test_older_database_is_checked_by_its_own_format():
    old = {key: value for key, value in node("old").items() if key != "annotations"}
    old["compiler"] = {"name": "gcc", "version": "12.2.0"}
    data = database({old["hash"]: record(old)}, "7")
    assert check_database(data, "index.spack").data == data
