# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Secrets are planted everywhere, everything goes wrong, and what can be seen of it is searched for them."""

import base64
import contextlib
import logging
import traceback
from dataclasses import replace

import pytest
from spack_oci.content import BytesSource
from spack_oci.descriptor import OCI_LAYER, Descriptor
from spack_oci.errors import SpackOciError
from spack_oci.reference import Repository
from spack_oci.registry import Credentials, RegistrySettings, RetryPolicy, StaticCredentials, open_repository
from spack_oci.registry.login import login
from spack_oci.registry.probe import probe_repository
from support.registries.fault_registry import Fault, fault_registry

PASSWORD, IDENTITY, READY = "pl4nted-password", "pl4nted-identity", "pl4nted-ready-token"
BASIC = base64.b64encode(f"alice:{PASSWORD}".encode()).decode()
SIGNATURE = "s1gned"

#: a server that repeats what it was shown
ECHO = {
    "password": f'{{"errors":[{{"code":"DENIED","message":"{PASSWORD} {BASIC}"}}]}}'.encode(),
    "identity": f'{{"errors":[{{"code":"{IDENTITY}","message":"{IDENTITY}"}}]}}'.encode(),
    "ready": f'{{"errors":[{{"code":"DENIED","message":"Bearer {READY}"}}]}}'.encode(),
}
DESCRIPTOR = Descriptor.of(b"content", OCI_LAYER)

CREDENTIALS = {
    "password": Credentials("alice", PASSWORD),
    "identity": Credentials("alice", identity_token=IDENTITY),
    "ready": Credentials(registry_token=READY),
}
#: what goes wrong
TROUBLE = {
    "refused by the registry": [Fault("*", "/v2/", status=403, body=b"echo", times=9)],
    "refused by the token server": [Fault("*", "/token", status=403, body=b"echo", times=9)],
    "no token": [Fault("*", "/token", status=200, body=b"echo", times=9)],
    "server error": [Fault("*", "/v2/", status=500, body=b"echo", skip=1, times=9)],
    "limited": [Fault("*", "/v2/", status=429, body=b"echo", headers={"Retry-After": "999"}, times=9)],
    "cut": [Fault("*", "/v2/", truncate=0, skip=1, times=9)],
    "redirected": [Fault("GET", "/v2/", status=307, headers={"Location": f"/v2/x?sig={SIGNATURE}"}, skip=1, times=9)],
    "redirected to nobody": [
        Fault("GET", "/v2/", status=307, headers={"Location": f"http://127.0.0.1:1/x?sig={SIGNATURE}"}, times=9)
    ],
    "bad upload address": [Fault("POST", "", status=202, headers={"Location": f"http://127.0.0.1:1/?s={SIGNATURE}"})],
    "nothing": [],
}


def everything(store):
    """Each operation, each on its own."""
    yield lambda: store.resolve("tag")
    yield lambda: store.get_manifest("tag")
    yield lambda: store.has_blob(DESCRIPTOR.digest)
    yield lambda: store.open_blob(DESCRIPTOR)
    yield lambda: store.put_blob(DESCRIPTOR, BytesSource(b"content"))
    yield lambda: store.mount_blob(DESCRIPTOR, "other")
    yield lambda: list(store.tags())
    yield lambda: store.referrers(DESCRIPTOR.digest)
    yield lambda: store.delete_manifest("tag")


@pytest.mark.parametrize("kind", CREDENTIALS)
@pytest.mark.parametrize("trouble", TROUBLE)
@pytest.mark.parametrize("auth", ["basic", "bearer"])
def test_nothing_is_seen(kind, trouble, auth, caplog, capfd, tmp_path):
    caplog.set_level(logging.DEBUG)
    credentials = CREDENTIALS[kind]
    faults = [replace(f, body=ECHO[kind] if f.body else b"") for f in TROUBLE[trouble]]
    seen = []
    with fault_registry(*faults, auth=auth, identity_tokens={IDENTITY: "alice"}) as registry:
        sources = [StaticCredentials(registry.host, credentials, "the test")]
        settings = RegistrySettings(sources, retry=RetryPolicy(attempts=1))
        store = open_repository(Repository(registry.host, "a/b", "http"), settings)
        env = {"HOME": str(tmp_path), "PATH": ""}
        for operation in [*everything(store), lambda: login(store.repository, credentials, settings, env=env)]:
            try:
                operation()
            except SpackOciError as e:
                seen += [str(e), repr(e), *traceback.format_exception(type(e), e, e.__traceback__)]
        seen += [str(c) for c in probe_repository(store)]
        seen += [repr(x) for x in (store, settings, sources, store.client, store.client.authorizer)]
        with contextlib.suppress(SpackOciError):
            seen.append(repr(store.client.authorizer.known_auth(store.client.scopes("pull"))))
        tokens = list(registry.tokens)
    seen += [caplog.text, *capfd.readouterr()]
    text = "\n".join(seen)
    assert len(text) > 500
    for secret in (PASSWORD, IDENTITY, READY, BASIC, SIGNATURE, *tokens):
        where = text.find(secret)
        assert where < 0, text[max(0, where - 300) : where + 80]
