# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""A signed index that somebody without the key turns back, exchanges, cuts, or tells lies in."""

import contextlib
import json
import os
from dataclasses import replace

import pytest
from spack_oci.content import put_bytes
from spack_oci.errors import BadSignature, InvalidContent, NotFound, StaleIndex, TimedOut
from spack_oci.index.frames import compress, decompress
from spack_oci.index.model import PackageIndex
from spack_oci.index.publish import (
    DATABASE_TAG,
    DOCUMENT_TAG,
    DOCUMENT_TYPE,
    publish,
    read_document,
    read_document_manifest,
)
from spack_oci.index.update.loop import UpdateSettings, update_index
from spack_oci.operations.trust.generations import Generations
from spack_oci.operations.trust.index_signing import IndexSigning
from spack_oci.trust.policy import Policy
from spack_oci.trust.statement import parse_statement
from support.memory_store import MemoryStore
from unit.operations.signed_caches import FIRST, POLICY, SECOND, Client, edited, package, sign, table
from unit.trust.cases import signer


@pytest.fixture
def store():
    return MemoryStore("oci://registry.example/team/cache")


@pytest.fixture
def client(store, tmp_path):
    return Client(store, tmp_path / "client")


# -- what a registry may do ------------------------------------------------------------------------------------------


def turned_back(store, what):
    """The tags of the index as they were before ``what()``."""
    before = {tag: store.tagged[tag] for tag in (DATABASE_TAG, DOCUMENT_TAG)}
    what()
    store.tagged.update(before)


def test_an_older_index_is_refused_until_it_is_accepted(store, client):
    first = package(store)
    sign(store, [first], at=1_800_000_000)

    def later():
        sign(store, [package(store, "other", SECOND)], at=1_800_000_100)
        assert client.offered() == {FIRST, SECOND}

    turned_back(store, later)
    with pytest.raises(StaleIndex, match="older than one that was there before.*spack oci trust accept-older"):
        client.refresh()
    assert client.trusted.accept_older()
    assert client.offered() == {FIRST}


def test_an_older_index_is_not_signed_again_by_who_has_seen_a_newer_one(store, tmp_path):
    generations = Generations(str(tmp_path))
    sign(store, [package(store)], at=1_800_000_000)
    turned_back(store, lambda: sign(store, [package(store, "other", SECOND)], at=1_800_000_100))
    generations.saw("registry.example/team/cache", 1_800_000_100)
    with pytest.raises(StaleIndex, match="not signed again"):
        sign(store, [package(store, "third", "c" * 32)], generations=generations)


def test_a_generation_that_no_key_has_signed_is_not_made_one_that_all_remember(store):
    """Who may push could have had the owner of the key sign a number that no later index ever reaches."""
    sign(store, [package(store)], at=1_800_000_000)

    def claim(manifest):
        name = "org.spack-oci.index.statement"
        manifest["annotations"][name] = manifest["annotations"][name].replace("1800000000,", "18000000000000,", 1)

    edited(store, claim)
    said = []
    sign(store, [], at=1_800_000_100, warn=said.append)
    assert parse_statement(read_document_manifest(store).statement).generation == 1_800_000_100
    assert "claims a generation of the future" in said[0]


def test_a_generation_of_the_future_that_the_key_itself_has_signed_is_kept_ahead_of(store):
    sign(store, [package(store)], at=1_900_000_000)
    sign(store, [package(store, "other", SECOND)], at=1_800_000_000)
    assert parse_statement(read_document_manifest(store).statement).generation == 1_900_000_001


def test_an_index_that_lost_its_signature_is_signed_by_who_compares_it_with_the_packages_only(store, tmp_path):
    generations = Generations(str(tmp_path))
    sign(store, [package(store)], at=1_800_000_000)
    generations.saw("registry.example/team/cache", 1_800_000_000)
    package(store, "other", SECOND)
    update_index(store)
    with pytest.raises(StaleIndex, match="not signed any more.*spack oci sign"):
        sign(store, [], generations=generations)
    # the same second, so the time alone would not make it newer
    signing = IndexSigning(store, (), signer("team"), generations, now=lambda: 1_800_000_000, renew=True)
    update_index(store, UpdateSettings(signatures=signing))
    statement = parse_statement(read_document_manifest(store).statement)
    assert statement.generation == 1_800_000_001


