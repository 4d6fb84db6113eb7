# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What users of other clients have reported of registries, played: see the table of ``docs/registries.md``."""

import base64
import json
import urllib.parse

import pytest
from spack_oci.content import BytesSource
from spack_oci.descriptor import OCI_INDEX, OCI_MANIFEST, canonical_json, sha256_digest
from spack_oci.errors import Forbidden, NotFound, Unauthorized, UnexpectedResponse
from spack_oci.reference import Repository
from spack_oci.registry import RegistrySettings, RetryPolicy, open_repository
from spack_oci.registry.auth.docker_config import DockerConfig
from spack_oci.registry.manifests import fallback_tag
from support.registries.fault_registry import Fault, fault_registry
from support.registries.registry_cases import (
    LARGE,
    MANIFEST,
    NAME,
    SMALL,
    fetch,
    keep,
    layer,
    store_at,
)

FOREVER = 99


def errors(code, message):
    return json.dumps({"errors": [{"code": code, "message": message}]}).encode()


# -- uploads ----------------------------------------------------------------------------------------------------------


def test_a_manifest_that_is_stored_with_200():
    """containers/image #1006: Google Container Registry."""
    with fault_registry() as registry:
        registry.faults.append(Fault("PUT", "/manifests/", status=200, headers={"Content-Length": "0"}))
        assert store_at(registry).put_manifest(MANIFEST, OCI_MANIFEST, "1").digest == sha256_digest(MANIFEST)


def test_an_upload_that_goes_on_outside_of_v2():
    """oras-project/oras #532: Google Artifact Registry sends a relative ``Location`` below ``/artifacts-uploads/``."""
    with fault_registry(location="outside") as registry:
        store = store_at(registry)
        store.put_blob(layer(LARGE), BytesSource(LARGE))
        assert fetch(store, LARGE) == LARGE
        assert any("/artifacts-uploads/" in line for line in registry.requests())


def test_an_upload_that_is_redirected_to_another_registry_goes_on_there_without_our_credentials():
    """containerd/containerd #11949: a relative ``Location`` is relative to the registry that sent it."""
    with fault_registry(location="relative") as other, fault_registry(auth="basic") as registry:
        there = {"Location": f"{other.url}/v2/{NAME}/blobs/uploads/"}
        registry.faults.append(Fault("POST", "/uploads/", status=307, headers=there))
        store_at(registry).put_blob(layer(SMALL), BytesSource(SMALL))
        assert other.repositories[NAME].blobs[sha256_digest(SMALL)] == SMALL
        assert not any("Authorization" in headers for _, _, headers in other.seen)


def test_an_upload_that_another_replica_does_not_know_is_begun_again():
    """Azure/azure-sdk-for-net #42293, openshift/origin #4510: 404 ``BLOB_UPLOAD_UNKNOWN`` in the middle."""
    gone = errors("BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry")
    with fault_registry(Fault("PUT", "/uploads/", status=404, body=gone)) as registry:
        store = store_at(registry)
        store.put_blob(layer(SMALL), BytesSource(SMALL))
        assert fetch(store, SMALL) == SMALL


def test_a_balancer_that_takes_no_piece_is_named():
    """skopeo #2723: HAProxy answers a piece of an upload with 400 and a page."""
    page = b"<html><body><h1>400 Bad request</h1>\nYour browser sent an invalid request.\n</body></html>"
    faults = [Fault(method, "/uploads/", status=400, body=page, times=FOREVER) for method in ("PUT", "PATCH")]
    with fault_registry(*faults) as registry, pytest.raises(UnexpectedResponse) as error:
        store_at(registry).put_blob(layer(SMALL), BytesSource(SMALL))
    assert "400" in error.value.message and "Your browser sent an invalid request" in error.value.message
    assert "<h1>" not in str(error.value)


def test_a_first_push_that_meets_500_until_the_repository_is_made():
    """docker/build-push-action #548: Azure, and registries that make a repository at its first push."""
    faults = [Fault("PUT", "/uploads/", status=500, times=2), Fault("PUT", "/manifests/", status=500, times=2)]
    with fault_registry(*faults) as registry:
        store = store_at(registry)
        store.put_blob(layer(SMALL), BytesSource(SMALL))
        store.put_manifest(MANIFEST, OCI_MANIFEST, "1")
        assert store.resolve("1").digest == sha256_digest(MANIFEST)


