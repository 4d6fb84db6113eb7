# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Signatures in the index, and a signed index: read under a policy, turned back, exchanged, cut."""

import base64
import contextlib
import hashlib
import json
import os
from dataclasses import replace

import pytest
from spack_oci.content import put_bytes
from spack_oci.descriptor import OCI_CONFIG, OCI_LAYER_GZIP, OCI_MANIFEST, canonical_json, sha256_digest
from spack_oci.errors import BadSignature, InvalidContent, NotFound, StaleIndex, TimedOut
from spack_oci.index.frames import compress, decompress
from spack_oci.index.index_cache import IndexCache, refresh_index
from spack_oci.index.model import PackageIndex
from spack_oci.index.publish import (
    DATABASE_TAG,
    DOCUMENT_TAG,
    DOCUMENT_TYPE,
    publish,
    read_document,
    read_document_manifest,
    read_signatures,
    signature_table,
)
from spack_oci.index.read import NotModified
from spack_oci.index.update.loop import UpdateSettings, update_index
from spack_oci.operations.install.fetch import find_package
from spack_oci.operations.install.locate import fetch_package, is_proven
from spack_oci.operations.trust.generations import Generations
from spack_oci.operations.trust.guard import Guard, subject_of
from spack_oci.operations.trust.index_signing import IndexSigning
from spack_oci.operations.trust.sign import sign_packages
from spack_oci.operations.trust.stored import stored_signatures
from spack_oci.operations.trust.trusted_index import TrustedIndex
from spack_oci.operations.trust.write import SignatureWriter
from spack_oci.trust.policy import Policy
from spack_oci.trust.statement import parse_statement
from support.memory_store import MemoryStore
from unit.operations.test_signing import put_signatures
from unit.trust.cases import signature_over, signer

POLICY = Policy("require", (signer("team").public,))
FIRST, SECOND = "a" * 32, "b" * 32


@pytest.fixture
def store():
    return MemoryStore("oci://registry.example/team/cache")


def package(store, name="zlib", dag_hash=FIRST, note=""):
    layer = put_bytes(store, f"layer of {name}{note}".encode(), OCI_LAYER_GZIP)
    node = {
        "name": name,
        "version": "1.3",
        "hash": dag_hash,
        "arch": {"platform": "linux", "platform_os": "debian12", "target": "x86_64"},
        "parameters": {},
    }
    config = {
        "spec": {"_meta": {"version": 5}, "nodes": [node]},
        "rootfs": {"diff_ids": [sha256_digest(name.encode())]},
        "buildcache_layout_version": 3,
    }
    manifest = {"config": put_bytes(store, canonical_json(config), OCI_CONFIG).to_dict(), "layers": [layer.to_dict()]}
    tag = f"{name}-1.3-{dag_hash}.spack"
    store.put_manifest(canonical_json(manifest), OCI_MANIFEST, tag)
    return tag


def hash_of(number):
    """32 characters as base32 has them."""
    return base64.b32encode(hashlib.sha256(b"%d" % number).digest()[:20]).decode().lower()


def sign(store, tags, by="team", at=1_800_000_000, generations=None, warn=lambda message: None):
    """Sign packages (if there are any) and the index."""
    outcomes = sign_packages(store, tags, signer(by))
    written = [o.written for o in outcomes]
    signing = IndexSigning(store, written, signer(by), generations, warn, now=lambda: at)
    return update_index(store, UpdateSettings(signatures=signing), compare_digests=False)


class Client:
    """A machine that installs."""

    def __init__(self, store, directory, policy=POLICY, now=1_800_000_000):
        self.store = store
        self.said = []
        self.generations = Generations(str(directory / "trust"))
        self.trusted = TrustedIndex(policy, store, self.generations, self.said.append, now=lambda: now)
        self.cache = IndexCache(str(directory / "indexes"), fetch=lambda url, *args: self.trusted.fetch(*args))
        self.policy = policy

    def refresh(self):
        return refresh_index(self.cache, self.store.url, self.store)

    def offered(self):
        """DAG hashes that the concretizer is offered."""
        found = self.refresh()
        if isinstance(found, NotModified):
            found = self.cache.load(self.store.url).index
        installs = json.loads(found.data)["database"]["installs"]
        return {h for h, install in installs.items() if install["in_buildcache"]}

    def fetch(self, tag, dag_hash=FIRST):
        guard = Guard(self.policy, self.store, self.said.append, self.cache)
        return fetch_package(self.store, tag, dag_hash, lambda r: r.layer.digest, self.cache, guard)[1]


@pytest.fixture
def client(store, tmp_path):
    return Client(store, tmp_path / "client")


def table(store):
    return signature_table(read_signatures(store, read_document_manifest(store)))