def test_an_index_that_is_not_signed_any_more_is_refused(store, client):
    tag = package(store)
    sign(store, [tag])
    assert client.offered() == {FIRST}
    package(store, "other", SECOND)
    update_index(store)
    with pytest.raises(StaleIndex, match="not signed any more"):
        client.refresh()
    store.delete_manifest(DOCUMENT_TAG)
    with pytest.raises(StaleIndex, match="not signed any more"):
        client.refresh()


STATEMENT = "org.spack-oci.index.statement"


def another_repository(manifest):
    notes = manifest["annotations"]
    notes[STATEMENT] = notes[STATEMENT].replace("team/cache", "team/dev")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m["layers"].pop(2), "layers were exchanged or removed"),
        (lambda m: m["layers"].reverse(), "media type|exchanged"),
        (another_repository, "signed, but not by team"),
        (lambda m: m["annotations"].update({STATEMENT: "{}"}), "signed, but not by team"),
        (lambda m: m["annotations"].update({f"{STATEMENT}.signature": "!"}), "signed, but not by team"),
        (lambda m: m["annotations"].update({f"{STATEMENT}.signature": ""}), "signed, but not by team"),
    ],
)
def test_an_index_that_was_edited_is_refused(store, client, change, message):
    sign(store, [package(store)])
    edited(store, change)
    with pytest.raises(Exception, match=message):
        client.refresh()


def test_the_signatures_of_another_index_are_refused(store, client):
    sign(store, [package(store)])
    old = json.loads(store.get_manifest(DOCUMENT_TAG)[1])
    sign(store, [package(store, "other", SECOND)], at=1_800_000_100)
    edited(store, lambda m: m["layers"].__setitem__(2, old["layers"][2]))
    with pytest.raises(BadSignature, match="exchanged or removed"):
        client.refresh()


def layer_of_signatures(store, manifest=None):
    manifest = manifest or json.loads(store.get_manifest(DOCUMENT_TAG)[1])
    (layer,) = [one for one in manifest["layers"] if "signatures" in one["mediaType"]]
    return layer


@pytest.mark.parametrize("is_signed", [True, False])
def test_a_layer_of_signatures_of_a_gigabyte_is_not_downloaded(store, client, is_signed):
    tags = [package(store)]
    sign(store, tags)

    def change(manifest):
        layer_of_signatures(store, manifest)["size"] = 1 << 30
        if not is_signed:
            manifest["annotations"] = {k: v for k, v in manifest["annotations"].items() if "statement" not in k}

    edited(store, change)
    store.reset()
    with pytest.raises(InvalidContent, match="1073741824 bytes"):
        client.refresh()
    read = [digest for verb, digest in store.log if verb == "open_blob"]
    assert not [digest for digest in read if digest == layer_of_signatures(store)["digest"]]


def test_the_index_of_another_repository_is_refused(client, store):
    other = MemoryStore("oci://registry.example/team/dev")
    sign(other, [package(other)])
    store.blobs, store.manifests, store.tagged = other.blobs, other.manifests, other.tagged
    with pytest.raises(BadSignature, match="that of another repository, registry.example/team/dev"):
        client.refresh()


def test_max_age(store, tmp_path):
    tag = package(store)
    sign(store, [tag], at=1_800_000_000)
    policy = replace(POLICY, max_age=86400)
    assert Client(store, tmp_path / "1", policy, now=1_800_000_000 + 86400).offered() == {FIRST}
    with pytest.raises(StaleIndex, match="signed 25 hours ago, and max_age of the policy is 24 hours"):
        Client(store, tmp_path / "2", policy, now=1_800_000_000 + 90000).refresh()
    package(store, "other", SECOND)
    update_index(store)
    with pytest.raises(StaleIndex, match="not signed, so nobody knows how old it is"):
        Client(store, tmp_path / "3", policy).refresh()


def test_a_registry_that_does_not_answer_cannot_hold_back_an_index_for_longer_than_max_age(store, tmp_path):
    sign(store, [package(store)], at=1_800_000_000)
    policy = replace(POLICY, max_age=86400)
    Client(store, tmp_path / "1", policy).offered()
    down = MemoryStore(store.url)
    down.get_manifest = no_answer
    for seconds, policy_then, error in (
        (86400, policy, TimedOut),
        (86401, policy, StaleIndex),
        (86401, replace(POLICY, max_age=None), TimedOut),
        (86401, replace(policy, mode="warn"), TimedOut),
    ):
        client = Client(down, tmp_path / "1", policy_then, now=1_800_000_000 + seconds)
        with pytest.raises(error):
            client.refresh()
    with pytest.raises(StaleIndex, match="none was seen before"):
        Client(down, tmp_path / "2", policy).refresh()


