# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What a registry can do and what we may do there, found out without leaving a trace: for ``spack oci doctor``.

Uploads that are opened to test the permission to push are cancelled; the only blob that is mounted is one that the
repository has already; and what is deleted does not exist.
"""

import base64
import json
import socket
import ssl
import time
import urllib.parse
from dataclasses import dataclass
from typing import Any, Callable, Dict, FrozenSet, List, Optional

from ..descriptor import Descriptor, parse_json, sha256_digest
from ..errors import Forbidden, InvalidContent, InvalidReference, NotFound, SpackOciError, TransportError, Unauthorized
from .auth.tokens import scope_parts
from .http.fields import parse_date, parse_upload_range
from .http.proxies import proxy_for
from .http.response import Response
from .http.tls import tls_context
from .http.transport_errors import transport_error
from .manifests import fallback_tag
from .store import RegistryStore
from .uploads import UploadSession

OK, WARN, FAIL, SKIP = "ok", "warn", "fail", "skip"

#: seconds; tokens are not accepted by servers whose clock differs by more
TOLERATED_SKEW = 60
#: days
CERTIFICATE_ENDS_SOON = 14
#: what a token may carry for a repository
_ACTIONS = ("pull", "push", "delete")
#: a digest that nobody has
NOWHERE = sha256_digest(b"spack oci doctor looks for something that is not there")
#: why nothing can be deleted
NOT_ALLOWED = "not allowed"
_EVERY_STATUS = frozenset(range(200, 600))


@dataclass(frozen=True)
class Check:
    """One line of the doctor's table. ``status``: ``ok``; ``warn``: works, but; ``fail``: would fail; ``skip``."""

    name: str
    status: str
    detail: str

    def to_dict(self) -> Dict[str, str]:
        return {"name": self.name, "status": self.status, "detail": self.detail}


def probe_repository(store: RegistryStore, push: Optional[bool] = None) -> List[Check]:
    """All checks, in the order in which they build on one another.

    ``push``: whether the mirror is meant to be pushed to; if it is, not being allowed to is a failure. None: nobody
    said so, and who has credentials is told: those of most people are for pulling.
    Never raises an error of ours: that is what a check reports.
    """
    checks = _connection(store)
    if any(c.status == FAIL for c in checks):
        return checks
    credentials = _guarded("credentials", lambda: _credentials(store))
    if credentials.status == FAIL:
        return [*checks, credentials]
    if push is None:
        refused = WARN if store.client.authorizer.credentials else OK
    else:
        refused = FAIL if push else OK
    sample, allowed = _Sample(store), _Allowed()
    try:  # the first request
        checks.append(_clock(store))
    except TransportError as e:  # it is down: all the others would say the same
        return [*(c for c in checks if c.name != "network"), Check("network", FAIL, str(e))]
    except SpackOciError as e:
        checks.append(Check("clock", FAIL, str(e)))
    checks.append(_guarded("tags", lambda: _tags(sample, allowed)))
    checks.append(credentials)
    tried = _uploads(store, refused, allowed)
    tried.append(_guarded("mount", lambda: _mount(store, sample)))
    tried.append(_guarded("ranges", lambda: _ranges(store, sample, allowed)))
    tried.append(_guarded("referrers", lambda: _referrers(store)))
    tried.append(_guarded("delete", lambda: _delete(store, allowed)))
    # after what it may have to be told from
    return [*checks, _guarded("scopes", lambda: _scopes(store, refused, allowed)), *tried]


def _guarded(name: str, check: Callable[[], Check]) -> Check:
    try:
        return check()
    except SpackOciError as e:
        return Check(name, FAIL, str(e))


# -- the way there -----------------------------------------------------------------------------------------------------


def _connection(store: RegistryStore) -> List[Check]:
    endpoint = urllib.parse.urlsplit(store.repository.endpoint)
    shown = f"{endpoint.scheme}://{endpoint.netloc}, repository {store.repository.name}"
    checks = [Check("url", OK if endpoint.scheme == "https" else WARN, shown + _plain_http(endpoint.scheme))]
    proxy = proxy_for(f"{endpoint.scheme}://{endpoint.netloc}")
    if proxy:
        return [*checks, Check("network", OK, f"through the proxy {urllib.parse.urlsplit(proxy).hostname}")]
    host, port = endpoint.hostname or "", endpoint.port or (443 if endpoint.scheme == "https" else 80)
    try:
        addresses = sorted({str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)})
    except OSError as e:
        return [*checks, Check("network", FAIL, f"{host} has no address: {e.strerror or e}")]
    checks.append(Check("network", OK, f"{host} is {', '.join(addresses)}"))
    if endpoint.scheme == "https":
        checks.append(_tls(store, host, port))
    return checks


