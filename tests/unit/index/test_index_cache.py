# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Indexes on the client's disk: time to live, a registry that is down, many mirrors, single packages."""

import json
from dataclasses import replace

import pytest
from spack_oci.descriptor import canonical_json
from spack_oci.errors import NotFound, ServerFailure, StorageError, Unreachable
from spack_oci.index import in_place, index_cache
from spack_oci.index.in_place import Wanted, line_of_hash
from spack_oci.index.index_cache import IndexCache, describe_age, load_index, load_indexes, refresh_index
from spack_oci.index.publish import DATABASE_TAG, DOCUMENT_TAG
from spack_oci.index.read import fetch_index
from spack_oci.index.update.loop import update_index
from support.memory_store import MemoryStore
from support.packages.cache_builder import chain, node, push_package


class Clock:
    def __init__(self):
        self.time = 1_000_000.0

    def __call__(self):
        return self.time


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def cache(tmp_path, clock):
    return IndexCache(str(tmp_path / "indexes"), clock)


@pytest.fixture
def store():
    result = MemoryStore()
    push_package(result, chain("p", 3))
    update_index(result)
    result.reset()
    return result


def load(cache, store, **options):
    return load_index(cache, store.url, lambda: store, **options)


def test_within_its_time_to_live_nothing_is_asked(cache, store, clock):
    first = load(cache, store, ttl=600)
    store.reset()
    clock.time += 599
    again = load(cache, store, ttl=600)
    assert store.requests == 0
    assert (again.index.data, again.age) == (first.index.data, 599)


def test_after_it_one_request_confirms(cache, store, clock):
    first = load(cache, store)
    store.reset()
    clock.time += 601
    again = load(cache, store)
    assert store.requests == 1
    assert (again.index.known, again.index.data, again.age) == (first.index.known, first.index.data, 0)
    clock.time += 599
    load(cache, store)
    assert store.requests == 1


def test_changed_index_replaces_the_kept_one(cache, store, clock, tmp_path):
    load(cache, store)
    push_package(store, [node("new")])
    update_index(store)
    clock.time += 601
    assert load(cache, store).index.data == fetch_index(store).data
    (directory,) = (tmp_path / "indexes").iterdir()
    assert len(list(directory.iterdir())) == 4


@pytest.mark.parametrize("error", [Unreachable("no route"), ServerFailure("503")])
def test_kept_index_serves_while_the_registry_is_down(cache, store, clock, error):
    first = load(cache, store)
    clock.time += 7300
    store.fail("resolve", error)
    found = load(cache, store)
    assert found.index.data == first.index.data
    assert found.failure is error
    assert "2 hours old" in found.warning and str(error) in found.warning
    assert not first.warning


def test_nothing_kept_and_registry_down_is_the_failure(cache, store):
    store.fail("resolve", Unreachable("no route"))
    with pytest.raises(Unreachable):
        load(cache, store)


def test_mirror_without_index_is_an_answer(cache, store, clock):
    load(cache, store)
    clock.time += 601
    store.tagged.clear()
    with pytest.raises(NotFound):
        load(cache, store)


def test_several_mirrors_and_one_that_fails(cache, store):
    other, down = MemoryStore("oci://other.example/cache"), MemoryStore("oci://down.example/cache")
    push_package(other, [node("q")])
    update_index(other)
    down.fail("resolve", Unreachable("no route"))
    stores = {s.url: (lambda s=s: s) for s in (store, down, other)}
    found = load_indexes(cache, stores)
    assert list(found) == list(stores)
    assert isinstance(found[down.url], Unreachable)
    assert found[store.url].index.digest == fetch_index(store).digest
    assert found[other.url].index.digest == fetch_index(other).digest
    assert load_indexes(cache, {}) == {}


def test_index_of_spack_alone_is_kept_too(cache, store, clock):
    del store.tagged[DOCUMENT_TAG]
    first = load(cache, store)
    assert first.index.source == DATABASE_TAG
    store.reset()
    assert load(cache, store).index.data == first.index.data
    assert store.requests == 0
    assert cache.lookup(store.url, chain("p", 3)[0]["hash"]) is None


def test_lookup_of_one_package(cache, store):
    wanted = chain("p", 3)
    assert cache.lookup(store.url, wanted[0]["hash"]) is None
    expected = load(cache, store).index.entries()[wanted[0]["hash"]]
    store.reset()
    assert cache.lookup(store.url, wanted[0]["hash"]) == expected
    assert cache.lookup(store.url, wanted[1]["hash"]) is None
    assert cache.lookup("oci://other.example/cache", wanted[0]["hash"]) is None
    assert store.requests == 0


