# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What the doctor says about registries of every kind, and that it leaves nothing behind."""

import base64
import contextlib
import email.utils
import json
import re
import time

import pytest
from spack_oci.content import put_bytes
from spack_oci.descriptor import OCI_CONFIG, OCI_LAYER, OCI_MANIFEST, canonical_json
from spack_oci.reference import Repository
from spack_oci.registry import Credentials, RegistrySettings, RetryPolicy, StaticCredentials, open_repository
from spack_oci.registry.probe import (
    FAIL,
    OK,
    SKIP,
    WARN,
    deletion_refused,
    probe_repository,
    scope_actions,
    token_actions,
    worst,
)
from support.registries.docker_registry import docker_registry
from support.registries.fault_registry import Fault, fault_registry
from support.registries.token_server import USERS, token_server

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


def jwt(claims):
    return f"e30.{base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip('=')}.sig"


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
        assert "requests go without credentials" in found["scopes"][1]
        assert registry.uploads == {}


@pytest.mark.parametrize(
    "credentials, said",
    [(None, "anonymous: no credentials for .* were found"), (ALICE, "made with the credentials from")],
)
def test_who_may_not_delete_is_told_who_asked(credentials, said):
    readers = {"alice": (ALICE.password, "pull")}
    with fault_registry(auth="bearer", users=readers, anonymous_actions="pull") as registry:
        assert re.search(f"^not allowed, the request was {said}", deletion_refused(store_at(registry, credentials)))


def test_registry_that_forgets_uploads():
    """As go-containerregistry's."""
    with fault_registry(Fault("GET", "/uploads/", status=400)) as registry:
        status, detail = probe(store_at(registry))["chunked upload"]
        assert status == WARN and "start again" in detail


def test_empty_repository():
    with fault_registry() as registry:
        found = probe(store_at(registry))
        assert found["tags"][1].startswith("none") and found["mount"][0] == found["ranges"][0] == SKIP


@pytest.mark.parametrize("auth", ["basic", "bearer"])
def test_user_who_may_only_pull(auth):
    with fault_registry(auth=auth, users={"alice": ("correct-horse-battery", "pull")}) as registry:
        found = probe(store_at(registry))
        assert (found["push"][0], found["delete"][0]) == (WARN, WARN), found
        assert probe(store_at(registry), push=True)["push"][0] == FAIL
        assert probe(store_at(registry), push=False)["push"][0] == OK


UNREADABLE = "what the token carries cannot be read; the registry allowed"


@pytest.mark.parametrize(
    "actions, tells_scope, detail",
    [
        ("pull,push,delete", False, f"{UNREADABLE} pull, push, delete"),
        ("pull,push", False, f"{UNREADABLE} pull, push and refused delete"),
        ("pull", False, f"{UNREADABLE} pull and refused push, delete"),
        ("pull,push", True, f"the token server says that it granted pull, push for {NAME}"),
        ("pull", True, f"the token server says that it granted pull for {NAME}"),
        ("", True, f"the token server says that it granted nothing for {NAME}"),
    ],
)
def test_scopes_of_tokens_that_clients_cannot_read(actions, tells_scope, detail):
    """By what the token server says, else by what the registry let us do."""
    with fault_registry(
        auth="bearer", tells_scope=tells_scope, users={"alice": ("correct-horse-battery", actions)}
    ) as registry:
        no_push = WARN if "pull" in actions else FAIL
        assert probe(store_at(registry))["scopes"] == (OK if "push" in actions else no_push, detail)
        assert probe(store_at(registry), push=True)["scopes"] == (OK if "push" in actions else FAIL, detail)
        assert probe(store_at(registry), push=False)["scopes"] == (OK if "pull" in actions else FAIL, detail)


def test_scopes_that_the_registry_does_not_tell():
    """Nothing is claimed of what could not be tried."""
    faults = [Fault("*", "/tags/", status=400, times=9), Fault("*", "uploads", status=400, times=9)]
    faults += [Fault("DELETE", "/manifests/", status=405)]
    with fault_registry(*faults, auth="bearer") as registry:
        status, detail = probe(store_at(registry))["scopes"]
        assert detail == "what the token carries cannot be read; the registry did not tell what is allowed"


@pytest.mark.parametrize(
    "auth, kind", [(None, "requests go without credentials"), ("basic", "user and password go with every request")]
)
def test_scopes_without_tokens(auth, kind):
    with fault_registry(auth=auth, users={"alice": ("correct-horse-battery", "pull,push")}) as registry:
        rest = "pull, push and refused delete" if auth else "pull, push, delete"
        assert probe(store_at(registry))["scopes"] == (OK, f"no tokens: {kind}; the registry allowed {rest}")


def test_scopes_of_a_ready_token():
    """One that the user has from elsewhere."""
    with fault_registry(auth="bearer") as registry:
        claims = {"access": [{"type": "repository", "name": NAME, "actions": ["pull"]}]}
        for token, detail in [(jwt(claims), f"the token carries pull for {NAME}"), ("0paque", f"{UNREADABLE} pull")]:
            registry.tokens[token] = (time.monotonic() + 60, {NAME: "pull"})
            found = probe(store_at(registry, Credentials(registry_token=token)), push=False)
            assert found["scopes"][0] == OK and found["scopes"][1].startswith(detail)


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
    access = [
        {"type": "repository", "name": "a", "actions": ["pull"]},
        {"type": "repository", "name": "a", "actions": ["push"]},
    ]
    assert token_actions(jwt({"access": access}), "a") == {"pull", "push"}
    assert token_actions(jwt({"access": access}), "b") == frozenset()
    assert token_actions(jwt({"access": []}), "a") == token_actions(jwt({"access": None}), "a") == frozenset()
    azure = {"access": [{"Type": "repository", "Name": "a", "Actions": ["pull"]}]}
    assert token_actions(jwt(azure), "a") == {"pull"}
    for junk in (
        jwt({}),
        jwt({"scp": "applied-permissions/user"}),
        "opaque",
        "a.b",
        "a.!!.c",
        jwt([]),
        jwt({"access": ["x"]}),
    ):
        assert token_actions(junk, "a") is None


def test_actions_that_token_servers_tell():
    assert scope_actions("repository:a:pull repository:a:push,delete", "a") == {"pull", "push", "delete"}
    assert scope_actions("repository:h:5000/a:pull registry:catalog:*", "h:5000/a") == {"pull"}
    assert scope_actions("repository:a:pull", "b") == scope_actions("repository:a:", "a") == frozenset()
    for junk in ("", "read write", "openid profile"):
        assert scope_actions(junk, "a") is None


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
            assert found["scopes"] == (WARN, f"the token carries pull for {NAME}")
            assert (found["push"][0], found["delete"][0]) == (WARN, WARN), found
        # what a cancelled upload was sent; this registry leaves the empty directory behind
        assert list((registry.directory / "data").rglob("_uploads/*/data")) == []