def _plain_http(scheme: str) -> str:
    return "" if scheme == "https" else "; not encrypted, anybody on the way can read and change what is sent"


def _tls(store: RegistryStore, host: str, port: int) -> Check:
    settings = store.settings
    try:
        context = tls_context(settings)
        raw = socket.create_connection((host, port), settings.connect_timeout)
        with raw, context.wrap_socket(raw, server_hostname=host) as sock:
            version, certificate = sock.version(), sock.getpeercert() or {}
    except SpackOciError as e:
        return Check("tls", FAIL, str(e))
    except OSError as e:
        return Check("tls", FAIL, str(transport_error(e, f"connecting to {host}:{port}", store.repository.host)))
    if not settings.verify_tls:
        return Check("tls", WARN, f"{version}; certificates are not verified (config:verify_ssl)")
    by = settings.ca_bundle or "the system's certificates"
    days = _days_left(certificate)
    ends = "" if days is None else f", the certificate is good for {days} days"
    soon = days is not None and days < CERTIFICATE_ENDS_SOON
    return Check("tls", WARN if soon else OK, f"{version}, verified by {by}{ends}")


def _days_left(certificate: Any) -> Optional[int]:
    end = certificate.get("notAfter")
    return int((ssl.cert_time_to_seconds(end) - time.time()) // 86400) if end else None


def _clock(store: RegistryStore) -> Check:
    response = _ask(store, "GET", f"{store.repository.api_root}/", store.client.scopes("pull"))
    theirs = parse_date(response.field("Date"))
    if theirs is None:
        return Check("clock", SKIP, "the registry does not tell its time")
    skew = time.time() - theirs
    if abs(skew) <= TOLERATED_SKEW:
        return Check("clock", OK, f"within {TOLERATED_SKEW} s of the registry's")
    ahead = "ahead of" if skew > 0 else "behind"
    return Check("clock", WARN, f"this machine is {abs(skew):.0f} s {ahead} the registry: tokens may be refused")


# -- who we are --------------------------------------------------------------------------------------------------------


def _credentials(store: RegistryStore) -> Check:
    found = store.client.authorizer.credentials
    problems = store.client.authorizer.problems
    if found is None and problems:
        return Check("credentials", WARN, f"none, requests are anonymous: {'; '.join(map(str, problems))}")
    if found is None:
        asked = ", ".join(s.describe() for s in store.settings.credentials) or "no place to look"
        return Check("credentials", OK, f"none, requests are anonymous (looked in: {asked})")
    user = f"user {found.username}" if found.username and found.password else "a token"
    return Check("credentials", OK, f"{user}, from {found.origin}")


class _Allowed(Dict[str, bool]):
    """What the registry let us do, by its answers: ``pull``, ``push``, ``delete``; what it did not tell is not here."""

    def __str__(self) -> str:
        yes, no = ([a for a in _ACTIONS if self.get(a) is allowed] for allowed in (True, False))
        said = [f"allowed {', '.join(yes)}"] if yes else []
        said += [f"refused {', '.join(no)}"] if no else []
        return f"the registry {' and '.join(said) or 'did not tell what is allowed'}"


def _scopes(store: RegistryStore, no_push: str, allowed: _Allowed) -> Check:
    """What a token that was asked for everything really carries: by itself, by its server, or by what could be done.

    ``no_push``: the status if it may only be pulled.
    """
    name = store.repository.name
    auth = store.client.authorizer.known_auth(store.client.scopes(*_ACTIONS))
    actions, said = token_actions(auth.token, name), "the token carries"
    if actions is None:
        actions, said = scope_actions(auth.scope, name), "the token server says that it granted"
    if actions is not None:
        granted = [a for a in _ACTIONS if a in actions or "*" in actions]
        status = FAIL if "pull" not in granted else OK if "push" in granted else no_push
        return Check("scopes", status, f"{said} {', '.join(granted) or 'nothing'} for {name}")
    if auth.token:
        kind = "what the token carries cannot be read"
    else:
        kind = "user and password go with every request" if auth.header else "requests go without credentials"
        kind = f"no tokens: {kind}"
    status = FAIL if allowed.get("pull") is False else no_push if allowed.get("push") is False else OK
    return Check("scopes", status, f"{kind}; {allowed}")


def scope_actions(scope: str, repository: str) -> Optional[FrozenSet[str]]:
    """The actions on a repository in the ``scope`` of a token server's response; None if it has none of a registry.

    >>> sorted(scope_actions("repository:a/b:pull,push registry:catalog:*", "a/b"))
    ['pull', 'push']
    """
    parts = [scope_parts(one) for one in scope.split() if one.count(":") >= 2]
    granted = [actions.split(",") for kind, name, actions in parts if kind == "repository" and name == repository]
    return frozenset(action for actions in granted for action in actions if action) if parts else None


def token_actions(token: str, repository: str) -> Optional[FrozenSet[str]]:
    """The actions that a JSON web token grants on a repository; None if it is no token that says so (``access``)."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        # Azure writes the names with capitals
        access = [{key.lower(): value for key, value in entry.items()} for entry in claims["access"] or []]
        granted = [e.get("actions") or [] for e in access if e.get("type") == "repository" and e["name"] == repository]
        return frozenset(action for actions in granted for action in actions)
    except (ValueError, AttributeError, KeyError, TypeError):
        return None


# -- what we may do ----------------------------------------------------------------------------------------------------


def _uploads(store: RegistryStore, refused: str, allowed: _Allowed) -> List[Check]:
    """Open an upload, send a piece, cancel. ``refused``: the status if that is not allowed."""
    try:
        session = store.uploader.start(NOWHERE)
    except (Unauthorized, Forbidden) as e:
        allowed["push"] = False
        return [Check("push", refused, f"not allowed: {e.message if refused == OK else e}")]
    except SpackOciError as e:
        return [Check("push", FAIL, str(e))]
    allowed["push"] = True
    if session is None:
        return [Check("push", WARN, "the registry took an upload without content for done")]
    pieces = _guarded("chunked upload", lambda: _piece(store, session))
    cancelled = store.uploader.cancel(session)
    left = "" if cancelled else "; the registry cannot cancel uploads, it will forget the one opened here"
    return [Check("push", OK, f"allowed (an upload was opened and cancelled){left}"), pieces]


def _piece(store: RegistryStore, session: UploadSession) -> Check:
    """PATCH as the uploader does it; without it, uploads work in one piece only."""
    data = b"spack oci doctor"
    if session.min_chunk > len(data):
        return Check("chunked upload", OK, f"in pieces of at least {session.min_chunk} bytes (not tried)")
    headers = {
        "Content-Length": str(len(data)),
        "Content-Range": f"0-{len(data) - 1}",
        "Content-Type": "application/octet-stream",
    }
    scopes = store.client.scopes("pull", "push")
    response = _ask(store, "PATCH", session.url, scopes, headers, data)
    if response.field("Location"):
        session.url = store.client.location(response)
    if response.status not in (202, 204):
        return Check("chunked upload", WARN, f"answered {response.status}: large layers cannot be resumed")
    if parse_upload_range(response.field("Range")) != len(data):
        return Check("chunked upload", WARN, "works, but the registry does not say what it has received")
    if _ask(store, "GET", session.url, scopes).status not in (200, 202, 204):
        return Check("chunked upload", WARN, "works, but the registry forgets broken uploads: they start again")
    return Check("chunked upload", OK, "works, uploads can be resumed")


class _Sample:
    """A blob that is there already, to try things with: the first layer of any tag."""

    def __init__(self, store: RegistryStore) -> None:
        self._store = store
        self._tags: List[str] = []
        self._found: Optional[Descriptor] = None

    def list_tags(self) -> Check:
        self._tags = list(self._store.tags())
        if not self._tags:
            return Check("tags", OK, "none: the repository is empty or does not exist yet")
        packages = sum(tag.endswith(".spack") and tag != "index.spack" for tag in self._tags)
        return Check("tags", OK, f"{len(self._tags)}, of which {packages} are packages")

    def blob(self) -> Optional[Descriptor]:
        if self._found is None:
            self._found = self._look()
        return self._found

    def _look(self) -> Optional[Descriptor]:
        for tag in self._tags[:3]:
            try:
                _, data = self._store.get_manifest(tag)
                document = parse_json(data, tag)
                found = [Descriptor.from_dict(d) for d in document.get("layers") or []]
            except (NotFound, InvalidContent, InvalidReference):
                continue
            if found:
                return found[-1]
        return None


def _tags(sample: _Sample, allowed: _Allowed) -> Check:
    try:
        found = sample.list_tags()
    except (Unauthorized, Forbidden):
        allowed["pull"] = False
        raise
    allowed["pull"] = True
    return found


def _mount(store: RegistryStore, sample: _Sample) -> Check:
    blob = sample.blob()
    if blob is None:
        return Check("mount", SKIP, "nothing here yet to try it with")
    if store.mount_blob(blob, store.repository.name):
        return Check("mount", OK, "works, layers of other repositories of this registry are not sent again")
    store.close()  # the upload that was opened instead
    return Check("mount", WARN, "not done by this registry (or not allowed): layers are sent again to each repository")


def _ranges(store: RegistryStore, sample: _Sample, allowed: _Allowed) -> Check:
    blob = sample.blob()
    if blob is None:
        return Check("ranges", SKIP, "nothing here yet to try it with")
    url = f"{store.repository.endpoint}/blobs/{blob.digest}"
    response = _ask(store, "GET", url, store.client.scopes("pull"), {"Range": "bytes=0-0"})
    if response.status in (200, 206):
        allowed["pull"] = True
    if response.status == 206:
        return Check("ranges", OK, "obeyed, downloads can be resumed")
    if response.status == 200:
        return Check("ranges", WARN, "ignored: a download that breaks starts again")
    return Check("ranges", FAIL, f"a layer that is in use, {blob.digest}, cannot be read: {response.status}")


def _referrers(store: RegistryStore) -> Check:
    response = _ask(store, "GET", f"{store.repository.endpoint}/referrers/{NOWHERE}", store.client.scopes("pull"))
    if response.status == 200:
        return Check("referrers", OK, "the registry lists them")
    tag = fallback_tag(NOWHERE)[:12]
    return Check("referrers", OK, f"no such API ({response.status}): signatures are listed under tags like {tag}...")


def _delete(store: RegistryStore, allowed: _Allowed) -> Check:
    refused = deletion_refused(store)
    if refused:
        if refused.startswith(NOT_ALLOWED):  # else nobody may
            allowed["delete"] = False
        return Check("delete", WARN, f"{refused}: `spack oci prune` will not work")
    allowed["delete"] = True
    return Check("delete", OK, "allowed")


def deletion_refused(store: RegistryStore) -> str:
    """Why nothing can be deleted in this repository; empty if it can. Asked of a manifest that does not exist."""
    scopes = store.client.scopes("pull", "push", "delete")
    status = _ask(store, "DELETE", f"{store.repository.endpoint}/manifests/{NOWHERE}", scopes).status
    if status in (401, 403):
        return f"{NOT_ALLOWED}, the request was {store.client.authorizer.identity()}"
    return f"switched off ({status})" if status in (400, 405, 501) else ""


def _ask(
    store: RegistryStore,
    method: str,
    url: str,
    scopes: FrozenSet[str],
    headers: Optional[Dict[str, str]] = None,
    data: bytes = b"",
) -> Response:
    """Any response; only a failure on the way, or a registry in trouble, is an error."""
    body = (lambda: [data]) if data else None
    response = store.client.call(
        method,
        url,
        action=f"{method} {urllib.parse.urlsplit(url).path}",
        scopes=scopes,
        accept=_EVERY_STATUS - store.settings.retry.statuses,
        headers=headers,
        body=body,
    )
    response.abort() if response.status == 200 and method == "GET" else response.discard()
    return response


def worst(checks: List[Check]) -> str:
    """The gravest status."""
    order = (OK, SKIP, WARN, FAIL)
    return max((c.status for c in checks), key=order.index, default=OK)