# -- what it costs ---------------------------------------------------------------------------------------------------


def test_an_install_under_a_policy_makes_the_requests_that_one_without_makes(store, tmp_path):
    tags = [package(store), package(store, "other", SECOND)]
    sign(store, tags)
    requests = {}
    for name, policy in (("with", POLICY), ("without", Policy())):
        client = Client(store, tmp_path / name, policy)
        if not policy.active:
            client.cache = IndexCache(str(tmp_path / name / "plain"))
        store.reset()
        client.refresh()
        for tag, dag_hash in zip(tags, (FIRST, SECOND)):
            client.fetch(tag, dag_hash)
        first = store.requests
        client.refresh()
        requests[name] = (first, store.requests - first)
    assert requests["with"] == requests["without"] == (4, 1)  # and the layers, which nobody fetches here


def test_what_the_index_proves_is_accepted_without_a_request_and_without_another_look(store, client, monkeypatch):
    tags = [package(store), package(store, "other", SECOND)]
    sign(store, tags[:1])
    client.refresh()
    guard = Guard(POLICY, store, index=client.cache)
    store.reset()
    proven = [is_proven(store, tag, h, client.cache, guard) for tag, h in zip(tags, (FIRST, SECOND))]
    assert proven == [True, False] and store.requests == 0
    monkeypatch.setattr(client.cache, "lookup_signatures", None)
    assert fetch_package(store, tags[0], FIRST, lambda r: r.tag, client.cache, guard)[1] == tags[0]
    assert store.requests == 0


def test_what_another_spack_may_have_pushed_again_is_not_proven(store, client, monkeypatch):
    tag = package(store)
    sign(store, [tag])
    client.refresh()
    monkeypatch.setattr(client.cache, "is_current", lambda url: False)
    assert not is_proven(store, tag, FIRST, client.cache, Guard(POLICY, store, index=client.cache))


def test_who_signs_a_package_with_an_sbom_later_and_knows_of_none_costs_no_request_more(store, tmp_path):
    """The line of the index has one SBOM, and its keys have signed with it or without it."""
    both = [signer(name).public for name in ("team", "other")]
    logs = {}
    for dag_hash, sbom in ((FIRST, None), (SECOND, sha256_digest(b"sbom"))):
        tag = package(store, dag_hash=dag_hash)
        subject = subject_of(find_package(store, tag))._replace(sbom=sbom)
        written = SignatureWriter(store, signer("team")).sign(subject, tag, fresh=True)
        update_index(store, UpdateSettings(signatures=IndexSigning(store, [written], signer("team"))))
        store.reset()
        sign(store, [tag], by="other")
        logs[dag_hash] = [verb for verb, _ in store.log]
        assert len(stored_signatures(store, subject.manifest)) == 2
        client = Client(store, tmp_path / dag_hash, Policy("require", tuple(both), threshold=2))
        client.refresh()
        store.reset()
        client.fetch(tag, dag_hash)
        assert not store.requests
    assert sorted(logs[FIRST]) == sorted(logs[SECOND])


def test_a_hash_is_looked_up_in_what_is_kept_as_without_a_policy_unless_packages_are_hidden(store, client):
    """Else Spack asks for the index once for each hash."""
    first, second = package(store, dag_hash=hash_of(1)), package(store, "other", hash_of(2))
    sign(store, [first])
    client.refresh()
    assert client.cache.packages_by_hash(store.url, hash_of(1)[:7]) is None
    sign(store, [first, second], at=1_800_000_100)
    client.refresh()
    assert list(client.cache.packages_by_hash(store.url, hash_of(1)[:7])) == [hash_of(1)]


def test_the_signatures_are_small(store):
    """Bytes for each package; and no word in it that could be made again."""
    tags = [package(store, f"p{n:03}", hash_of(n)) for n in range(100)]
    sign(store, tags)
    assert read_document_manifest(store).signatures.size < 100 * 160


# -- what is offered and used ----------------------------------------------------------------------------------------


def test_only_what_is_signed_is_offered_and_the_rest_is_counted(store, client):
    first, second = package(store), package(store, "other", SECOND)
    sign(store, [first])
    assert client.offered() == {FIRST}
    assert "1 build in oci://registry.example/team/cache cannot be used: not signed by team" in client.said
    assert client.fetch(first)
    sign(store, [second])
    assert client.offered() == {FIRST, SECOND}


def test_signatures_by_other_keys_are_not_offered_but_kept(store, client):
    tag = package(store)
    sign(store, [tag], by="stranger")
    with pytest.raises(BadSignature, match="index of .* is signed, but not by team"):
        client.refresh()
    sign(store, [tag])
    assert len(table(store)[FIRST].signatures) == 2
    assert client.offered() == {FIRST}


