# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Manifests, tags and referrers of one repository (distribution-spec, "Pulling", "Pushing", "Content Discovery")."""

import json
import urllib.parse
from typing import Any, Callable, Container, Dict, Iterator, List, Optional, Set, Tuple

from ..content import MAX_MANIFEST_SIZE, resolves_to
from ..descriptor import (
    INDEX_TYPES,
    MANIFEST_TYPES,
    OCI_EMPTY,
    OCI_INDEX,
    OCI_MANIFEST,
    Descriptor,
    canonical_json,
    check_digest,
    parse_json,
    sha256_digest,
)
from ..errors import (
    DigestMismatch,
    Forbidden,
    InvalidContent,
    InvalidReference,
    NotFound,
    ResponseError,
    SpackOciError,
    Unauthorized,
    UnexpectedResponse,
)
from ..reference import check_tag
from ..util.schemas import validate
from .client import RegistryClient
from .downloads import digest_with
from .existence import head_or_first_byte
from .http.fields import parse_media_type, parse_next_link, parse_number
from .http.response import Response
from .http.urls import absolute_url, without_query

ACCEPT = ", ".join(MANIFEST_TYPES + INDEX_TYPES)

#: bytes; registries without pagination send all tags at once (20,000 tags of 128 characters: 2.6 MiB)
MAX_LISTING_SIZE = 64 << 20
#: tags asked for at once; and where those are too many, which distribution 3.1 can be set to, as many as every
#: registry should serve (distribution-spec, "Listing Tags")
PAGE_SIZE = 1000
SMALL_PAGE_SIZE = 100
#: of one repository; more are no listing but an attempt to keep us busy (ECR allows 100,000 images)
MAX_TAGS = 5_000_000
#: and so many pages: 2,000,000 tags where a page has 100
MAX_PAGES = 20_000
#: pages in a row that bring nothing new before the listing is called endless
MAX_PAGES_WITHOUT_NEWS = 3

#: manifests that are there for which a registry says that it has no referrers API, in a row, until it is believed: a
#: proxy may not find a page for a moment
SURE_OF_NO_API = 3

_NO_ARTIFACTS = (
    "packages are images, and can be installed from there; this is an artifact of the image-spec 1.1, which this "
    f"registry does not take: its owner has to update it, or to allow the config type {OCI_EMPTY} (Quay: "
    "FEATURE_GENERAL_OCI_SUPPORT, ALLOWED_OCI_ARTIFACT_TYPES)"
)

#: manifests sent in all while the registry says that it does not know their blobs
MAX_BLOB_LOOKS = 6