def test_a_token_that_expires_in_the_middle_of_a_body_is_renewed_and_the_body_sent_again():
    """oras-project/oras #456, jdx/mise #11132: "request body is not rewindable"."""
    with fault_registry(auth="bearer") as registry:
        challenge = {"WWW-Authenticate": f'Bearer realm="{registry.url}/token",service="test",scope="aws"'}
        registry.faults.append(Fault("PUT", "/uploads/", status=401, headers=challenge))
        store = store_at(registry)
        store.put_blob(layer(LARGE), BytesSource(LARGE))
        assert fetch(store, LARGE) == LARGE


@pytest.mark.parametrize("times", [1, FOREVER])
def test_an_upload_that_is_called_invalid_is_begun_again_once(times):
    """sonatype/nexus-public #967: 400 ``BLOB_UPLOAD_INVALID`` to an upload that it has just opened."""
    invalid = errors("BLOB_UPLOAD_INVALID", "blob upload invalid")
    with fault_registry(Fault("PUT", "/uploads/", status=400, body=invalid, times=times)) as registry:
        store = store_at(registry)
        if times == 1:
            store.put_blob(layer(SMALL), BytesSource(SMALL))
            assert fetch(store, SMALL) == SMALL
        else:
            with pytest.raises(UnexpectedResponse, match="BLOB_UPLOAD_INVALID"):
                store.put_blob(layer(SMALL), BytesSource(SMALL))
        assert [line for line in registry.methods() if line.startswith("PUT")][:2] == ["PUT 400"] + [
            "PUT 201" if times == 1 else "PUT 400"
        ]


def test_a_piece_that_is_taken_without_a_word_of_where_it_goes_on():
    """dotnet/sdk #33019: 202 to a piece, without ``Range`` and with no other ``Location``."""
    with fault_registry(Fault("PUT", "/uploads/", status=413)) as registry:
        registry.faults.append(Fault("PATCH", "/uploads/", status=202))
        store = store_at(registry)
        store.put_blob(layer(LARGE), BytesSource(LARGE))
        assert fetch(store, LARGE) == LARGE


# -- downloads --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 405, 416, 501])
def test_a_download_that_broke_begins_again_where_no_parts_are_served(status):
    """kubernetes/registry.k8s.io #333: what it is redirected to answers a part with 400 and a document of its own."""
    broken = [Fault("GET", "/blobs/", truncate=1_000_000), Fault("GET", "/blobs/", status=status, body=b"<Error/>")]
    with fault_registry(*broken) as storage, fault_registry() as registry:
        keep(storage, LARGE)
        there = {"Location": f"{storage.url}/v2/{NAME}/blobs/{sha256_digest(LARGE)}?signed"}
        registry.faults.append(Fault("GET", "/blobs/", status=307, headers=there, times=FOREVER))
        assert fetch(store_at(registry), LARGE) == LARGE
        assert storage.methods() == ["GET 200", f"GET {status}", "GET 200"]


# -- manifests --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        errors("NOT_FOUND", "artifact test/faults:1 not found"),
        errors("UNKNOWN", "artifact test/faults:1 not found"),
        b"404 page not found",
        b"",
    ],
    ids=["harbor", "harbor-unknown", "text", "empty"],
)
def test_a_manifest_that_is_not_there_is_a_miss_whatever_the_code(body):
    """containers/image #2203: Harbor."""
    with fault_registry(Fault("*", "/manifests/", status=404, body=body, times=FOREVER)) as registry:
        store = store_at(registry)
        for look in (store.resolve, store.get_manifest):
            with pytest.raises(NotFound):
                look("1")


