# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Every verb of the content store, against docker-registry and against the fault-injecting registry of the tests.

The same tests for both: what they agree on, the fault tests may rely on. And against any other registry that runs
somewhere, empty and without credentials: SPACK_OCI_TEST_REGISTRY=http://HOST:PORT.
"""

import contextlib
import json
import os
import types

import pytest
from spack_oci.content import BytesSource, FileSource, put_bytes, read_blob
from spack_oci.descriptor import OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST, Descriptor, canonical_json
from spack_oci.errors import NotFound, TLSFailure, Unauthorized, UnexpectedResponse, Unreachable
from spack_oci.reference import Repository
from spack_oci.registry import (
    Credentials,
    RegistrySettings,
    RetryPolicy,
    StaticCredentials,
    UploadPolicy,
    open_repository,
)
from support.network.relay import relay
from support.registries.docker_registry import PASSWORD, USER, docker_registry
from support.registries.fault_registry import fault_registry


@contextlib.contextmanager
def other_registry():
    """The one that the caller named."""
    scheme, _, host = os.environ["SPACK_OCI_TEST_REGISTRY"].partition("://")
    yield types.SimpleNamespace(host=host, scheme=scheme, ca=None, requests=None)


REGISTRIES = {
    "docker-open": lambda: docker_registry(),
    "docker-htpasswd": lambda: docker_registry(auth="htpasswd"),
    "docker-tls": lambda: docker_registry(tls=True),
    "fault-open": lambda: fault_registry(referrers=False),
    "fault-basic-tls": lambda: fault_registry(referrers=False, auth="basic", tls=True),
    "fault-bearer": lambda: fault_registry(referrers=False, auth="bearer"),
    **({"other-open": other_registry} if os.environ.get("SPACK_OCI_TEST_REGISTRY") else {}),
}


@pytest.fixture(
    scope="module",
    params=[pytest.param(n, marks=pytest.mark.registry if n.startswith("docker") else ()) for n in REGISTRIES],
)
def registry(request):
    with REGISTRIES[request.param]() as r:
        r.asks_for_password = not request.param.endswith(("-open", "docker-tls"))
        r.is_known = not request.param.startswith("other")
        yield r


def settings_for(registry, **kwargs):
    credentials = Credentials(USER, PASSWORD, origin="the test")
    return RegistrySettings(
        credentials=[StaticCredentials(registry.host, credentials)], ca_bundle=registry.ca, **kwargs
    )


@pytest.fixture
def store(registry, request):
    name = "test/" + request.node.name.partition("[")[0].replace("_", "-")
    with open_repository(Repository(registry.host, name, registry.scheme), settings_for(registry)) as s:
        yield s


def push_image(store, tag=None, text="hello", **extra):
    config = put_bytes(store, canonical_json({"os": "linux", "text": text}), OCI_CONFIG)
    layer = put_bytes(store, text.encode(), OCI_LAYER)
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": config.to_dict(),
        "layers": [layer.to_dict()],
        **extra,
    }
    data = canonical_json(manifest)
    return store.put_manifest(data, OCI_MANIFEST, tag), data, layer


def test_image_round_trip(store):
    pushed, data, layer = push_image(store, "1.0")
    assert store.resolve("1.0") == pushed
    assert store.resolve(pushed.digest) == pushed
    assert store.get_manifest("1.0") == (pushed, data)
    assert store.get_manifest(pushed.digest) == (pushed, data)
    assert store.has_blob(layer.digest)
    assert read_blob(store, layer) == b"hello"


def test_what_is_not_there(store):
    missing = Descriptor.of(b"not there", OCI_LAYER)
    assert not store.has_blob(missing.digest)
    assert list(store.tags()) == []
    assert store.referrers(missing.digest) == []
    for call in (
        lambda: store.resolve("nothing"),
        lambda: store.get_manifest("nothing"),
        lambda: store.get_manifest(missing.digest),
        lambda: store.open_blob(missing),
        lambda: store.delete_manifest(missing.digest),
    ):
        with pytest.raises(NotFound):
            call()


@pytest.mark.parametrize("size", [0, 1, 3 << 20])
def test_blob_is_sent_once(store, tmp_path, size):
    path = tmp_path / "blob"
    path.write_bytes(os.urandom(size))
    descriptor = Descriptor.of(path.read_bytes(), OCI_LAYER)
    moved = []
    # nothing at all, somebody else may have sent
    is_new = not store.has_blob(descriptor.digest)
    assert is_new or not size
    assert store.put_blob(descriptor, FileSource(str(path)), moved.append) == is_new
    assert sum(moved) == size
    assert not store.put_blob(descriptor, FileSource(str(path)), moved.append)
    with store.open_blob(descriptor) as reader:
        assert reader.read() == path.read_bytes()


def test_blob_in_pieces(registry):
    settings = settings_for(registry, upload=UploadPolicy(monolithic=False, chunk_size=1 << 20))
    store = open_repository(Repository(registry.host, "test/pieces", registry.scheme), settings)
    data = os.urandom((3 << 20) + 17)
    descriptor = Descriptor.of(data, OCI_LAYER)
    before = len(registry.requests()) if registry.is_known else 0
    assert store.put_blob(descriptor, BytesSource(data))
    assert read_blob(store, descriptor) == data
    if not registry.is_known:
        return
    methods = [r.split()[0] for r in registry.requests()[before:] if not r.endswith(" 401") and "/token" not in r]
    assert methods == ["HEAD", "POST", "PATCH", "PATCH", "PATCH", "PATCH", "PUT", "GET"]


def test_mount(registry, store):
    _, _, layer = push_image(store, "1")
    other = open_repository(Repository(registry.host, "test/mounted", registry.scheme), settings_for(registry))
    # an unknown one may open an upload instead, and so it may have the blob for all of its repositories
    assert other.mount_blob(layer, store.repository.name) or not registry.is_known
    if not registry.is_known:
        other.put_blob(layer, BytesSource(b"hello"))
    assert other.has_blob(layer.digest)
    missing = Descriptor.of(b"nowhere", OCI_LAYER)
    assert not other.mount_blob(missing, store.repository.name)
    assert other.put_blob(missing, BytesSource(b"nowhere"))


def test_tags(store):
    for n in range(5):
        push_image(store, f"t{n}")
    assert sorted(store.tags()) == [f"t{n}" for n in range(5)]


def test_delete(registry, store):
    first, _, _ = push_image(store, "one", "one")
    push_image(store, "two", "two")
    if registry.is_known:  # and knows no deletion of tags
        with pytest.raises(UnexpectedResponse, match="deleting .*:one"):
            store.delete_manifest("one")
    store.delete_manifest(first.digest)
    if not registry.is_known:  # crane leaves the tag
        return
    with pytest.raises(NotFound):
        store.resolve("one")
    assert list(store.tags()) == ["two"]


def test_referrers_through_the_fallback_tag(registry, store):
    subject, _, _ = push_image(store, "subject")
    kind = "application/vnd.example.sbom"
    first, _, _ = push_image(store, text="a", subject=subject.to_dict(), artifactType=kind)
    second, _, _ = push_image(store, text="b", subject=subject.to_dict(), annotations={"k": "v"})
    found = store.referrers(subject.digest)
    assert {d.digest for d in found} == {first.digest, second.digest}
    if not registry.is_known:  # it may have the API, need no tag, and tell less (crane: no annotations, other types)
        return
    assert store.referrers(subject.digest, kind) == [first]
    assert [d.digest for d in found] == [first.digest, second.digest]
    assert found[1].annotations == {"k": "v"}
    tag = subject.digest.replace(":", "-")
    descriptor, data = store.get_manifest(tag)
    assert descriptor.media_type == OCI_INDEX and len(json.loads(data)["manifests"]) == 2


def test_wrong_password(registry):
    if not registry.asks_for_password:
        pytest.skip("this registry asks for no password")
    wrong = StaticCredentials(registry.host, Credentials(USER, "wr0ng-secret"), "the test's settings")
    repository = Repository(registry.host, "test/x", registry.scheme)
    with pytest.raises(Unauthorized) as error:
        open_repository(repository, RegistrySettings(credentials=[wrong], ca_bundle=registry.ca)).resolve("x")
    assert "the test's settings" in str(error.value) and "wr0ng-secret" not in str(error.value)
    with pytest.raises(Unauthorized, match="anonymous.*spack oci login"):
        open_repository(repository, RegistrySettings(ca_bundle=registry.ca)).resolve("x")


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_unknown_certificate(registry):
    if not registry.ca:
        pytest.skip("this registry speaks no TLS")
    repository = Repository(registry.host, "test/x")
    with pytest.raises(TLSFailure, match="certificate"):
        open_repository(repository).resolve("x")
    with pytest.raises((NotFound, Unauthorized)):
        open_repository(repository, RegistrySettings(verify_tls=False)).resolve("x")


def test_nobody_there():
    with pytest.raises(Unreachable, match="no connection"):
        open_repository(Repository("127.0.0.1:1", "x/y", "http")).resolve("x")


@pytest.mark.parametrize("monolithic", [True, False])
def test_upload_whose_connection_is_cut(registry, monolithic):
    """Twice, in the middle of a body; what each kind of registry keeps of it, and what it then accepts, is its own."""
    if registry.ca:
        pytest.skip("the same as without TLS")
    data = os.urandom(5 << 20)
    descriptor = Descriptor.of(data, OCI_LAYER)
    with relay(registry.host, cuts=[1 << 20, 3 << 20]) as address:
        credentials = StaticCredentials(address, Credentials(USER, PASSWORD))
        policy = UploadPolicy(monolithic=monolithic, chunk_size=2 << 20)
        retry = RetryPolicy(base=0.01)
        store = open_repository(
            Repository(address, f"test/cut-{monolithic}".lower(), "http"),
            RegistrySettings([credentials], upload=policy, retry=retry),
        )
        moved = []
        assert store.put_blob(descriptor, BytesSource(data), moved.append)
        assert sum(moved) == len(data)
        with store.open_blob(descriptor) as reader:
            assert reader.read() == data