class Manifests:
    """The manifest verbs of one repository."""

    def __init__(self, client: RegistryClient) -> None:
        self._client = client
        self._repository = client.repository
        self.url = client.repository.url
        #: how often in a row there was no referrers API for a manifest that is there
        self._without_api = 0

    def _url(self, reference: str) -> str:
        return f"{self._repository.endpoint}/manifests/{reference}"

    def _called(self, reference: str) -> str:
        return f"{self._repository}{'@' if ':' in reference else ':'}{reference}"

    def resolve(self, reference: str) -> Descriptor:
        check_reference(reference)
        response = head_or_first_byte(
            self._client,
            self._url(reference),
            f"looking up {self._called(reference)}",
            self._client.scopes("pull"),
            {"Accept": ACCEPT},
        )
        digest = response.field("Docker-Content-Digest") or (reference if ":" in reference else "")
        size = parse_number(response.field("Content-Length"))
        media_type = _told_media_type(response)
        incomplete = not is_digest(digest) or not size or not media_type or response.field("Content-Encoding")
        if response.method != "HEAD" or incomplete:
            return self.get(reference)[0]
        if ":" in reference and digest != reference:
            raise DigestMismatch(f"{self._called(reference)}: the registry says that its digest is {digest}")
        return Descriptor(media_type, digest, size or 0)

    def get(self, reference: str) -> Tuple[Descriptor, bytes]:
        check_reference(reference)
        try:
            return self._get_once(reference)
        except DigestMismatch:
            return self._get_once(reference)

    def _get_once(self, reference: str) -> Tuple[Descriptor, bytes]:
        response, data = self._client.read(
            self._url(reference),
            action=f"reading {self._called(reference)}",
            scopes=self._client.scopes("pull"),
            headers={"Accept": ACCEPT},
            limit=MAX_MANIFEST_SIZE,
        )
        expected = reference if ":" in reference else response.field("Docker-Content-Digest")
        digest = sha256_digest(data)
        if is_digest(expected):
            algorithm = expected.partition(":")[0]
            digest = digest if algorithm == "sha256" else digest_with(algorithm, data)
            if digest != expected:
                raise DigestMismatch(f"{self._called(reference)} came back with the digest {digest}, not {expected}")
        media_type = _told_media_type(response) or parse_json(data, self._called(reference)).get("mediaType")
        return Descriptor(media_type if isinstance(media_type, str) else OCI_MANIFEST, digest, len(data)), data

    def put(self, data: bytes, media_type: str, tag: Optional[str]) -> Descriptor:
        descriptor = Descriptor.of(data, media_type)
        reference = check_tag(tag) if tag else descriptor.digest
        try:
            response = self._put_until_blobs_are_known(data, media_type, reference)
        except UnexpectedResponse as e:
            # a registry that stores nothing twice (Oracle's, docker/cli #5874)
            if e.status != 409 or not resolves_to(self, reference, descriptor.digest):
                raise
            return descriptor
        stored = response.field("Docker-Content-Digest")
        if stored and stored.startswith("sha256:") and stored != descriptor.digest:
            raise DigestMismatch(f"storing {self._called(reference)}: the registry stored {stored}")
        if not response.field("OCI-Subject"):
            self._add_to_fallback(descriptor, data)
        return descriptor

    def _put_until_blobs_are_known(self, data: bytes, media_type: str, reference: str) -> Response:
        """docker-registry, with its content in a file system, does not find a blob in the moment in which somebody else
        stores the same one: it rewrites the file that says so. With many pushers that happens.
        """
        retry = self._client.settings.retry
        tries = 0
        while True:
            tries += 1
            try:
                return self._put_once(data, media_type, reference)
            except ResponseError as e:
                if e.status != 400 or "MANIFEST_BLOB_UNKNOWN" not in e.codes or tries == MAX_BLOB_LOOKS:
                    if b'"artifactType"' in data and _takes_no_artifacts(e):
                        e.remedy = _NO_ARTIFACTS
                    raise
            retry.sleep(retry.backoff(tries))

    def _put_once(self, data: bytes, media_type: str, reference: str) -> Response:
        return self._client.call(
            "PUT",
            self._url(reference),
            action=f"storing {self._called(reference)}",
            scopes=self._client.scopes("pull", "push"),
            accept=(200, 201, 202),
            headers={"Content-Type": media_type, "Content-Length": str(len(data))},
            body=lambda: [data],
            read_timeout=self._client.settings.commit_timeout,
        ).without_body()

    def delete(self, reference: str) -> None:
        """Raises NotFound if it is not there; 404 also means, in some registries, that nothing is ever deleted (ECR had
        no deletion until 2022: https://github.com/aws/containers-roadmap/issues/1229)."""
        check_reference(reference)
        try:
            self._client.call(
                "DELETE",
                self._url(reference),
                action=f"deleting {self._called(reference)}",
                scopes=self._client.scopes("pull", "push", "delete"),
                accept=(200, 202, 204),
            ).without_body()
        except NotFound as e:
            self.resolve(reference)
            raise UnexpectedResponse(
                f"{e.message}, and it is still there",
                status=405,
                remedy="this registry does not delete by its registry API: use its own tools, or prune with --untag",
            ) from e
        except UnexpectedResponse as e:
            if e.status in (400, 405):
                kind = "manifests" if ":" in reference else "single tags"
                e.remedy = f"this registry does not delete {kind}; its owner may have to allow it"
            raise

    # -- referrers ---------------------------------------------------------------------------------------------------

    def referrers(
        self, digest: str, artifact_type: Optional[str], listed: Optional[Container[str]] = None
    ) -> List[Descriptor]:
        """``listed``: tags of the repository. Who gives them has just read the manifest, so that a registry which has
        the API must not say that there is none (distribution-spec, "Listing Referrers"); after some that did, the tags
        alone tell."""
        check_digest(digest)
        if listed is None:
            found = self._referrers_api(digest, artifact_type)
            return self._of_type(self._read_fallback(digest) if found is None else found, artifact_type)
        if self._without_api < SURE_OF_NO_API:
            found = self._referrers_api(digest, artifact_type)
            if found is not None:
                self._without_api = 0
                return self._of_type(found, artifact_type)
            self._without_api += 1
        return self._of_type(self._read_fallback(digest) if fallback_tag(digest) in listed else [], artifact_type)

    @staticmethod
    def _of_type(found: List[Descriptor], artifact_type: Optional[str]) -> List[Descriptor]:
        return [d for d in found if artifact_type in (None, d.artifact_type)]

    def _referrers_api(self, digest: str, artifact_type: Optional[str]) -> Optional[List[Descriptor]]:
        """None: this registry has no referrers API."""
        query = f"?artifactType={urllib.parse.quote(artifact_type, safe='')}" if artifact_type else ""
        url = f"{self._repository.endpoint}/referrers/{digest}{query}"
        action = f"listing what refers to {digest} in {self._repository}"
        found: Dict[str, Descriptor] = {}
        counter = _PageCounter(action)
        try:
            for page in pages(self._client, url, action):
                if page.get("mediaType") != OCI_INDEX and "manifests" not in page:
                    return None
                found.update((d.digest, d) for d in descriptors_of(page, action))
                counter.count(len(found))
        except NotFound:
            return None
        except (Unauthorized, Forbidden):
            # who may read a manifest may list what refers to it, so it is no matter of credentials where the first is
            # allowed, but of a proxy that lets only known addresses through, or of a Harbor without this API (2.7)
            self._is_there(digest)
            return None
        except ResponseError as e:
            if e.status in (200, 400, 405, 406, 501):  # 200: a page, as of a web application for any address
                return None
            raise
        return list(found.values())

    def _read_fallback(self, digest: str) -> List[Descriptor]:
        tag = fallback_tag(digest)
        try:
            _, data = self.get(tag)
        except NotFound:
            return []
        return descriptors_of(parse_json(data, self._called(tag)), self._called(tag))

    def _add_to_fallback(self, descriptor: Descriptor, data: bytes) -> None:
        """distribution-spec, "Pushing Manifests with Subject": without the API, the client keeps the list itself.

        The list has no lock: whoever finds its entry missing afterwards, because another was faster, adds it again.
        """
        document = _document(data) if b'"subject"' in data else {}
        subject = document.get("subject")
        if not isinstance(subject, dict):
            return
        digest = check_digest(str(subject.get("digest")))
        if self._referrers_api(digest, None) is not None:
            return
        entry = Descriptor(
            descriptor.media_type,
            descriptor.digest,
            descriptor.size,
            annotations=document.get("annotations") or {},
            artifact_type=document.get("artifactType") or (document.get("config") or {}).get("mediaType"),
        )
        for _ in range(self._client.settings.retry.attempts):
            listed = self._read_fallback(digest)
            if any(d.digest == entry.digest for d in listed):
                return
            self._write_fallback(digest, [*listed, entry])
        raise UnexpectedResponse(f"{self._called(fallback_tag(digest))}: others overwrite this list all the time")

    def _write_fallback(self, digest: str, entries: List[Descriptor]) -> None:
        try:
            self._put_list(digest, entries)
        except (NotFound, UnexpectedResponse):
            # some registries refuse an index that names what somebody has deleted, and left in the list
            there = [entry for entry in entries if self._is_there(entry.digest)]
            if len(there) == len(entries):
                raise
            self._put_list(digest, there)

    def _put_list(self, digest: str, entries: List[Descriptor]) -> None:
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [d.to_dict() for d in entries]}
        self.put(canonical_json(index), OCI_INDEX, fallback_tag(digest))

    def _is_there(self, digest: str) -> bool:
        try:
            self.resolve(digest)
        except NotFound:
            return False
        return True

    # -- tags --------------------------------------------------------------------------------------------------------

    def tags(self) -> Iterator[str]:
        url = f"{self._repository.endpoint}/tags/list?n="
        action = f"listing the tags of {self._repository}"
        seen: Set[str] = set()
        counter = _PageCounter(action)
        try:
            for page in _first_of(
                pages(self._client, f"{url}{PAGE_SIZE}", action, _next_after_last, _after_last),
                pages(self._client, f"{url}{SMALL_PAGE_SIZE}", action, _next_after_last, _after_last),
            ):
                for tag in validate(page, "tag-list", action).get("tags") or []:
                    if isinstance(tag, str) and tag not in seen:
                        seen.add(tag)
                        yield tag
                if len(seen) > MAX_TAGS:
                    raise InvalidContent(f"{action}: there are more than {MAX_TAGS}")
                counter.count(len(seen))
        except NotFound:
            return