@pytest.mark.parametrize("kind", ["", "application/json", "text/plain; charset=utf-8", "application/octet-stream"])
def test_a_manifest_without_its_media_type(kind):
    """skopeo #2455: a registry behind a CDN that sends another ``Content-Type``, or none."""
    fault = Fault("*", "/manifests/", status=200, headers={"Content-Type": kind} if kind else {}, body=MANIFEST)
    fault.times = FOREVER
    with fault_registry(fault) as registry:
        store = store_at(registry)
        descriptor, data = store.get_manifest("1")
        assert data == MANIFEST and descriptor.media_type == OCI_MANIFEST
        assert store.resolve("1") == descriptor


@pytest.mark.parametrize("signed_for_get", [False, True], ids=["head", "get-only"])
def test_a_manifest_that_is_on_another_host(signed_for_get):
    """moby/moby #50065, containerd #10374: GitLab's dependency proxy redirects to a signed address in S3."""
    with fault_registry() as storage, fault_registry(auth="basic") as registry:
        keep(storage, manifest=MANIFEST)
        there = {"Location": f"{storage.url}/v2/{NAME}/manifests/1?X-Amz-Signature=s1gned"}
        registry.faults.append(Fault("*", "/manifests/", status=302, headers=there, times=FOREVER))
        if signed_for_get:
            storage.faults.append(Fault("HEAD", "/manifests/", status=403, times=FOREVER))
        store = store_at(registry)
        assert store.get_manifest("1")[1] == MANIFEST and store.resolve("1").digest == sha256_digest(MANIFEST)
        assert not any("Authorization" in headers for _, _, headers in storage.seen)


@pytest.mark.parametrize("tag", ["1", None])
def test_a_registry_that_stores_no_manifest_twice(tag):
    """docker/cli #5874: Oracle's answers 409 ``CONFLICT``; that it is the same one is asked for."""
    other = canonical_json({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "layers": [], "annotations": {}})
    with fault_registry(stores_once=True) as registry:
        store = store_at(registry)
        for _ in range(2):
            assert store.put_manifest(MANIFEST, OCI_MANIFEST, tag).digest == sha256_digest(MANIFEST)
        assert store.put_manifest(other, OCI_MANIFEST, tag).digest == sha256_digest(other)
        conflict = errors("CONFLICT", "it is locked")
        registry.faults.append(Fault("PUT", "/manifests/", status=409, body=conflict, times=FOREVER))
        with pytest.raises(UnexpectedResponse, match="409.*it is locked"):
            store.put_manifest(MANIFEST, OCI_MANIFEST, "another")
        with pytest.raises(UnexpectedResponse, match="409.*it is locked"):
            store.put_manifest(MANIFEST, OCI_MANIFEST, "2" if tag is None else tag)


def test_a_manifest_for_which_another_token_is_wanted_is_sent_again():
    """containerd/containerd #5978, estesp/manifest-tool #156: "cannot reuse body, request must be retried"."""
    with fault_registry(auth="bearer") as registry:
        scope = f"repository:{NAME}:pull,push repository:test/other:pull"
        challenge = {"WWW-Authenticate": f'Bearer realm="{registry.url}/token",service="test",scope="{scope}"'}
        registry.faults.append(Fault("PUT", "/manifests/", status=401, headers=challenge))
        store = store_at(registry)
        store.put_manifest(MANIFEST, OCI_MANIFEST, "1")
        assert store.get_manifest("1")[1] == MANIFEST


# -- pages of tags ----------------------------------------------------------------------------------------------------


def many_tags(registry, count=9):
    for number in range(count):
        keep(registry, manifest=MANIFEST, tag=f"t{number}")
    return {f"t{number}" for number in range(count)}


def link_to(url):
    return {"Content-Type": "application/json", "Link": f'<{url}>; rel="next"'}


def first_page(tags, link):
    body = json.dumps({"name": NAME, "tags": tags}).encode()
    return Fault("GET", "/tags/list", status=200, headers=link_to(link), body=body)


def test_a_next_page_at_an_address_that_is_not_served_is_asked_for_where_the_first_was():
    """sonatype/nexus-public #1011: the link has ``/repository/NAME/`` before ``/v2/``, where nothing is."""
    with fault_registry() as registry:
        tags = many_tags(registry)
        link = f"{registry.url}/repository/docker-proxy/v2/{NAME}/tags/list?n=4&last=t3"
        registry.faults.append(first_page(sorted(tags)[:4], link))
        assert set(store_at(registry).tags()) == tags


