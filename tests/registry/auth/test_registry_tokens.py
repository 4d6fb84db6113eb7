# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""A real token server in front of a real docker-registry: a user who may push, one who may only pull, and nobody."""

import contextlib
import os
import time

import pytest
from spack_oci.content import BytesSource, put_bytes, read_blob
from spack_oci.descriptor import OCI_LAYER, OCI_MANIFEST, Descriptor, canonical_json
from spack_oci.errors import Unauthorized
from spack_oci.reference import Repository
from spack_oci.registry import Credentials, RegistrySettings, StaticCredentials, UploadPolicy, open_repository
from support.registries.docker_registry import docker_registry
from support.registries.token_server import USERS, token_server

pytestmark = pytest.mark.registry

CONTENT = b"content that both may read"


@contextlib.contextmanager
def behind_tokens(directory, lifetime):
    with token_server(directory, lifetime) as tokens:  # noqa: SIM117 - the second needs the first
        with docker_registry(auth="token", token=tokens.registry_options()) as registry:
            yield tokens, registry


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    directory = tmp_path_factory.mktemp("tokens")
    with behind_tokens(directory, lifetime=60) as both:
        yield both


def store_as(servers, user, name="test/tokens", credentials=None, **kwargs):
    if credentials is None and user:
        credentials = Credentials(user, USERS[user][0])
    sources = [StaticCredentials(servers[1].host, credentials, f"{user}'s file")] if credentials else []
    return open_repository(Repository(servers[1].host, name, "http"), RegistrySettings(sources, **kwargs))


def test_push_and_pull(servers):
    tokens, _ = servers
    store = store_as(servers, "pusher", "test/first")
    before = len(tokens.granted)
    descriptor = put_bytes(store, CONTENT, OCI_LAYER)
    manifest = canonical_json({"schemaVersion": 2, "config": descriptor.to_dict(), "layers": [descriptor.to_dict()]})
    pushed = store.put_manifest(manifest, OCI_MANIFEST, "1")
    assert store.get_manifest("1") == (pushed, manifest)
    assert read_blob(store, descriptor) == CONTENT
    # one token to look, one to push, however many requests
    assert tokens.granted[before:] == [
        ("pusher", ("repository:test/first:pull",)),
        ("pusher", ("repository:test/first:pull,push",)),
    ]
    store.delete_manifest(pushed.digest)
    assert tokens.granted[-1] == ("pusher", ("repository:test/first:pull,push,delete",))


def test_who_may_only_pull(servers):
    descriptor = put_bytes(store_as(servers, "pusher"), CONTENT, OCI_LAYER)
    store = store_as(servers, "puller")
    assert read_blob(store, descriptor) == CONTENT
    with pytest.raises(Unauthorized, match="puller's file") as error:
        store.put_blob(Descriptor.of(b"x", OCI_LAYER), BytesSource(b"x"))
    assert "the token is good, but may only read" in str(error.value)


def test_nobody(servers):
    with pytest.raises(Unauthorized, match="anonymous"):
        store_as(servers, "").has_blob(Descriptor.of(CONTENT, OCI_LAYER).digest)


def test_wrong_password(servers):
    wrong = Credentials("pusher", "not-it-at-all")
    with pytest.raises(Unauthorized, match="token server") as error:
        store_as(servers, "pusher", credentials=wrong).has_blob(Descriptor.of(CONTENT, OCI_LAYER).digest)
    assert "not-it-at-all" not in str(error.value)
    assert "has expired: correct them where they come from (a `spack oci login` counts only" in str(error.value)


def test_identity_token(servers):
    store = store_as(servers, "pusher", "test/identity", Credentials(identity_token="refresh-pusher"))
    descriptor = put_bytes(store, CONTENT, OCI_LAYER)
    assert read_blob(store, descriptor) == CONTENT
    with pytest.raises(Unauthorized, match="token server"):
        store_as(servers, "pusher", credentials=Credentials(identity_token="refresh-x")).has_blob(descriptor.digest)


def test_mount_asks_for_the_source_too(servers):
    tokens, _ = servers
    descriptor = put_bytes(store_as(servers, "pusher", "test/source"), CONTENT, OCI_LAYER)
    target = store_as(servers, "pusher", "test/target")
    assert target.mount_blob(descriptor, "test/source")
    assert tokens.granted[-1] == ("pusher", ("repository:test/source:pull", "repository:test/target:pull,push"))


def test_tokens_that_expire_during_an_upload(tmp_path):
    """Tokens of two seconds: many pieces, so that some meet an expired token."""
    with behind_tokens(tmp_path, lifetime=2) as (tokens, registry):
        policy = UploadPolicy(monolithic=False, chunk_size=1 << 20)
        store = store_as((tokens, registry), "pusher", upload=policy)
        data = os.urandom(4 << 20)
        descriptor = Descriptor.of(data, OCI_LAYER)

        class Slow(BytesSource):
            def open(self):
                time.sleep(1.0)  # between the header's making and the body
                return super().open()

        assert store.put_blob(descriptor, Slow(data))
        assert read_blob(store, descriptor) == data
        assert len(tokens.granted) >= 3
