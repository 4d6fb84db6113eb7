# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""More of what users of other clients have reported of registries, played: see the table of ``docs/registries.md``."""

import base64
import json
import socket

import pytest
from spack_oci.content import BytesSource
from spack_oci.descriptor import OCI_MANIFEST, canonical_json, sha256_digest
from spack_oci.errors import Forbidden, ResponseError, ServerFailure, UnexpectedResponse
from spack_oci.reference import Repository
from spack_oci.registry import RegistrySettings, UploadPolicy, open_repository
from spack_oci.registry.auth.docker_config import DockerConfig
from support.registries.docker_registry import PASSWORD, USER, docker_registry
from support.registries.fault_registry import Fault, fault_registry
from support.registries.registry_cases import LARGE, MANIFEST, NAME, SMALL, fetch, keep, layer, store_at

MIB = 1 << 20
FOREVER = 99
PIECES = UploadPolicy(chunk_size=MIB // 2, min_chunk=MIB // 2)


def sent_in_pieces(registry):
    """A blob that goes up in pieces, as the registry wants; where each of them began."""
    registry.faults.append(Fault("PUT", "/uploads/", status=413))
    store = store_at(registry, upload=PIECES)
    store.put_blob(layer(LARGE), BytesSource(LARGE))
    assert registry.repository(NAME).blobs[sha256_digest(LARGE)] == LARGE
    return [int(h["Content-Range"].split("-")[0]) for m, _, h in registry.seen if m == "PATCH"]


# -- uploads ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("progress", ["first", "piece"])
def test_a_range_that_does_not_grow_sends_no_piece_twice(progress):
    """aws/containers-roadmap #2831, crashappsec/chalk #682: ECR's ``Range`` stays at the end of the first piece, and a
    piece that is sent again is refused with 416; regclient #961: zot's is as long as the last piece."""
    with fault_registry(progress=progress) as registry:
        assert sent_in_pieces(registry) == list(range(0, len(LARGE), MIB // 2))
        assert "PATCH 416" not in registry.methods()


def test_a_piece_that_was_taken_and_lost_is_sent_again():
    """The other reading of such a ``Range``."""
    with fault_registry(Fault("PATCH", status=202, headers={"Range": f"0-{MIB // 2 - 1}"}, skip=1)) as registry:
        starts = sent_in_pieces(registry)
        assert starts.count(MIB // 2) == 2 and starts[-1] == len(LARGE) - MIB // 2


def answer_otherwise(registry, monkeypatch, method, usual, status):
    """What is asked is done; only the status of the answer is another."""
    answer = registry.server.RequestHandlerClass.answer

    def another(self, given, *rest):
        answer(self, status if self.command == method and given == usual else given, *rest)

    monkeypatch.setattr(registry.server.RequestHandlerClass, "answer", another)


@pytest.mark.parametrize("status", [201, 204])
def test_a_piece_that_is_taken_with_another_status(status, monkeypatch):
    """pulp_container #2199: 204; jdx/mise #11376: 201 (ECR)."""
    with fault_registry() as registry:
        answer_otherwise(registry, monkeypatch, "PATCH", 202, status)
        assert len(sent_in_pieces(registry)) == len(LARGE) // (MIB // 2)


def test_an_upload_in_one_request_has_no_content_range():
    """openai/tart #179: some check it as that of a piece, which is too large."""
    with fault_registry() as registry:
        store_at(registry).put_blob(layer(LARGE), BytesSource(LARGE))
        (put,) = [headers for method, _, headers in registry.seen if method == "PUT"]
        assert "Content-Range" not in put and put["Content-Length"] == str(len(LARGE))


@pytest.mark.parametrize("told", ["0--1", "bytes=0--1", ""])
def test_an_upload_of_nothing_so_far_is_begun_again(told):
    """opencontainers/distribution-spec #577, #578, project-zot/zot #3983: how far an upload is that has no bytes."""
    status = Fault("GET", "/uploads/", status=204, headers={"Range": told} if told else {}, times=FOREVER)
    with fault_registry(Fault("PATCH", reset_after=10), status) as registry:
        assert sent_in_pieces(registry)[:2] == [0, 0]


@pytest.mark.parametrize("status", [401, 403])
def test_a_mount_that_is_not_permitted_is_an_upload(status):
    """moby/buildkit #2454 (401), containerd/containerd #14086 (403): no permission to read the source."""
    body = json.dumps({"errors": [{"code": "DENIED", "message": "requested access is denied"}]}).encode()
    with fault_registry(Fault("POST", "mount=", status=status, body=body, times=FOREVER), auth="bearer") as registry:
        store = store_at(registry)
        assert not store.mount_blob(layer(SMALL), "other/repository")
        store.put_blob(layer(SMALL), BytesSource(SMALL))
        assert fetch(store, SMALL) == SMALL


@pytest.mark.parametrize("status", [200, 202])
def test_an_upload_that_is_closed_with_another_status_is_looked_for(status, monkeypatch):
    """opencontainers/distribution-spec #68, #86: what is written differed, and Docker takes any success."""
    with fault_registry() as registry:
        answer_otherwise(registry, monkeypatch, "PUT", 201, status)
        store_at(registry).put_blob(layer(SMALL), BytesSource(SMALL))
        assert fetch(store_at(registry), SMALL) == SMALL
        registry.faults.append(Fault("PUT", "/uploads/", status=status))
        with pytest.raises(UnexpectedResponse, match="and it is not there"):
            store_at(registry).put_blob(layer(LARGE), BytesSource(LARGE))


@pytest.mark.parametrize(
    "status, text",
    [
        (403, "adding 1.2 GiB of storage resource, which when updated to current usage of 9.9 GiB will exceed the "
              "configured upper limit of 10.0 GiB."),
        (412, "Quota exceeded when processing the request of adding 1.3 MiB"),
        (507, ""),
    ],
)  # fmt: skip
@pytest.mark.parametrize("auth", [None, "basic"])
def test_a_quota_that_is_used_up_is_no_matter_of_credentials(status, text, auth):
    """goharbor/harbor-cli #96: half a day was spent on looking for wrong credentials; goharbor/harbor #17390."""
    body = json.dumps({"errors": [{"code": "DENIED", "message": text}]}).encode()
    full = Fault("PUT", "/uploads/", status=status, body=body, times=FOREVER)
    with fault_registry(full, auth=auth) as registry:
        with pytest.raises(UnexpectedResponse) as caught:
            store_at(registry).put_blob(layer(SMALL), BytesSource(SMALL))
        assert "has no room for it" in caught.value.remedy and "log in" not in str(caught.value)
        assert [m for m in registry.methods() if m.startswith("PUT")] == [f"PUT {status}"]


def test_a_limit_of_requests_that_is_called_a_quota_is_waited_for():
    body = json.dumps({"errors": [{"code": "TOOMANYREQUESTS", "message": "Quota exceeded for requests"}]}).encode()
    with fault_registry(Fault("PUT", "/uploads/", status=429, body=body, times=2)) as registry:
        store_at(registry).put_blob(layer(SMALL), BytesSource(SMALL))
        assert fetch(store_at(registry), SMALL) == SMALL


@pytest.mark.parametrize("status", [301, 302])
def test_a_redirect_that_would_lose_what_is_sent_is_named_with_the_address(status):
    """A web server that sends everybody from http to https."""
    moved = Fault("POST", "/uploads/", status=status, headers={"Location": "https://r.example/v2/x?secret=1"}, times=2)
    with fault_registry(moved) as registry, pytest.raises(UnexpectedResponse) as caught:
        store_at(registry).put_blob(layer(SMALL), BytesSource(SMALL))
    assert "redirects to https://r.example/v2/x: " in str(caught.value) and "secret" not in str(caught.value)


@pytest.mark.parametrize("status, code", [(415, "UNSUPPORTED"), (400, "MANIFEST_INVALID"), (501, "UNSUPPORTED")])
def test_a_registry_that_takes_no_artifacts_is_named_with_what_works(status, code):
    """oras-project/oras #738, deckhouse/deckhouse #10672: Quay; go-gitea/gitea #25846."""
    body = json.dumps({"errors": [{"code": code, "message": "manifest invalid"}]}).encode()
    artifact = canonical_json({"schemaVersion": 2, "artifactType": "application/x", "layers": []})
    with fault_registry(Fault("PUT", "/manifests/", status=status, body=body, times=FOREVER)) as registry:
        for manifest, is_said in ((artifact, True), (MANIFEST, False)):
            with pytest.raises(ResponseError) as caught:
                store_at(registry).put_manifest(manifest, OCI_MANIFEST, "x")
            assert ("packages are images" in caught.value.remedy) == is_said


# -- what is there ----------------------------------------------------------------------------------------------------


def test_a_signed_address_that_answers_head_with_400():
    """distribution/distribution #2055: S3 in China."""
    with fault_registry() as storage, fault_registry(redirect_blobs=storage.url) as registry:
        keep(storage, SMALL)
        keep(registry, SMALL)
        storage.faults.append(Fault("HEAD", "", status=400, times=FOREVER))
        assert store_at(registry).has_blob(sha256_digest(SMALL))
        assert not store_at(registry).has_blob(sha256_digest(b"missing"))


@pytest.mark.parametrize("content", [SMALL, LARGE])
def test_a_layer_that_is_called_encoded_is_taken_as_it_comes(content):
    """moby/moby #17595: httpd finds by its first bytes that a layer is gzip, and says that of the answer."""
    said = Fault("GET", "/blobs/", status=200, headers={"Content-Encoding": "x-gzip"}, body=content, times=FOREVER)
    with fault_registry(said) as registry:
        assert fetch(store_at(registry), content) == content


def test_a_tag_that_is_forbidden_until_it_is_there_is_not_taken_for_absent():
    """sigstore/cosign #2973: Artifactory answers 403 for a tag that is not there, to who may not read all of it. That
    may as well be one that is there."""
    text = "Download request for repo:path 'cache:a/list.manifest.json' is forbidden for user: 'token:writer'."
    body = json.dumps({"errors": [{"code": "UNAUTHORIZED", "message": text}]}).encode()
    fault = Fault("*", "/manifests/x", status=403, body=body, times=FOREVER)
    with fault_registry(fault) as registry, pytest.raises(Forbidden, match="is forbidden for user"):
        store_at(registry).resolve("x")


def add_referrer(registry, store):
    """To a manifest of the registry, whose descriptor is returned."""
    keep(registry, SMALL, manifest=MANIFEST)
    subject = store.resolve("1")
    document = {
        **{"schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": "application/x", "layers": []},
        **{"config": layer(SMALL).to_dict(), "subject": subject.to_dict()},
    }
    store.put_manifest(canonical_json(document), OCI_MANIFEST)
    return subject


@pytest.mark.parametrize("status", [401, 403])
def test_who_may_read_a_manifest_and_not_its_referrers_gets_those_under_the_tag(status):
    """goharbor/harbor #18305: 401 without a challenge; a proxy that lets known addresses through."""
    answer = Fault("GET", "/referrers/", status=status, times=FOREVER)
    with fault_registry(answer, referrers=False) as registry:
        store = store_at(registry)
        subject = add_referrer(registry, store)
        assert [d.artifact_type for d in store.referrers(subject.digest)] == ["application/x"]
        registry.faults.append(Fault("*", "/manifests/", status=403, times=FOREVER))
        with pytest.raises(Forbidden):
            store_at(registry).referrers(subject.digest)


def test_an_outage_is_no_registry_without_referrers():
    with fault_registry(Fault("GET", "/referrers/", status=500, times=FOREVER), referrers=False) as registry:
        store = store_at(registry)
        keep(registry, SMALL, manifest=MANIFEST)
        with pytest.raises(ServerFailure):
            store.referrers(store.resolve("1").digest)


@pytest.mark.parametrize("page", [b"<!DOCTYPE html><html><body>Not here</body></html>", b"{}"])
def test_200_from_where_there_are_no_referrers_is_no_list_of_them(page):
    """sigstore/sigstore-js #1187: any address is answered with 200, as by a web application."""
    answer = Fault("GET", "/referrers/", status=200, headers={"Content-Type": "text/html"}, body=page, times=FOREVER)
    with fault_registry(answer, referrers=False) as registry:
        store = store_at(registry)
        subject = add_referrer(registry, store)
        assert [d.artifact_type for d in store.referrers(subject.digest)] == ["application/x"]


# -- credentials ------------------------------------------------------------------------------------------------------


def store_with(registry, tmp_path, document):
    return store_with_file(registry, tmp_path, json.dumps(document).encode())


def store_with_file(registry, tmp_path, data):
    (tmp_path / "config.json").write_bytes(data)
    source = DockerConfig(str(tmp_path / "config.json"))
    return open_repository(Repository(registry.host, NAME, "http"), RegistrySettings(credentials=[source]))


def test_an_identity_token_beside_a_user_without_a_password(tmp_path):
    """openshift/oc #1199, testcontainers-node #1196: Azure's user is a row of zeros, IBM's has a name."""
    user = base64.b64encode(b"00000000-0000-0000-0000-000000000000:").decode()
    with fault_registry(auth="bearer", identity_tokens={"the-token": "alice"}) as registry:
        keep(registry, manifest=MANIFEST)
        config = {"auths": {registry.host: {"auth": user, "identitytoken": "the-token"}}}
        assert store_with(registry, tmp_path, config).get_manifest("1")[1] == MANIFEST


@pytest.mark.parametrize(
    "document", [{}, {"auths": {}}, {"auths": {"https://index.docker.io/v1/": {}}}, {"auths": None}]
)
def test_a_file_of_logins_that_knows_nobody_is_anonymous(document, tmp_path):
    """helm/helm #12476, podman #1963: such a file refused what all may read."""
    with fault_registry(auth="bearer", anonymous_actions="pull") as registry:
        keep(registry, manifest=MANIFEST)
        assert store_with(registry, tmp_path, document).get_manifest("1")[1] == MANIFEST


def logins_of(host):
    return {"auths": {host: {"auth": base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()}}}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_file_of_logins_as_windows_writes_it(encoding, tmp_path):
    """moby/moby #44770, docker/for-win #14950: a byte order mark, or UTF-16, and CRLF."""
    with fault_registry(auth="basic") as registry:
        keep(registry, manifest=MANIFEST)
        text = json.dumps(logins_of(registry.host), indent=1).replace("\n", "\r\n")
        assert store_with_file(registry, tmp_path, text.encode(encoding)).get_manifest("1")[1] == MANIFEST


def test_a_registry_at_an_address_of_ipv6(tmp_path, monkeypatch):
    """distribution/distribution #3665, skopeo #564: "invalid reference format"."""
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            pass
    except OSError:
        pytest.skip("this machine has no IPv6")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "::1")
    with docker_registry(auth="htpasswd", address="[::1]") as registry:
        store = store_with(registry, tmp_path, logins_of(registry.host))
        store.put_blob(layer(SMALL), BytesSource(SMALL))
        assert fetch(store, SMALL) == SMALL