def test_a_next_page_after_a_number_instead_of_a_tag():
    """renovatebot/renovate #15080: Artifactory's link says ``last=4`` after four tags, and that page is the same."""
    with fault_registry(page_size=4, page_style="count") as registry:
        tags = many_tags(registry)
        assert set(store_at(registry).tags()) == tags


def test_pages_without_a_link_that_are_shorter_than_asked_for(monkeypatch):
    """sonatype/nexus-public #117, #209: a group of repositories sends no link."""
    monkeypatch.setattr("spack_oci.registry.manifests.PAGE_SIZE", 4)
    with fault_registry(page_style="last") as registry:
        tags = many_tags(registry)
        assert set(store_at(registry).tags()) == tags


def test_a_link_with_parameters_of_its_own():
    """camallo/dkregistry-rs #236, deitch/docker_registry2 #107: ``next_page`` of Quay, ``last`` of Artifactory."""
    with fault_registry() as registry:
        tags = many_tags(registry)
        registry.faults.append(first_page(["t0"], f"/v2/{NAME}/tags/list?n=50&next_page=gAAAAB%3D%3D"))
        assert set(store_at(registry).tags()) == tags
        assert any("next_page=gAAAAB%3D%3D" in line for line in registry.requests())


# -- permissions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status, error", [(403, Forbidden), (401, Unauthorized)])
def test_a_token_that_is_refused_for_what_is_not_there_or_private(status, error):
    """conda/rattler #2726, openai/tunnel-client #75: ghcr refuses a token for a repository that does not exist."""
    refusal = errors("DENIED", "requested access to the resource is denied")
    fault = Fault("GET", "/token", status=status, body=refusal, times=FOREVER)
    with fault_registry(fault, auth="bearer") as registry:
        store = open_repository(
            Repository(registry.host, NAME, "http"), RegistrySettings(retry=RetryPolicy(attempts=1))
        )
        with pytest.raises(error) as raised:
            store.get_manifest("1")
        assert "does not exist" in str(raised.value) or "log in" in str(raised.value)


def test_a_registry_without_a_token_server():
    """conda/rattler #2624: ECR asks for user and password, and has no ``/token``."""
    challenge = 'Basic realm="https://1.dkr.ecr.eu-1.amazonaws.com/",service="ecr.amazonaws.com"'
    with fault_registry(auth="basic", challenge=challenge) as registry:
        keep(registry, SMALL)
        assert fetch(store_at(registry), SMALL) == SMALL
        assert not any("/token" in line for line in registry.requests())


# -- deletion ---------------------------------------------------------------------------------------------------------


def test_404_to_the_deletion_of_what_is_there_is_no_success():
    """aws/containers-roadmap #1229: ECR without deletion answers "404 page not found"."""
    fault = Fault("DELETE", "/manifests/", status=404, body=b"404 page not found", times=FOREVER)
    with fault_registry(fault) as registry:
        keep(registry, manifest=MANIFEST)
        store = store_at(registry)
        with pytest.raises(UnexpectedResponse, match="is still there") as error:
            store.delete_manifest(sha256_digest(MANIFEST))
        assert "does not delete" in error.value.remedy
        with pytest.raises(NotFound):
            store.delete_manifest(sha256_digest(b"another"))


def test_the_permission_to_delete_is_asked_for():
    """google/go-containerregistry #724, #2184: a token for pull and push alone is refused."""
    with fault_registry(auth="bearer") as registry:
        keep(registry, manifest=MANIFEST)
        store_at(registry).delete_manifest(sha256_digest(MANIFEST))
        scopes = [urllib.parse.unquote(line) for line in registry.requests() if "/token" in line]
        assert any("delete" in scope for scope in scopes) or not registry.repositories[NAME].manifests


# -- referrers --------------------------------------------------------------------------------------------------------


