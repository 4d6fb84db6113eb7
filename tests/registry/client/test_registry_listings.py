# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Tags and referrers, in pages of all kinds."""

import pytest
from spack_oci.descriptor import OCI_MANIFEST, canonical_json
from spack_oci.errors import UnexpectedResponse
from spack_oci.registry.manifests import SURE_OF_NO_API
from support.registries.fault_registry import Fault, fault_registry
from support.registries.registry_cases import MANIFEST, NAME, SMALL, keep, layer, store_at


@pytest.mark.parametrize("style, page_size, requests", [("link", 2, 3), ("last", 1000, 2), ("link", 0, 1)])
def test_pagination(monkeypatch, style, page_size, requests):
    monkeypatch.setattr("spack_oci.registry.manifests.PAGE_SIZE", 3)
    with fault_registry(page_size=page_size, page_style=style) as registry:
        if style == "link" and not page_size:
            monkeypatch.setattr("spack_oci.registry.manifests.PAGE_SIZE", 100)
        for n in range(5):
            keep(registry, manifest=MANIFEST, tag=f"t{n}")
        assert list(store_at(registry).tags()) == [f"t{n}" for n in range(5)]
        assert len(registry.requests()) == requests


@pytest.mark.parametrize("style", ["link", "last"])
def test_pages_that_are_too_large_for_the_registry_are_asked_for_smaller(monkeypatch, style):
    """distribution/distribution #4844, renovate: an owner may set how many tags a page has at most."""
    monkeypatch.setattr("spack_oci.registry.manifests.SMALL_PAGE_SIZE", 2)
    with fault_registry(max_page=2, page_style=style) as registry:
        for n in range(5):
            keep(registry, manifest=MANIFEST, tag=f"t{n}")
        assert list(store_at(registry).tags()) == [f"t{n}" for n in range(5)]
        assert registry.methods() == ["GET 400"] + ["GET 200"] * 3


def test_a_list_of_tags_that_is_refused_whatever_its_size_is_an_error():
    with fault_registry(Fault("GET", "/tags/", status=400, times=99)) as registry:
        with pytest.raises(UnexpectedResponse, match="answered 400"):
            list(store_at(registry).tags())
        assert registry.methods() == ["GET 400"] * 2


def test_pagination_that_goes_round():
    tags = b'{"name": "x", "tags": ["a", "b"]}'
    headers = {"Link": f'</v2/{NAME}/tags/list?n=2&last=b>; rel="next"'}
    with fault_registry(Fault("GET", "/tags/", status=200, headers=headers, body=tags, times=99)) as registry:
        with pytest.raises(UnexpectedResponse, match="round in circles"):
            list(store_at(registry).tags())
        assert registry.methods() == ["GET 200"] * 3  # the last one at an address that the registry has not named


def test_pagination_without_end():
    """Each page has another address, and nothing new."""
    with fault_registry() as registry:
        for n in range(99):
            headers = {"Link": f'</v2/{NAME}/tags/list?page={n}>; rel="next"'}
            registry.faults.append(Fault("GET", "/tags/", status=200, headers=headers, body=b'{"tags": ["a"]}'))
        with pytest.raises(UnexpectedResponse, match="nothing new"):
            list(store_at(registry).tags())
        assert registry.methods() == ["GET 200"] * 5


def test_pagination_to_another_host():
    headers = {"Link": '<http://elsewhere.example/v2/x/tags/list>; rel="next"'}
    fault = Fault("GET", "/tags/", status=200, headers=headers, body=b'{"tags": ["a"]}')
    with fault_registry(fault) as registry:
        with pytest.raises(UnexpectedResponse, match="another host"):
            list(store_at(registry).tags())
        assert registry.methods() == ["GET 200"]


def test_referrers_that_go_round():
    body = b'{"mediaType": "application/vnd.oci.image.index.v1+json", "manifests": []}'
    digest = layer(SMALL).digest
    headers = {"Link": f'</v2/{NAME}/referrers/{digest}?page=2>; rel="next"'}
    with fault_registry(Fault("GET", "/referrers/", status=200, headers=headers, body=body, times=99)) as registry:
        with pytest.raises(UnexpectedResponse, match="round in circles"):
            store_at(registry).referrers(digest)
        assert registry.methods() == ["GET 200"] * 2


def test_referrers_without_end():
    """Each page has another address, and nothing new."""
    body = b'{"mediaType": "application/vnd.oci.image.index.v1+json", "manifests": []}'
    digest = layer(SMALL).digest
    with fault_registry() as registry:
        for n in range(99):
            headers = {"Link": f'</v2/{NAME}/referrers/{digest}?page={n}>; rel="next"'}
            registry.faults.append(Fault("GET", "/referrers/", status=200, headers=headers, body=body))
        with pytest.raises(UnexpectedResponse, match="nothing new"):
            store_at(registry).referrers(digest)
        assert registry.methods() == ["GET 200"] * 4


def test_the_referrers_of_many_manifests_are_looked_for_under_tags_once_there_is_surely_no_api():
    """As the tags were listed, only a list that is among them is read."""
    with fault_registry(referrers=False) as registry:
        store = store_at(registry)
        digests = [layer(b"%d" % number).digest for number in range(9)]
        document = {"schemaVersion": 2, "config": layer(SMALL).to_dict(), "layers": []}
        keep(registry, SMALL)
        pushed = store.put_manifest(canonical_json({**document, "subject": layer(b"8").to_dict()}), OCI_MANIFEST)
        listed = set(store.tags())
        before = len(registry.requests())
        assert [[d.digest for d in store.referrers(digest, listed=listed)] for digest in digests] == [
            *([[]] * 8),
            [pushed.digest],
        ]
        assert len(registry.requests()) - before == SURE_OF_NO_API + 1
        assert store.referrers(digests[8]) and len(registry.requests()) - before == SURE_OF_NO_API + 3


def test_one_page_that_is_not_found_does_not_hide_the_referrers_of_the_next_manifest():
    subjects = [layer(b"%d" % number) for number in range(6)]
    with fault_registry() as registry:
        keep(registry, SMALL)
        store = store_at(registry)
        for subject in subjects:
            document = {
                "schemaVersion": 2,
                "config": layer(SMALL).to_dict(),
                "layers": [],
                "subject": subject.to_dict(),
            }
            store.put_manifest(canonical_json(document), OCI_MANIFEST)
        registry.faults += [Fault("GET", f"/referrers/{subjects[n].digest}", status=404) for n in (0, 1, 3, 4)]
        found = [bool(store.referrers(subject.digest, listed=())) for subject in subjects]
        assert found == [False, False, True, False, False, True]


def test_referrers_api():
    subject = layer(b"subject")
    document = {"schemaVersion": 2, "config": layer(SMALL).to_dict(), "layers": [], "subject": subject.to_dict()}
    with fault_registry() as registry:
        keep(registry, SMALL)
        store = store_at(registry)
        pushed = store.put_manifest(canonical_json(document), OCI_MANIFEST)
        assert store.referrers(subject.digest) == [pushed]
        assert store.referrers(subject.digest, "another/type") == []
        assert registry.methods() == ["PUT 201", "GET 200", "GET 200"]