def test_lookup_of_many_packages_reads_each_part_of_the_document_once(cache, store, monkeypatch):
    for number in range(60):
        push_package(store, [node(f"many{number}")])
    update_index(store)
    expected = load(cache, store).index.entries()
    assert len(expected) == 61
    read = []
    original = in_place.decompress
    monkeypatch.setattr(in_place, "decompress", lambda data: read.append(data) or original(data))
    assert cache.lookup_all(store.url, [*expected, chain("p", 3)[1]["hash"], "not a hash"]) == expected
    assert len(read) == len(set(read)) == 2
    assert {h: cache.lookup(store.url, h) for h in expected} == expected and len(read) == 2
    assert cache.lookup_all("oci://other.example/cache", list(expected)) == {}


def test_lookup_of_many_packages_does_without_one_that_cannot_be_read(cache, store, monkeypatch):
    push_package(store, [node("q")])
    update_index(store)
    expected = load(cache, store).index.entries()
    bad = node("q")["hash"]
    original = index_cache.parse_line

    def parsed(line):
        found = original(line)
        return found._replace(package={"tag": 1}) if found.dag_hash == bad else found

    monkeypatch.setattr(index_cache, "parse_line", parsed)
    expected.pop(bad)
    assert cache.lookup_all(store.url, [*expected, bad]) == expected and cache.lookup(store.url, bad) is None


@pytest.mark.parametrize("suffix", [".zst", ".json", ".table", ".names"])
def test_damaged_file_is_fetched_again(cache, store, tmp_path, suffix):
    load(cache, store)
    (directory,) = (tmp_path / "indexes").iterdir()
    for path in directory.iterdir():
        if path.name.endswith(suffix):
            path.write_bytes(b"")
    assert load(cache, store).index.data == fetch_index(store).data


def test_packages_of_some_names_are_read_in_place(cache, store):
    """As an index of their own, with all that they need; the rest is not read."""
    load(cache, store)
    push_package(store, [node("q", "1.0")])
    push_package(store, [node("q", "2.0")])
    push_package(store, [node("qq")])
    update_index(store)
    whole = load(cache, store, ttl=0).index
    part = load(cache, store, ttl=0, wanted=Wanted.by([("q", None), ("p-2", None)])).index
    assert set(part.entries()) == {node("q", "1.0")["hash"], node("q", "2.0")["hash"], chain("p", 3)[0]["hash"]}
    assert part.entries() == whole.entries(part.entries())
    installs = json.loads(part.data)["database"]["installs"]
    everything = json.loads(whole.data)["database"]["installs"]
    assert {h for h, record in installs.items() if record["in_buildcache"]} == set(part.entries())
    assert {h: record["spec"] for h, record in installs.items()} == {h: everything[h]["spec"] for h in installs}
    assert len(installs) == 5
    assert load(cache, store, wanted=Wanted.by([("none", None)])).index.entries() == {}


def test_damaged_frame_is_not_believed(cache, store, tmp_path):
    load(cache, store)
    (directory,) = (tmp_path / "indexes").iterdir()
    (document,) = directory.glob("*.zst")
    document.write_bytes(document.read_bytes()[:-3] + b"xxx")
    assert cache.lookup(store.url, chain("p", 3)[0]["hash"]) is None
    assert load(cache, store, wanted=Wanted.by([("p-2", None)])).index.data == fetch_index(store).data


def test_index_that_cannot_be_kept_is_used(store, tmp_path):
    (tmp_path / "indexes").write_text("a file where a directory should be made")
    found = load(IndexCache(str(tmp_path / "indexes")), store)
    assert found.index.data == fetch_index(store).data
    assert isinstance(found.not_kept, StorageError) and "keeping the index" in found.warning


def test_ages():
    assert [describe_age(s) for s in (5, 119, 120, 7300, 400000)] == [
        "5 seconds",
        "119 seconds",
        "2 minutes",
        "2 hours",
        "4 days",
    ]


def _meta_file(tmp_path):
    (path,) = (tmp_path / "indexes").glob("*/meta.json")
    return path


