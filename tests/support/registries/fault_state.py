# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What the fault-injecting registry is told to do, what it keeps, and what it has seen."""

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple


@dataclass
class Fault:
    """Happens to the next ``times`` requests of ``method`` whose path (with query) contains ``path``.

    ``status``, ``headers``, ``body``: the answer, instead of the right one; the request's body is read before.
    ``early``: as ``status``, but without reading the request's body. ``reset_after``: of the request's body, or, if it
    has none, of the answer's, this many bytes pass before the connection is reset. ``truncate``: so many bytes of the
    answer, then an orderly close. ``corrupt``: a byte of the answer's body is another. ``ignore_range``: the whole
    content although a part was asked for. ``wrong_range``: a part other than the one asked for. ``dribble``: seconds
    between the bytes of the answer, after the first ``dribble_after``. ``endless``: a body that never ends. ``raw``:
    the answer, head and all; after it ``repeat``, for ever. ``skip``: requests to let pass first.
    """

    method: str
    path: str = ""
    times: int = 1
    skip: int = 0
    status: int = 0
    headers: Dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    early: bool = False
    reset_after: Optional[int] = None
    truncate: Optional[int] = None
    corrupt: bool = False
    ignore_range: bool = False
    wrong_range: bool = False
    dribble: float = 0.0
    dribble_after: int = 0
    endless: bool = False
    raw: bytes = b""
    repeat: bytes = b""

    def applies_to(self, method: str, path: str) -> bool:
        if self.method not in (method, "*") or self.path not in path or self.times < 1:
            return False
        if self.skip:
            self.skip -= 1
            return False
        self.times -= 1
        return True


ONE_USER = {"alice": ("correct-horse-battery", "pull,push,delete")}


@dataclass
class Behaviour:
    """What a registry may be like. ``auth``: None, ``basic`` or ``bearer``; ``users``: name to (password, actions)."""

    auth: Optional[str] = None
    users: Dict[str, Tuple[str, str]] = field(default_factory=lambda: dict(ONE_USER))
    anonymous_actions: str = ""
    identity_tokens: Dict[str, str] = field(default_factory=dict)  # token: user
    oauth_post: bool = True
    token_field: str = "token"
    token_lifetime: float = 300.0
    token_uses: int = 0  # requests that a token is good for; 0: any number
    expires_in: bool = True
    tells_scope: bool = False  # the token server says what it granted
    challenge: str = ""  # instead of the right one; {realm} and {scope} are filled in
    asks_at_base: bool = False  # for credentials, at /v2/ alone; 403 to anonymous requests elsewhere (pixi #6318)
    tells_at_base: bool = False  # how it wants credentials, at /v2/ alone; a bare 401 elsewhere
    mounts: bool = True
    referrers: bool = True
    delete_tags: bool = False
    keeps_tagged: bool = False  # no manifest is deleted that a tag names (Google)
    max_body: int = 0  # bytes of one request's body; more is refused with 413
    stores_once: bool = False  # 409 to a manifest that is there (Oracle)
    min_chunk: int = 0
    progress: str = ""  # what the Range of an upload is of: all; "first": the first piece for ever; "piece": the last
    location: str = "absolute"  # or "relative", "query", "outside" (of /v2/, as Google's)
    with_post: str = "ignored"  # a blob that comes with the POST; or "stored", "refused"
    digest_header: bool = True
    page_size: int = 0  # tags a page; 0: all at once
    page_style: str = "link"  # or "last": no Link; "count": one with a number instead of a tag
    max_page: int = 0  # tags a page that may be asked for (distribution 3.1, tags.maxtags)
    compresses: bool = False  # manifests, whatever is asked for, as a proxy before it may do
    checks_indexes: bool = False  # an index that names a manifest that is not there is refused
    redirect_blobs: str = ""  # base URL of another host that has the blobs
    refuse_head_after_redirect: bool = False
    rate: float = 0.0  # requests a second, by a token bucket; more are refused with 429
    burst: int = 1  # size of the bucket
    retry_after: str = ""  # of the 429
    interim: bytes = b""  # before each answer, as 103 Early Hints of a CDN


@dataclass
class Repository:
    blobs: Dict[str, bytes] = field(default_factory=dict)
    manifests: Dict[str, Tuple[str, bytes]] = field(default_factory=dict)
    tags: Dict[str, str] = field(default_factory=dict)


class FaultRegistry:
    """The state, and the record of requests. ``faults`` may be changed at any time."""

    def __init__(self, behaviour: Behaviour, faults: List[Fault], directory: Path, ca: Optional[str] = None) -> None:
        self.behaviour = behaviour
        self.faults = faults
        self.directory = directory
        self.ca = ca
        self.scheme = "https" if ca else "http"
        self.host = ""
        self.lock = threading.RLock()
        self.repositories: Dict[str, Repository] = {}
        self.uploads: Dict[str, bytearray] = {}
        self.bucket = (-1.0, 0.0)  # tokens, when
        self.tokens: Dict[str, Tuple[float, Dict[str, str]]] = {}
        self.uses: Dict[str, int] = {}  # of each token
        self.log: List[str] = []
        self.server: Any = None
        self.seen: List[Tuple[str, str, Dict[str, str]]] = []

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.host}"

    def repository(self, name: str) -> Repository:
        return self.repositories.setdefault(name, Repository())

    def requests(self) -> List[str]:
        """``METHOD PATH STATUS`` of each request; status 0 where the connection was cut."""
        with self.lock:
            return list(self.log)

    def methods(self) -> List[str]:
        """``METHOD STATUS`` of each request, those for tokens as ``token``."""
        found = []
        for line in self.requests():
            method, path, status = line.split(" ")
            found.append(f"{'token' if path.startswith('/token') else method} {status}")
        return found

    def takes_token(self) -> bool:
        """Whether the token bucket lets one more request pass."""
        if not self.behaviour.rate:
            return True
        with self.lock:
            now, (left, at) = time.monotonic(), self.bucket
            left = (
                self.behaviour.burst if left < 0 else min(self.behaviour.burst, left + (now - at) * self.behaviour.rate)
            )
            self.bucket = (left - 1 if left >= 1 else left, now)
            return left >= 1

    def fault_for(self, method: str, path: str) -> Fault:
        with self.lock:
            return next((f for f in self.faults if f.applies_to(method, path)), Fault("none"))
