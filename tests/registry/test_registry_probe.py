# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What the doctor says about registries of every kind, and that it leaves nothing behind."""

import base64
import contextlib
import email.utils
import json
import time

import pytest
from spack_oci.content import put_bytes
from spack_oci.descriptor import OCI_CONFIG, OCI_LAYER, OCI_MANIFEST, canonical_json
from spack_oci.reference import Repository
from spack_oci.registry import Credentials, RegistrySettings, RetryPolicy, StaticCredentials, open_repository
from spack_oci.registry.probe import FAIL, OK, SKIP, WARN, probe_repository, token_actions, worst
from support.docker_registry import docker_registry
from support.fault_registry import Fault, fault_registry
from support.token_server import USERS, token_server

NAME = "test/doctor"
ALL = ["url", "network", "tls", "clock", "tags", "credentials", "scopes", "push"] + ["chunked upload"]
ALL += ["mount", "ranges", "referrers", "delete"]


ALICE = Credentials("alice", "correct-horse-battery")


def store_at(registry, credentials=ALICE, **kwargs):
    sources = [StaticCredentials(registry.host, credentials, "the test's file")] if credentials else []
    settings = RegistrySettings(sources, ca_bundle=registry.ca, retry=RetryPolicy(attempts=1), **kwargs)
    return open_repository(Repository(registry.host, NAME, registry.scheme), settings)


def fill(store):
    layer = put_bytes(store, b"layer", OCI_LAYER)
    config = put_bytes(store, b"{}", OCI_CONFIG)
    manifest = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config.to_dict(), "layers": [layer.to_dict()]}
    store.put_manifest(canonical_json(manifest), OCI_MANIFEST, "zlib-1.3.1-abc.spack")
    store.put_manifest(canonical_json(manifest), OCI_MANIFEST, "index.spack")


def probe(store, **kwargs):
    return {c.name: (c.status, c.detail) for c in probe_repository(store, **kwargs)}


def test_registry_that_can_everything():
    with fault_registry(auth="bearer", tls=True) as registry:
        store = store_at(registry)
        fill(store)
        before = str(registry.repositories)
        checks = probe_repository(store)
        found = {c.name: (c.status, c.detail) for c in checks}
        assert list(found) == ALL
        assert worst(checks) == OK
        assert found["tags"] == (OK, "2, of which 1 are packages")
        assert found["credentials"] == (OK, "user alice, from the test's file")
        assert "TLSv1" in found["tls"][1] and "good for 29 days" in found["tls"][1]
        assert str(registry.repositories) == before and registry.uploads == {}
        assert not any("correct-horse" in str(c) for c in checks)
        assert all(json.dumps(c.to_dict()) for c in checks)


def test_registry_that_can_little():
    kwargs = {"mounts": False, "referrers": False}
    faults = [Fault("PATCH", status=405), Fault("DELETE", "/manifests/", status=405)]
    with fault_registry(*faults, **kwargs) as registry:
        store = store_at(registry, None)
        fill(store)
        registry.faults.append(Fault("GET", "/blobs/", ignore_range=True))
        found = probe(store)
        assert {n for n, (status, _) in found.items() if status == WARN} == {
            *["url", "chunked upload", "mount", "ranges", "delete"]
        }
        assert "none, requests are anonymous" in found["credentials"][1]
        assert "the registry asks for nothing" in found["scopes"][1]
        assert registry.uploads == {}


def test_empty_repository():
    with fault_registry() as registry:
        found = probe(store_at(registry))
        assert found["tags"][1].startswith("none") and found["mount"][0] == found["ranges"][0] == SKIP


@pytest.mark.parametrize("auth", ["basic", "bearer"])
def test_user_who_may_only_pull(auth):
    with fault_registry(auth=auth, users={"alice": ("correct-horse-battery", "pull")}) as registry:
        found = probe(store_at(registry))
        assert (found["push"][0], found["delete"][0]) == (FAIL, WARN), found
        assert probe(store_at(registry), push=False)["push"][0] == OK


def test_wrong_password():
    with fault_registry(auth="basic") as registry:
        checks = probe_repository(store_at(registry, Credentials("alice", "wr0ng")))
        assert worst(checks) == FAIL and not any("wr0ng" in c.detail for c in checks)
        assert "the test's file" in {c.name: c.detail for c in checks}["tags"]


def test_clock():
    for ahead, word in ((600, "behind"), (-600, "ahead of")):
        date = {"Date": email.utils.formatdate(time.time() + ahead, usegmt=True)}
        with fault_registry(Fault("GET", "/v2/", status=200, headers=date)) as registry:
            status, detail = probe(store_at(registry))["clock"]
            assert status == WARN and word in detail


@pytest.mark.parametrize(
    "url, name", [(("no-such-host.invalid", "https"), "network"), (("127.0.0.1:1", "https"), "tls")]
)
def test_nobody_there(url, name):
    host, scheme = url
    checks = probe_repository(open_repository(Repository(host, NAME, scheme), RegistrySettings()))
    assert checks[-1].name == name and checks[-1].status == FAIL


def test_unknown_certificate():
    with fault_registry(tls=True) as registry:
        checks = probe_repository(open_repository(Repository(registry.host, NAME), RegistrySettings()))
        assert checks[-1].name == "tls" and checks[-1].status == FAIL and "certificate" in checks[-1].detail
        found = probe(open_repository(Repository(registry.host, NAME), RegistrySettings(verify_tls=False)))
        assert found["tls"][0] == WARN and "not verified" in found["tls"][1]


def test_registry_in_trouble():
    with fault_registry(Fault("*", status=500, times=99)) as registry:
        assert worst(probe_repository(store_at(registry))) == FAIL


def test_actions_of_tokens():
    def token(claims):
        return f"e30.{base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip('=')}.sig"

    access = [
        {"type": "repository", "name": "a", "actions": ["pull"]},
        {"type": "repository", "name": "a", "actions": ["push"]},
    ]
    assert token_actions(token({"access": access}), "a") == {"pull", "push"}
    assert token_actions(token({"access": access}), "b") == frozenset()
    assert token_actions(token({}), "a") == frozenset()
    for junk in ("opaque", "a.b", "a.!!.c", token([]), token({"access": ["x"]})):
        assert token_actions(junk, "a") is None


@pytest.mark.registry
@pytest.mark.parametrize("user", ["pusher", "puller"])
def test_docker_registry_with_tokens(user, tmp_path):
    with contextlib.ExitStack() as stack:
        tokens = stack.enter_context(token_server(tmp_path))
        registry = stack.enter_context(docker_registry(auth="token", token=tokens.registry_options()))
        fill(store_at(registry, Credentials("pusher", USERS["pusher"][0])))
        found = probe(store_at(registry, Credentials(user, USERS[user][0])))
        if user == "pusher":
            assert found["scopes"] == (OK, f"the token carries pull, push, delete for {NAME}")
            assert {n for n, (s, _) in found.items() if s != OK} == {"url"}
        else:
            assert found["scopes"] == (FAIL, f"the token carries pull for {NAME}")
            assert (found["push"][0], found["delete"][0]) == (FAIL, WARN), found
        # what a cancelled upload was sent; this registry leaves the empty directory behind
        assert list((registry.directory / "data").rglob("_uploads/*/data")) == []