@pytest.mark.parametrize(
    "change",
    [
        {"signatures": 5},
        {"document": "../../secret"},
        {"names": None},
        {"checked": "now"},
        {"in_place": "no"},
        {"source": []},
    ],
    ids=str,
)
def test_what_another_version_kept_counts_as_not_kept(cache, store, tmp_path, change):
    load(cache, store)
    path = _meta_file(tmp_path)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    assert cache.known(store.url) is None and cache.load(store.url) is None and cache.age(store.url) == float("inf")
    for look in (cache.lookup, cache.lookup_signatures, cache.packages_by_hash):
        assert look(store.url, "a" * 32) is None
    found = load(cache, store)
    assert not found.warning and cache.known(store.url) is not None


def test_an_index_of_spack_alone_that_is_damaged_is_fetched_again(cache, store, tmp_path):
    store.delete_manifest(DOCUMENT_TAG)
    whole = load(cache, store).index.data
    (path,) = [p for p in (tmp_path / "indexes").glob("*/*.json") if p.name != "meta.json"]
    damaged = path.read_bytes().replace(b"p-1", b"p-9")
    assert damaged != path.read_bytes()
    path.write_bytes(damaged)
    assert load(cache, store).index.data == whole


def test_an_index_from_the_future_is_asked_for(cache, store, clock):
    """Kept while the clock was wrong: it would be taken for new for as many years."""
    clock.time += 20 * 365 * 86400
    load(cache, store)
    clock.time -= 20 * 365 * 86400
    store.reset()
    assert cache.age(store.url) == float("inf")
    load(cache, store)
    assert store.requests == 1 and cache.age(store.url) == 0


def test_a_kept_index_that_cannot_be_read_or_confirmed_is_no_reason_to_do_without(
    cache, store, clock, tmp_path, monkeypatch
):
    """After `sudo spack`, say."""
    load(cache, store)
    clock.time += 1000

    def refuse(*args, **kwargs):
        raise StorageError("writing: read-only")

    with monkeypatch.context() as patch:
        patch.setattr("spack_oci.index.index_cache.atomic_write", refuse)
        found = load(cache, store)
        assert found.failure is None and found.age == 0 and "read-only" in found.warning
    path = _meta_file(tmp_path)
    path.unlink()
    path.mkdir()  # which root cannot read, either
    found = load(cache, store)
    assert found.failure is None and found.index.entries() and "keeping the index" in found.warning


@pytest.mark.parametrize("count", [0, 1, 2, 3, 50])
@pytest.mark.parametrize("end", [b"\n", b""], ids=["with a line break at the end", "without"])
def test_a_line_is_found_by_its_hash_and_no_other(tmp_path, count, end):
    hashes = sorted(node(f"p{number}")["hash"] for number in range(count))
    lines = [b'{"hash":"%s","of":"%s"}' % (h.encode(), b"x" * (number % 7)) for number, h in enumerate(hashes)]
    path = tmp_path / "table"
    path.write_bytes(b"\n".join(lines) + (end if lines else b""))
    assert [line_of_hash(str(path), h) for h in hashes] == lines
    absent = ["a" * 32, "7" * 32, node("absent")["hash"], hashes[0][:31] if hashes else ""]
    assert [line_of_hash(str(path), h) for h in absent] == [None] * 4


def test_what_a_policy_has_hidden_is_no_package_of_a_kept_index_either(cache, store):
    """Our document still names it."""
    push_package(store, [node("hidden")])
    update_index(store)
    found = fetch_index(store)
    document = json.loads(found.data)
    document["database"]["installs"][node("hidden")["hash"]]["in_buildcache"] = False
    filtered = replace(found, database=canonical_json(document), digest="sha256:1", is_filtered=True, hides=True)
    cache.keep(store.url, filtered)
    for index in (filtered, cache.load(store.url).index):
        cached = {one.spec["name"]: one.is_cached for one in index.nodes()}
        assert cached["p-2"] and not cached["hidden"]
        assert all(one.package is None for one in index.nodes() if not one.is_cached)


@pytest.mark.parametrize("suffix", [".zst", ".table", ".names"])
def test_an_index_of_which_a_file_is_gone_is_fetched_again_though_it_did_not_change(cache, store, tmp_path, suffix):
    load(cache, store)
    (path,) = (tmp_path / "indexes").glob(f"*/*{suffix}")
    path.unlink()
    refresh_index(cache, store.url, store)
    assert path.exists() and cache.lookup(store.url, chain("p", 3)[0]["hash"]) is not None