def _takes_no_artifacts(error: ResponseError) -> bool:
    """Quay: 415, or 400 (oras-project/oras #738); Gitea: 501 (go-gitea/gitea #25846)."""
    return error.status in (415, 501) or (error.status == 400 and "MANIFEST_INVALID" in error.codes)


def _first_of(pages: Iterator[Dict[str, Any]], smaller: Iterator[Dict[str, Any]]) -> Iterator[Dict[str, Any]]:
    """``smaller`` where a registry refuses the first of ``pages`` with 400: they are too large for it
    (https://github.com/distribution/distribution/issues/4844)."""
    try:
        first = next(pages, None)
    except UnexpectedResponse as e:
        if e.status != 400:
            raise
        yield from smaller
        return
    if first is not None:
        yield first
        yield from pages


class _PageCounter:
    """Ends a listing that would never end: after ``MAX_PAGES_WITHOUT_NEWS`` pages in a row that brought nothing new."""

    def __init__(self, action: str) -> None:
        self._action = action
        self._known = self._in_a_row = 0

    def count(self, known: int) -> None:
        """After each page: how many items are known by now."""
        self._in_a_row = self._in_a_row + 1 if known == self._known else 0
        self._known = known
        if self._in_a_row > MAX_PAGES_WITHOUT_NEWS:
            raise UnexpectedResponse(f"{self._action}: the pages bring nothing new")