def test_a_threshold_is_a_number_of_keys(store, tmp_path):
    tag = package(store)
    sign(store, [tag])
    policy = Policy("require", (signer("team").public, signer("second").public), threshold=2)
    client = Client(store, tmp_path / "1", policy)
    assert client.offered() == set() and "not signed by 2 of team, second" in client.said[0]
    sign(store, [tag], by="second")
    client = Client(store, tmp_path / "2", policy)
    assert client.offered() == {FIRST}
    assert client.fetch(tag)


def test_what_cosign_signed_later_is_offered_when_the_index_was_updated(store, client):
    tag = package(store)
    sign(store, [])
    assert client.offered() == set()
    digest = store.resolve(tag).digest
    payload = {
        "critical": {
            "identity": {"docker-reference": "registry.example/team/cache"},
            "image": {"docker-manifest-digest": digest},
            "type": "cosign container image signature",
        },
        "optional": None,
    }
    put_signatures(store, digest, [signature_over(canonical_json(payload))])
    sign(store, [])
    assert client.offered() == {FIRST}
    assert client.fetch(tag)


@pytest.mark.parametrize(
    "optional",
    [
        {"org.spack-oci.key": "\ud800"},
        {"org.spack-oci.config.digest": "\ud800"},
        {"org.spack-oci.sbom.digest": "nonsense"},
        {"org.spack-oci.key": 7},
        {"org.spack-oci.key": "k" * 4096},
    ],
    ids=["half a pair", "half a pair as a digest", "no digest", "a number", "much"],
)
def test_one_odd_signature_takes_no_other_from_the_index(store, client, optional):
    """Whoever may push can put one there: the index of everybody could not be updated, or not be read, by that."""
    tags = [package(store), package(store, "other", SECOND)]
    subject = subject_of(find_package(store, tags[0]))
    document = json.loads(subject.payload("a key"))
    document["optional"].update(optional)
    odd = json.dumps(document, separators=(",", ":"), sort_keys=True)
    good = signature_over(subject.payload(signer("team").public.id), "team")
    put_signatures(store, subject.manifest, [signature_over(odd.encode(), "other"), good])
    sign(store, tags[1:])
    assert len(table(store)[FIRST].signatures) == 1
    assert client.offered() == {FIRST, SECOND}
    assert client.fetch(tags[0])


def test_a_package_that_was_pushed_again_without_a_signature_is_not_offered(store, client):
    tag = package(store)
    sign(store, [tag])
    assert client.offered() == {FIRST}
    package(store, note=" with other bytes")
    update_index(store, UpdateSettings(signatures=IndexSigning(store, signer=signer("team"), now=lambda: 1.9e9)))
    assert client.offered() == set()


def test_signatures_survive_who_updates_the_index_without_a_key(store):
    tag = package(store)
    sign(store, [tag])
    package(store, "other", SECOND)
    update_index(store)
    assert set(table(store)) == {FIRST}
    assert not read_document_manifest(store).statement


def test_who_updates_a_signed_index_without_a_key_is_told(store):
    sign(store, [package(store)])
    package(store, "other", SECOND)
    said = []
    update_index(store, UpdateSettings(signatures=IndexSigning(store, warn=said.append)))
    assert "was signed and is not any more" in said[0]


def test_nothing_is_written_when_all_is_signed(store):
    tag = package(store)
    sign(store, [tag])
    before = read_document_manifest(store)
    assert sign(store, [tag], at=1_900_000_000).writes == 0
    assert read_document_manifest(store) == before


def test_an_index_of_spack_alone_offers_what_has_signatures(store, client):
    first, _ = package(store), package(store, "other", SECOND)
    update_index(store)
    store.delete_manifest(DOCUMENT_TAG)
    sign_packages(store, [first], signer("team"))
    assert client.offered() == {FIRST}
    assert isinstance(client.refresh(), NotModified)


def test_a_change_of_the_policy_changes_what_is_offered(store, tmp_path):
    tag = package(store)
    sign(store, [tag])
    client = Client(store, tmp_path)
    assert client.offered() == {FIRST}
    other = Client(store, tmp_path, Policy("require", (signer("team").public, signer("second").public), threshold=2))
    assert other.offered() == set()
    plain = IndexCache(str(tmp_path / "indexes"))
    found = refresh_index(plain, store.url, store)
    assert not isinstance(found, NotModified)


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


def edited(store, change):
    """Somebody who has no key writes the index manifest."""
    manifest = json.loads(store.get_manifest(DOCUMENT_TAG)[1])
    change(manifest)
    store.put_manifest(canonical_json(manifest), OCI_MANIFEST, DOCUMENT_TAG)


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