def no_answer(reference):
    raise TimedOut("no answer")


def lie_in_the_index(store, old, new):
    """About the package with the hash FIRST: somebody without a key writes an index of his own."""
    manifest = read_document_manifest(store)
    lines = [
        line.replace(old.encode(), new.encode()) if FIRST.encode() in line else line
        for line in decompress(read_document(store, manifest))
    ]
    lie = put_bytes(store, b"".join(compress(lines)), DOCUMENT_TYPE)

    def exchange(document):
        document["layers"][0] = lie.to_dict()
        document["layers"].pop(1)  # the table of its frames
        document["annotations"].pop(STATEMENT, None)
        document["annotations"].pop(f"{STATEMENT}.signature", None)

    edited(store, exchange)


def test_an_index_that_lies_about_a_layer_is_not_believed(store, client):
    """Without a signature of its own, the index may be anybody's; the signatures of packages hold all the same."""
    good, evil = package(store), package(store, "evil", SECOND)
    sign(store, [good])
    good_layer, evil_layer = (json.loads(store.get_manifest(tag)[1])["layers"][0] for tag in (good, evil))
    lie_in_the_index(store, good_layer["digest"], evil_layer["digest"])
    client.refresh()
    assert client.fetch(good) == good_layer["digest"]  # the tag was read, whose signature is good


@pytest.mark.parametrize("index", ["none", "ours"])
def test_a_signed_build_is_not_taken_for_another_version_whatever_is_said_of_its_hash(store, client, index):
    """An old build under the tag of a new one that does not exist, and for who has seen no signed index yet, an index
    that says so."""
    sign(store, [package(store)])
    newest = f"zlib-9.9-{FIRST}.spack"
    store.tagged[newest] = store.tagged[f"zlib-1.3-{FIRST}.spack"]
    if index == "ours":
        lines = decompress(read_document(store, read_document_manifest(store)))
        forged = PackageIndex.from_lines([line.replace(b"1.3", b"9.9") for line in lines])
        publish(store, forged, table(store))
        assert client.offered() == {FIRST}
    with pytest.raises(BadSignature, match=f"has as {newest} is zlib@1.3"):
        client.fetch(newest)


def test_warn_says_what_is_wrong_and_offers_everything(store, tmp_path):
    first, _ = package(store), package(store, "other", SECOND)
    sign(store, [first])
    client = Client(store, tmp_path, Policy("warn", (signer("second").public,)))
    assert client.offered() == {FIRST, SECOND}
    assert "signed, but not by second" in client.said[0]
    assert client.fetch(first)
    assert "zlib-1.3/aaaaaaa" in client.said[-1]


def test_an_index_that_was_there_and_is_gone_is_refused(store, client):
    """Else a registry could drop what is signed, and offer what is not."""
    sign(store, [package(store)])
    client.refresh()
    for tag in (DOCUMENT_TAG, DATABASE_TAG):
        del store.tagged[tag]
    with pytest.raises(StaleIndex, match="not signed any more.*accept-older"):
        client.refresh()


def test_no_index_is_no_index(client):
    with pytest.raises(NotFound):
        client.refresh()


def test_of_two_that_have_seen_an_index_the_newer_is_remembered(tmp_path, monkeypatch):
    """Else whoever wrote last could be shown the older one again."""
    generations, look = Generations(str(tmp_path)), Generations.newest
    generations.saw("r", 5)

    def newest(self, repository):
        found = look(self, repository)
        if self is generations:
            Generations(str(tmp_path)).saw("r", 7)  # between looking and writing
        return found

    with monkeypatch.context() as patched:
        patched.setattr(Generations, "newest", newest)
        patched.setattr("spack_oci.operations.trust.generations.locked_if_possible", _unlocked)
        generations.saw("r", 6)
    assert generations.newest("r") == 7


@contextlib.contextmanager
def _unlocked(descriptor):
    """In one process, the other one would wait for ever."""
    os.close(descriptor)
    yield