#: (address of the first page, a page) -> address of the page after it, or None
NextPage = Callable[[str, Dict[str, Any]], Optional[str]]


def _nowhere(url: str, document: Dict[str, Any]) -> Optional[str]:
    return None


def pages(
    client: RegistryClient, url: str, action: str, next_of: NextPage = _nowhere, instead_of: NextPage = _nowhere
) -> Iterator[Dict[str, Any]]:
    """The JSON documents of a listing that is spread over pages: ``Link: <...>; rel="next"``.

    ``next_of``: the next page where the registry gives no link; ``instead_of``: where its link leads nowhere, or to a
    page that was there before. Raises NotFound if there is no first page; a page that is missing later, or comes again,
    is an error of another kind: what the pages before it had is not all.
    """
    visited: Set[str] = set()
    current: Optional[str] = url
    document: Optional[Dict[str, Any]] = None
    while current:
        failure: SpackOciError = UnexpectedResponse(f"{action}: the pages go round in circles")
        response = None
        if current not in visited:
            visited.add(current)
            if len(visited) > MAX_PAGES:
                raise UnexpectedResponse(f"{action}: there are more than {MAX_PAGES} pages")
            try:
                response, data = _read_page(client, current, action)
            except (NotFound, UnexpectedResponse) as e:
                if document is None:
                    raise
                failure = UnexpectedResponse(f"{e.message} (the next page)", status=getattr(e, "status", 404))
        if response is None:
            current = instead_of(url, document or {})
            if current is None or current in visited:
                raise failure
            continue
        document = parse_json(data, without_query(current))
        yield document
        link = parse_next_link(response.field("Link"))
        if link:
            current = _on_own_host(client, absolute_url(response.url, link), action)
        else:
            current = next_of(current, document)


