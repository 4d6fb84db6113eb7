# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Deleting from ghcr.io, which answers every DELETE of the distribution API with 405: GitHub's REST API for packages.

A manifest is a *version* of a package of type ``container``; its name is the digest. A version goes with all its tags,
and can be restored for 30 days. A public one with more than 5,000 downloads, and the last one of a package, cannot be
deleted. https://docs.github.com/en/rest/packages/packages
"""

import threading
import time
import urllib.parse
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Set

from ..descriptor import parse_json
from ..errors import (
    CANNOT_BE_DELETED,
    ConfigurationError,
    Forbidden,
    InvalidContent,
    NotFound,
    RateLimited,
    ResponseError,
    SpackOciError,
    Unauthorized,
    UnexpectedResponse,
)
from ..reference import Repository
from .http.fields import parse_date, parse_next_link, parse_number
from .http.response import Response, decoded
from .http.response_errors import error_from_response
from .http.retry import RetryPolicy
from .http.transport import Transport
from .http.urls import absolute_url, origin_of
from .manifests import MAX_TAGS
from .settings import USER_AGENT

API = "https://api.github.com"
_PAGE = 100
#: seconds; a time of day is told until when
_LONGEST_WAIT = 7 * 86400.0
#: bytes of a page of versions; one has some 1 kB
_MAX_PAGE = 8 << 20
_TOKEN_REMEDY = (
    "set GITHUB_TOKEN to a token with read:packages and delete:packages; in GitHub Actions the repository needs the "
    "role Admin on the package (package settings, Manage Actions access)"
)


class PackageVersion(NamedTuple):
    id: int
    digest: str
    tags: Sequence[str]


class GithubPackages:
    """The versions of the package behind a repository of ghcr.io. Safe to use from several threads.

    ``api``: base URL (in GitHub Actions ``$GITHUB_API_URL``). Raises ConfigurationError for a token that would be sent
    over http to another machine.
    """

    def __init__(
        self,
        repository: Repository,
        token: str,
        transport: Transport,
        retry: Optional[RetryPolicy] = None,
        api: str = API,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._owner, _, self._name = repository.name.partition("/")
        self._token = token
        self._transport = transport
        self._retry = retry or RetryPolicy()
        self._api = api.rstrip("/")
        self._now = now
        host = urllib.parse.urlsplit(self._api).hostname or ""
        if not self._api.startswith("https://") and host not in ("localhost", "127.0.0.1", "::1"):
            raise ConfigurationError(
                f"GITHUB_API_URL is {self._api}: a token is not sent over http", remedy="name an https URL"
            )
        if not self._name:
            raise ConfigurationError(f"{repository.url} names an owner and no package of GitHub")
        #: where the versions are; None: not known yet
        self._versions_url: Optional[str] = None
        self._versions: Optional[Dict[str, PackageVersion]] = None
        self._lock = threading.Lock()

    def versions(self) -> Mapping[str, PackageVersion]:
        """By digest; asked for once. Raises NotFound where there is no such package, or the token may not see it."""
        with self._lock:
            if self._versions is None:
                self._versions = {version.digest: version for version in self._listed()}
            return self._versions

    def delete(self, digest: str) -> None:
        """Raises NotFound for a digest that is no version; UnexpectedResponse with the code CANNOT_BE_DELETED where
        GitHub keeps just this one."""
        version = self.versions().get(digest)
        if version is None:
            raise NotFound(f"GitHub knows no version {digest} of the package {self._owner}/{self._name}")
        url = f"{self._versions_url}/{version.id}"
        self._call("DELETE", url, f"deleting {digest} by GitHub's API", (204,)).discard()
        with self._lock:
            if self._versions is not None:
                self._versions.pop(digest, None)

    def _listed(self) -> List[PackageVersion]:
        """An organization's packages and a user's are in different places."""
        name = urllib.parse.quote(self._name, safe="")
        missing: Optional[NotFound] = None
        for owners in ("orgs", "users"):
            base = f"{self._api}/{owners}/{urllib.parse.quote(self._owner, safe='')}/packages/container/{name}/versions"
            try:
                found = self._pages(f"{base}?per_page={_PAGE}")
            except NotFound as e:
                missing = missing or e
                continue
            self._versions_url = base
            return found
        assert missing is not None
        raise NotFound(missing.message, remedy=_TOKEN_REMEDY)

    def _pages(self, first: str) -> List[PackageVersion]:
        found: List[PackageVersion] = []
        known: Set[int] = set()
        url: Optional[str] = first
        while url:
            response = self._call("GET", url, f"listing the versions of {self._owner}/{self._name} at GitHub", (200,))
            link = parse_next_link(response.field("Link"))
            data = decoded(response, _MAX_PAGE)
            listed = [_version(entry) for entry in _listing(data)]
            before = len(known)
            known.update(version.id for version in listed)
            if link and (len(known) == before or len(known) > MAX_TAGS):
                raise UnexpectedResponse("GitHub's list of versions has no end", status=200)
            found += listed
            url = absolute_url(response.url, link) if link else None
            if url and origin_of(url) != origin_of(self._api):
                raise UnexpectedResponse(f"GitHub's API leads to {origin_of(url)} for the next page", status=200)
        return found

    def _call(self, method: str, url: str, action: str, accept: Sequence[int]) -> Response:
        headers = {
            "Accept": "application/vnd.github+json",
            "Authorization": f"Bearer {self._token}",
            "X-GitHub-Api-Version": "2022-11-28",
            "User-Agent": USER_AGENT,
        }
        tries = 0
        while True:
            tries += 1
            response = self._transport.send(method, url, headers)
            if response.status in accept:
                return response
            error = self._error(response, action)
            wait = self._retry.wait_before_retry(error, tries)
            if wait is None:
                raise error
            self._retry.sleep(wait)

    def _error(self, response: Response, action: str) -> SpackOciError:
        wait = self._until_reset(response)
        error = error_from_response(response, action, "", (self._token,))
        error.message = error.message.replace("the registry answered", "GitHub answered")
        if wait is not None:
            when = time.strftime("%H:%M", time.localtime(self._now() + wait))
            return RateLimited(
                error.message,
                status=429,
                retry_after=wait,
                remedy=f"its limit of requests is reached until {when}: prune again then, the plan is in the cache",
            )
        if "cannot be deleted" in error.message.lower() or "cannot delete the last" in error.message.lower():
            status = error.status if isinstance(error, ResponseError) else 400
            return UnexpectedResponse(
                error.message,
                status=status,
                codes=(CANNOT_BE_DELETED,),
                remedy="it stays; GitHub's support deletes it, or the whole package is deleted in its settings",
            )
        if isinstance(error, (Unauthorized, Forbidden)):
            error.remedy = _TOKEN_REMEDY
        return error

    def _until_reset(self, response: Response) -> Optional[float]:
        """Seconds until requests are allowed again; None: the answer is about something else.

        https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api
        """
        if response.status not in (403, 429):
            return None
        asked = parse_number(response.field("Retry-After"))
        if asked is not None:
            return float(min(asked, _LONGEST_WAIT))
        if response.field("X-RateLimit-Remaining") != "0":
            return None
        reset = parse_number(response.field("X-RateLimit-Reset"))
        server = parse_date(response.field("Date")) or self._now()
        return min(max(1.0, reset - server), _LONGEST_WAIT) if reset is not None else 60.0


def _listing(data: bytes) -> List[Any]:
    """The document is a list, which :func:`parse_json` does not take by itself."""
    found = parse_json(b'{"versions":' + data + b"}", "GitHub's list of versions")["versions"]
    if not isinstance(found, list):
        raise InvalidContent("GitHub's list of versions is no list")
    return found


def _version(entry: Any) -> PackageVersion:
    try:
        tags = ((entry.get("metadata") or {}).get("container") or {}).get("tags") or ()
        return PackageVersion(int(entry["id"]), str(entry["name"]), tuple(map(str, tags)))
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as e:
        raise InvalidContent(f"GitHub's list of versions has an entry that is none ({type(e).__name__}: {e})") from None


class GithubDeletion:
    """A store of ghcr.io whose manifests are deleted by the REST API; everything else is the store's own."""

    def __init__(self, store: Any, packages: GithubPackages) -> None:
        self._store = store
        self._packages = packages

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def delete_manifest(self, reference: str) -> None:
        """A digest. A tag alone cannot be removed: GitHub deletes a version with all its tags (ConfigurationError)."""
        if ":" in reference:
            self._packages.delete(reference)
            return
        digest = self._store.resolve(reference).digest
        tags = self._packages.versions()[digest].tags if digest in self._packages.versions() else ()
        if set(tags) - {reference}:
            raise ConfigurationError(
                f"{reference} cannot be removed alone: GitHub deletes a version with all its tags "
                f"({', '.join(sorted(tags))})",
                remedy="--untag moves the tag away from it",
            )
        self._packages.delete(digest)