def test_a_list_of_referrers_that_names_one_that_was_deleted_is_written_without_it():
    """chainguard-dev/terraform-provider-cosign #567: a registry that checks its indexes refuses the list."""
    with fault_registry(referrers=False, checks_indexes=True) as registry:
        keep(registry, SMALL, manifest=MANIFEST)
        store = store_at(registry)
        config = layer(SMALL).to_dict()

        def attach(word):
            subject = store.resolve("1").to_dict()
            document = {
                "schemaVersion": 2,
                "mediaType": OCI_MANIFEST,
                "config": config,
                "layers": [],
                "subject": subject,
            }
            return store.put_manifest(canonical_json({**document, "annotations": {"word": word}}), OCI_MANIFEST)

        first = attach("first")
        del registry.repositories[NAME].manifests[first.digest]
        second = attach("second")
        listed = json.loads(store.get_manifest(fallback_tag(sha256_digest(MANIFEST)))[1])
        assert listed["mediaType"] == OCI_INDEX and [d["digest"] for d in listed["manifests"]] == [second.digest]


# -- credentials ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "challenge",
    [
        'BASIC realm="Sonatype Nexus Repository Manager"',
        'Negotiate\nBasic realm="x"',
        "Negotiate, Basic realm=x",
        "Basic",
    ],
)
def test_a_password_that_is_asked_for_in_another_way(challenge):
    """google/containerregistry #38 (Nexus), google/go-containerregistry #1075 (nginx with Kerberos)."""
    with fault_registry(auth="basic", challenge=challenge) as registry:
        keep(registry, SMALL)
        assert fetch(store_at(registry), SMALL) == SMALL


def test_another_registry_behind_a_redirect_that_wants_credentials_is_named_and_gets_none():
    """google/go-containerregistry #2333: a gateway before Artifactory."""
    with fault_registry(auth="bearer") as other, fault_registry() as registry:
        there = {"Location": f"{other.url}/v2/{NAME}/manifests/1"}
        registry.faults.append(Fault("*", "/manifests/", status=307, headers=there, times=FOREVER))
        with pytest.raises(Unauthorized, match=f"redirected to {other.host}") as error:
            store_at(registry).get_manifest("1")
        assert "not sent to another host" in error.value.remedy and "credentials from" not in error.value.message
        assert not any("Authorization" in headers for _, _, headers in other.seen)


@pytest.mark.parametrize(
    "keys",
    [
        ["{host}/test/faults", "{host}/test", "{host}"],
        ["{host}/test", "{host}/test/other", "{host}"],
        ["https://{host}/v2/"],
        ["http://{host}"],
        ["https://{host}/test/faults"],
    ],
)
def test_a_login_among_others_of_one_registry(keys, tmp_path):
    """google/go-containerregistry #1329, #1298: for a path, the longest one; with a scheme before the name."""
    right, wrong = (base64.b64encode(text).decode() for text in (b"alice:correct-horse-battery", b"mallory:no"))
    with fault_registry(auth="basic") as registry:
        keep(registry, SMALL)
        auths = {
            key.format(host=registry.host): {"auth": wrong if number else right} for number, key in enumerate(keys)
        }
        path = tmp_path / "config.json"
        path.write_text(json.dumps({"auths": auths}))
        settings = RegistrySettings([DockerConfig(str(path))])
        store = open_repository(Repository(registry.host, NAME, registry.scheme), settings)
        assert fetch(store, SMALL) == SMALL


def test_a_registry_that_forbids_where_it_does_not_ask_for_credentials_is_asked_how_it_wants_them():
    """prefix-dev/pixi #6318: 403 instead of 401 to who is anonymous; ``/v2/`` says what is wanted."""
    with fault_registry(Fault("GET", "/blobs/", status=403), auth="basic") as registry:
        keep(registry, SMALL)
        assert fetch(store_at(registry), SMALL) == SMALL
        assert registry.methods() == ["GET 403", "GET 401", "GET 200"]


def test_a_registry_that_forbids_and_never_asks_for_credentials_is_told_from_one_that_refuses_them():
    with fault_registry(Fault("GET", "/blobs/", status=403, times=FOREVER)) as registry:
        keep(registry, SMALL)
        with pytest.raises(Forbidden, match="anonymous: the registry did not ask for the credentials from") as error:
            fetch(store_at(registry), SMALL)
        assert "wants no credentials" in error.value.remedy