def _read_page(client: RegistryClient, url: str, action: str) -> Tuple[Response, bytes]:
    return client.read(
        url,
        action=action,
        scopes=client.scopes("pull"),
        headers={"Accept": f"application/json, {OCI_INDEX}"},
        limit=MAX_LISTING_SIZE,
    )


def _on_own_host(client: RegistryClient, url: str, action: str) -> str:
    """A link to a next page, on this registry. One that a proxy made http is taken as https."""
    ours = urllib.parse.urlsplit(client.repository.endpoint)
    parts = urllib.parse.urlsplit(url)
    if parts.hostname != ours.hostname:
        raise UnexpectedResponse(f"{action}: the next page is on another host, {parts.hostname}")
    return urllib.parse.urlunsplit((ours.scheme, ours.netloc, parts.path, parts.query, ""))


def _next_after_last(url: str, document: Dict[str, Any]) -> Optional[str]:
    """distribution-spec, "Listing Tags": ``n`` and ``last``. Exactly as many tags as asked for: there may be more.

    A registry that ignores ``last`` (docker-registry 2.8) answers with all of them again: they were all.
    """
    tags = document.get("tags") or []  # validated already
    if len(tags) != _asked_for(url):
        return None
    return _after_last(url, document)


def _after_last(url: str, document: Dict[str, Any]) -> Optional[str]:
    tags = document.get("tags") or []
    if not tags or not isinstance(tags[-1], str):
        return None
    parts = urllib.parse.urlsplit(url)
    if urllib.parse.parse_qs(parts.query).get("last") == [tags[-1]]:
        return None
    query = urllib.parse.urlencode({"n": _asked_for(url), "last": tags[-1]})
    return urllib.parse.urlunsplit(parts._replace(query=query))


def _asked_for(url: str) -> int:
    """How many tags the address of a first page asks for."""
    return int(urllib.parse.parse_qs(urllib.parse.urlsplit(url).query)["n"][0])


def _told_media_type(response: Response) -> str:
    """Empty where it says nothing: a proxy or an object store may call a manifest anything."""
    media_type = parse_media_type(response.field("Content-Type"))
    return media_type if media_type.startswith("application/vnd.") else ""


def is_digest(text: str) -> bool:
    """Whether it is a digest that we can check; a registry may send one of an algorithm that we do not know."""
    try:
        check_digest(text)
    except InvalidReference:
        return False
    return True


def check_reference(reference: str) -> None:
    check_digest(reference) if ":" in reference else check_tag(reference)


def fallback_tag(digest: str) -> str:
    """distribution-spec, "Referrers Tag Schema"."""
    return digest.replace(":", "-", 1)


def descriptors_of(index: Dict[str, Any], label: str) -> List[Descriptor]:
    """The valid descriptors of an index; one that is damaged does not hide the others."""
    entries = validate({**index, "manifests": None}, "referrers", label) and index.get("manifests") or []
    if not isinstance(entries, list):
        raise InvalidContent(f"{label} is not valid: manifests is no list")
    found = []
    for entry in entries:
        try:
            found.append(Descriptor.from_dict(entry))
        except (InvalidContent, InvalidReference, TypeError, AttributeError):
            continue
    return found


def _document(data: bytes) -> Dict[str, Any]:
    try:
        document = json.loads(data)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}
