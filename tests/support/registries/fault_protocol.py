# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The distribution protocol as the fault-injecting registry speaks it, and what faults do to it."""

import base64
import gzip
import hashlib
import json
import re
import socket
import struct
import time
import urllib.parse
import uuid
from http.server import BaseHTTPRequestHandler
from typing import Any, Dict, List, Optional

from support.registries.fault_state import FaultRegistry

NAME = r"(?P<name>[a-z0-9._/-]+)"
ROUTES = [
    (re.compile(r"/v2/?\Z"), "base"),
    (re.compile(rf"/v2/{NAME}/blobs/uploads/?\Z"), "uploads"),
    (re.compile(rf"/v2/{NAME}/blobs/uploads/(?P<id>[0-9a-f-]+)\Z"), "upload"),
    (re.compile(rf"/v2/{NAME}/blobs/(?P<digest>[a-z0-9]+:[0-9a-f]+)\Z"), "blob"),
    (re.compile(rf"/v2/{NAME}/manifests/(?P<reference>[^/]+)\Z"), "manifest"),
    (re.compile(rf"/v2/{NAME}/tags/list\Z"), "tags"),
    (re.compile(rf"/v2/{NAME}/referrers/(?P<digest>[a-z0-9]+:[0-9a-f]+)\Z"), "referrers"),
    (re.compile(r"/token\Z"), "token"),
    (re.compile(rf"/artifacts-uploads/{NAME}/uploads/(?P<id>[0-9a-f-]+)\Z"), "upload"),
]


class Cut(Exception):
    """The connection is gone, on purpose."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    registry: FaultRegistry
    disable_nagle_algorithm = True
    wbufsize = 1 << 16

    # -- the frame ---------------------------------------------------------------------------------------------------

    def handle_one_request(self) -> None:
        self._status = 0
        self._left = 0
        self.command = ""
        try:
            super().handle_one_request()
        except (Cut, BrokenPipeError, ConnectionResetError, TimeoutError):
            self.close_connection = True

    def log_message(self, *_: Any) -> None:
        pass

    def _record(self) -> None:
        if getattr(self, "command", None) and self.path:
            with self.registry.lock:
                self.registry.log.append(f"{self.command} {self.path} {self._status}")

    def _serve(self) -> None:
        self._left = int(self.headers.get("Content-Length") or 0)
        with self.registry.lock:
            self.registry.seen.append((self.command, self.path, dict(self.headers.items())))
        self._fault = self.registry.fault_for(self.command, self.path)
        if not self.registry.takes_token():
            self._read_body()
            after = self.registry.behaviour.retry_after
            return self._error(429, "TOOMANYREQUESTS", "slow down", {"Retry-After": after} if after else None)
        if self._fault.early:
            self.close_connection = True
            return self.answer(self._fault.status, self._fault.headers, self._fault.body)
        limit = self.registry.behaviour.max_body
        if limit and self._left > limit:
            self._read_body()
            return self._error(413, "SIZE_INVALID", "request entity too large")
        if self._fault.raw or self._fault.repeat:
            self._read_body()
            return self._send_raw()
        if self._fault.status:
            self._read_body()
            return self.answer(self._fault.status, self._fault.headers, self._fault.body)
        url = urllib.parse.urlsplit(self.path)
        self.query = dict(urllib.parse.parse_qsl(url.query))
        for pattern, route in ROUTES:
            match = pattern.match(urllib.parse.unquote(url.path))
            if match:
                return self._dispatch(route, match.groupdict())
        self._read_body()
        self._error(404, "NOT_FOUND", "no such endpoint")

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _serve

    def _dispatch(self, route: str, parts: Dict[str, str]) -> None:
        method = getattr(self, f"{self.command.lower()}_{route}", None)
        if method is None and self.command == "HEAD":
            method = getattr(self, f"get_{route}", None)
        if method is None:
            self._read_body()
            return self._error(405, "UNSUPPORTED", "not allowed")
        action = {"GET": "pull", "HEAD": "pull", "DELETE": "delete"}.get(self.command, "push")
        if route == "upload":
            action = "push"
        if route != "token" and not self._allowed(parts.get("name", ""), action):
            self._read_body()
            return self._unauthorized(parts.get("name", ""), action)
        method(**parts)

    def _read_body(self) -> bytes:
        chunks = []
        cut = self._fault.reset_after
        done = 0
        while self._left:
            chunk = self.rfile.read(min(1 << 16, self._left if cut is None else min(self._left, max(1, cut - done))))
            if not chunk:
                self._record()
                raise Cut()
            self._left -= len(chunk)
            done += len(chunk)
            chunks.append(chunk)
            if cut is not None and done >= cut:
                self._partial(b"".join(chunks))
                self._record()
                self._reset()
        return b"".join(chunks)

    def _partial(self, data: bytes) -> None:
        """What a real registry keeps of a body that breaks off."""
        match = ROUTES[2][0].match(urllib.parse.urlsplit(self.path).path)
        if match and self.command in ("PATCH", "PUT"):
            with self.registry.lock:
                self.registry.uploads.setdefault(match.group("id"), bytearray()).extend(data)

    def _reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # the file objects keep the socket open otherwise; closing it with a zero linger time sends RST
        self.rfile.close()
        sock = self.connection
        self.wfile = _Nowhere()  # type: ignore[assignment]
        sock.close()
        raise Cut()

    def answer(self, status: int, headers: Optional[Dict[str, str]] = None, body: bytes = b"") -> None:
        self._status = status
        if self._fault.corrupt and body:
            body = bytes([body[0] ^ 1]) + body[1:]
        fields = {"Content-Length": str(len(body)), **(headers or {})}
        if self._fault.endless:
            fields.pop("Content-Length")
            fields["Transfer-Encoding"] = "chunked"
        if self.registry.behaviour.interim:
            self.wfile.write(self.registry.behaviour.interim)
            self.wfile.flush()
        self.send_response_only(status)
        fields.setdefault("Date", self.date_time_string())
        for name, value in fields.items():
            for one in value.split("\n"):
                self.send_header(name, one)
        self._record()  # before the client can know the answer, so that a test sees the request that it made
        if self._fault.dribble:
            return self._dribble(body)
        self.end_headers()
        if self.command != "HEAD":
            self._send_body(body)
        self.wfile.flush()

    def _send_body(self, body: bytes) -> None:
        fault = self._fault
        if fault.endless:
            while True:
                self.wfile.write(b"1000\r\n" + b"x" * 0x1000 + b"\r\n")
        cut = fault.truncate if fault.truncate is not None else fault.reset_after
        if cut is None or cut >= len(body):
            self.wfile.write(body)
            return
        self.wfile.write(body[:cut])
        self.wfile.flush()
        if fault.truncate is not None:
            raise Cut()
        time.sleep(0.05)  # a reset discards what the client has not read yet
        self._reset()

    def _send_raw(self) -> None:
        self.close_connection = True
        self._record()
        self.wfile.write(self._fault.raw)
        while self._fault.repeat:
            self.wfile.write(self._fault.repeat * 100)
        self.wfile.flush()

    def _dribble(self, body: bytes) -> None:
        """Byte after byte, status line included."""
        data = b"".join(self._headers_buffer) + b"\r\n" + body  # type: ignore[attr-defined]
        self._headers_buffer = []
        self.wfile.write(data[: self._fault.dribble_after])
        for n in range(self._fault.dribble_after, len(data)):
            self.wfile.write(data[n : n + 1])
            self.wfile.flush()
            time.sleep(self._fault.dribble)

    def _error(self, status: int, code: str, message: str, headers: Optional[Dict[str, str]] = None) -> None:
        body = json.dumps({"errors": [{"code": code, "message": message}]}).encode()
        self.answer(status, {"Content-Type": "application/json", **(headers or {})}, body)

    # -- who may do what ---------------------------------------------------------------------------------------------

    def _allowed(self, name: str, action: str) -> bool:
        behaviour = self.registry.behaviour
        header = self.headers.get("Authorization") or ""
        if behaviour.auth is None:
            return True
        if behaviour.auth == "basic":
            return action in self._basic_actions(header)
        token = header.partition(" ")[2]
        with self.registry.lock:
            expires, scopes = self.registry.tokens.get(token, (0.0, {}))
            self.registry.uses[token] = self.registry.uses.get(token, 0) + 1
            if 0 < behaviour.token_uses < self.registry.uses[token]:
                return False
        return time.monotonic() < expires and (not name or action in scopes.get(name, "").split(","))

    def _basic_user(self, header: str) -> str:
        scheme, _, value = header.partition(" ")
        if scheme.lower() != "basic":
            return ""
        user, _, password = base64.b64decode(value).decode().partition(":")
        known = self.registry.behaviour.users.get(user)
        if known and known[0] == password:
            return user
        return self.registry.behaviour.identity_tokens.get(password, "")

    def _basic_actions(self, header: str) -> str:
        user = self._basic_user(header)
        return self.registry.behaviour.users[user][1] if user else self.registry.behaviour.anonymous_actions

    def _unauthorized(self, name: str, action: str) -> None:
        behaviour = self.registry.behaviour
        actions = {"pull": "pull", "push": "pull,push", "delete": "delete"}[action]
        scope = f"repository:{name}:{actions}" if name else ""
        realm = f"{self._own_url()}/token"
        if behaviour.challenge:
            header = behaviour.challenge.format(realm=realm, scope=scope)
        elif behaviour.auth == "basic":
            header = 'Basic realm="test"'
        else:
            header = f'Bearer realm="{realm}",service="test"' + (f',scope="{scope}"' if scope else "")
        if behaviour.asks_at_base and self.path != "/v2/" and not self.headers.get("Authorization"):
            return self._error(403, "DENIED", "private")
        if behaviour.tells_at_base and self.path != "/v2/":
            return self._error(401, "UNAUTHORIZED", "authentication required")
        self._error(401, "UNAUTHORIZED", "authentication required", {"WWW-Authenticate": header})

    def get_token(self) -> None:
        header = self.headers.get("Authorization") or ""
        user = self._basic_user(header)
        if header and not user:
            return self._error(401, "UNAUTHORIZED", "wrong password")
        pairs = urllib.parse.parse_qsl(urllib.parse.urlsplit(self.path).query)
        self._grant(user, [v for k, v in pairs if k == "scope"])

    def post_token(self) -> None:
        form = dict(urllib.parse.parse_qsl(self._read_body().decode()))
        if not self.registry.behaviour.oauth_post:
            return self._error(405, "UNSUPPORTED", "no POST here")
        user = self.registry.behaviour.identity_tokens.get(form.get("refresh_token", ""), "")
        if form.get("grant_type") != "refresh_token" or not user:
            return self.answer(400, {"Content-Type": "application/json"}, b'{"error":"invalid_grant"}')
        self._grant(user, form.get("scope", "").split(), "access_token")

    def _grant(self, user: str, scopes: List[str], name: str = "") -> None:
        behaviour = self.registry.behaviour
        allowed = behaviour.users[user][1] if user else behaviour.anonymous_actions
        granted: Dict[str, str] = {}
        for scope in " ".join(scopes).split():
            _, _, rest = scope.partition(":")
            repository, _, actions = rest.rpartition(":")
            granted[repository] = ",".join(a for a in actions.split(",") if a in allowed.split(","))
        token = base64.urlsafe_b64encode(json.dumps([uuid.uuid4().hex, granted]).encode()).decode()
        with self.registry.lock:
            self.registry.tokens[token] = (time.monotonic() + behaviour.token_lifetime, granted)
        document: Dict[str, Any] = {name or behaviour.token_field: token}
        if behaviour.expires_in:
            document["expires_in"] = behaviour.token_lifetime
        if behaviour.tells_scope:
            document["scope"] = " ".join(f"repository:{r}:{actions}" for r, actions in granted.items())
        self.answer(200, {"Content-Type": "application/json"}, json.dumps(document).encode())

    # -- the protocol ------------------------------------------------------------------------------------------------

    def get_base(self) -> None:
        self.answer(200, {"Content-Type": "application/json"}, b"{}")

    def get_blob(self, name: str, digest: str) -> None:
        behaviour = self.registry.behaviour
        if behaviour.redirect_blobs:
            return self.answer(307, {"Location": f"{behaviour.redirect_blobs}/v2/{name}/blobs/{digest}?sig=s1gned"})
        if behaviour.refuse_head_after_redirect and self.command == "HEAD" and "sig" in self.query:
            return self.answer(403)
        data = self.registry.repository(name).blobs.get(digest)
        if data is None:
            return self._error(404, "BLOB_UNKNOWN", "blob unknown to registry")
        headers = {"Content-Type": "application/octet-stream", "ETag": f'"{digest}"'}
        if behaviour.digest_header:
            headers["Docker-Content-Digest"] = digest
        wanted = re.match(r"bytes=(\d+)-(\d*)\Z", self.headers.get("Range") or "")
        if self.command != "GET" or not wanted or self._fault.ignore_range:
            return self._content(headers, data)
        first, last = int(wanted.group(1)), min(int(wanted.group(2) or len(data)), len(data) - 1)
        if first > last:
            return self.answer(416, {"Content-Range": f"bytes */{len(data)}"})
        if self._fault.wrong_range:
            first = 0
        headers["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
        self.answer(206, headers, data[first : last + 1])

    def _content(self, headers: Dict[str, str], data: bytes) -> None:
        if self.command == "HEAD":
            headers["Content-Length"] = str(len(data))
            data = b""
        self.answer(200, headers, data)

    def delete_blob(self, name: str, digest: str) -> None:
        found = self.registry.repository(name).blobs.pop(digest, None)
        self.answer(202) if found is not None else self._error(404, "BLOB_UNKNOWN", "blob unknown to registry")

    def post_uploads(self, name: str) -> None:
        content = self._read_body()
        if "digest" in self.query and self.registry.behaviour.with_post == "refused":
            return self._error(405, "UNSUPPORTED", "the operation is unsupported")
        if "digest" in self.query and self.registry.behaviour.with_post == "stored":
            return self._store(name, content)
        source, digest = self.query.get("from"), self.query.get("mount", "")
        if source and self.registry.behaviour.mounts:
            data = self.registry.repository(source).blobs.get(digest)
            if data is not None and self._allowed(source, "pull"):
                self.registry.repository(name).blobs[digest] = data
                return self.answer(201, {"Location": f"/v2/{name}/blobs/{digest}"})
        identifier = str(uuid.uuid4())
        with self.registry.lock:
            self.registry.uploads[identifier] = bytearray()
        headers = {"Location": self._location(name, identifier), "Range": "0-0", "Docker-Upload-UUID": identifier}
        if self.registry.behaviour.min_chunk:
            headers["OCI-Chunk-Min-Length"] = str(self.registry.behaviour.min_chunk)
        self.answer(202, headers)

    def _own_url(self) -> str:
        """As the client calls us, which may be through a relay."""
        return f"{self.registry.scheme}://{self.headers['Host'] or self.registry.host}"

    def _location(self, name: str, identifier: str) -> str:
        path = f"/v2/{name}/blobs/uploads/{identifier}"
        style = self.registry.behaviour.location
        if style == "relative":
            return path
        if style == "outside":
            return f"/artifacts-uploads/{name}/uploads/{identifier}"
        return f"{self._own_url()}{path}" + ("?_state=a%2Bb%3D&x=1" if style == "query" else "")

    def _upload(self, identifier: str) -> Optional[bytearray]:
        found = self.registry.uploads.get(identifier)
        if found is None:
            self._read_body()
            self._error(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry")
        elif self.registry.behaviour.location == "query" and self.query.get("_state") != "a+b=":
            self._read_body()
            self._error(400, "BLOB_UPLOAD_INVALID", "the state is missing")
            found = None
        return found

    def _upload_headers(self, name: str, identifier: str, size: int) -> Dict[str, str]:
        return {"Location": self._location(name, identifier), "Range": f"0-{max(size - 1, 0)}"}

    def get_upload(self, name: str, id: str) -> None:
        data = self._upload(id)
        if data is not None:
            self.answer(204, self._upload_headers(name, id, len(data)))

    def delete_upload(self, name: str, id: str) -> None:
        if self._upload(id) is not None:
            self.registry.uploads.pop(id, None)
            self.answer(204)

    def patch_upload(self, name: str, id: str) -> None:
        data = self._upload(id)
        if data is None:
            return
        span = re.match(r"(\d+)-(\d+)\Z", self.headers.get("Content-Range") or "")
        if span and (int(span.group(1)) != len(data) or int(span.group(2)) + 1 - int(span.group(1)) != self._left):
            self._read_body()
            return self.answer(416, self._upload_headers(name, id, len(data)))
        before = len(data)
        data += self._read_body()
        known = {"first": min(len(data), before or len(data)), "piece": len(data) - before}
        self.answer(202, self._upload_headers(name, id, known.get(self.registry.behaviour.progress, len(data))))

    def put_upload(self, name: str, id: str) -> None:
        data = self._upload(id)
        if data is None:
            return
        self._store(name, bytes(data) + self._read_body(), id)

    def _store(self, name: str, content: bytes, id: str = "") -> None:
        digest = self.query.get("digest", "")
        if f"sha256:{hashlib.sha256(content).hexdigest()}" != digest:
            return self._error(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
        self.registry.repository(name).blobs[digest] = content
        self.registry.uploads.pop(id, None)
        headers = {"Location": f"/v2/{name}/blobs/{digest}"}
        if self.registry.behaviour.digest_header:
            headers["Docker-Content-Digest"] = digest
        self.answer(201, headers)

    def get_manifest(self, name: str, reference: str) -> None:
        repository = self.registry.repository(name)
        digest = repository.tags.get(reference, reference)
        if digest not in repository.manifests:
            return self._error(404, "MANIFEST_UNKNOWN", "manifest unknown")
        media_type, data = repository.manifests[digest]
        headers = {"Content-Type": media_type}
        if self.registry.behaviour.digest_header:
            headers["Docker-Content-Digest"] = digest
        if self.registry.behaviour.compresses:
            headers["Content-Encoding"], data = "gzip", gzip.compress(data)
        self._content(headers, data)

    def put_manifest(self, name: str, reference: str) -> None:
        data = self._read_body()
        repository = self.registry.repository(name)
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        document = json.loads(data)
        wanted = [document.get("config"), *document.get("layers", [])]
        missing = [d["digest"] for d in wanted if d and d["digest"] not in repository.blobs]
        if missing:
            return self._error(400, "MANIFEST_BLOB_UNKNOWN", missing[0])
        listed = document.get("manifests", []) if self.registry.behaviour.checks_indexes else []
        missing = [d["digest"] for d in listed if d["digest"] not in repository.manifests]
        if missing:
            return self._error(404, "MANIFEST_UNKNOWN", missing[0])
        there = repository.manifests.get(digest) if ":" in reference else repository.tags.get(reference) == digest
        if there and self.registry.behaviour.stores_once:
            return self._error(409, "CONFLICT", "it is stored already")
        repository.manifests[digest] = (self.headers["Content-Type"], data)
        if ":" not in reference:
            repository.tags[reference] = digest
        headers = {"Location": f"/v2/{name}/manifests/{digest}"}
        if self.registry.behaviour.digest_header:
            headers["Docker-Content-Digest"] = digest
        if document.get("subject") and self.registry.behaviour.referrers:
            headers["OCI-Subject"] = document["subject"]["digest"]
        self.answer(201, headers)

    def delete_manifest(self, name: str, reference: str) -> None:
        repository = self.registry.repository(name)
        if ":" not in reference:
            if not self.registry.behaviour.delete_tags:
                return self._error(400, "UNSUPPORTED", "the operation is unsupported")
            found = repository.tags.pop(reference, None)
        elif self.registry.behaviour.keeps_tagged and reference in repository.tags.values():
            return self._error(400, "GOOGLE_MANIFEST_DANGLING_TAG", "Manifest is still referenced by one or more tags")
        else:
            found = repository.manifests.pop(reference, None)
            for tag in [t for t, d in repository.tags.items() if d == reference]:
                del repository.tags[tag]
        self.answer(202) if found else self._error(404, "MANIFEST_UNKNOWN", "manifest unknown")

    def get_tags(self, name: str) -> None:
        repository = self.registry.repositories.get(name)
        if repository is None or not repository.manifests:
            return self._error(404, "NAME_UNKNOWN", "repository name not known to registry")
        largest = self.registry.behaviour.max_page
        if largest and int(self.query.get("n", largest)) > largest:
            return self._error(400, "PAGINATION_NUMBER_INVALID", "invalid number of results requested")
        tags = sorted(repository.tags)
        if self.registry.behaviour.page_style != "count" or not self.query.get("last", "").isdigit():
            tags = [t for t in tags if t > self.query.get("last", "")]
        size = min(self.registry.behaviour.page_size or len(tags), int(self.query.get("n", 1 << 30)))
        page, rest = tags[:size], tags[size:]
        headers = {"Content-Type": "application/json"}
        if rest and self.registry.behaviour.page_style == "link":
            query = urllib.parse.urlencode({"n": size, "last": page[-1]})
            headers["Link"] = f'</v2/{name}/tags/list?{query}>; rel="next"'
        if rest and self.registry.behaviour.page_style == "count":  # Artifactory before 7.46
            headers["Link"] = f'</v2/{name}/tags/list?last={size}&n={size}>; rel="next"'
        self.answer(200, headers, json.dumps({"name": name, "tags": page or None}).encode())

    def get_referrers(self, name: str, digest: str) -> None:
        if not self.registry.behaviour.referrers:
            return self._error(404, "NOT_FOUND", "no such endpoint")
        found = []
        for own, (media_type, data) in self.registry.repository(name).manifests.items():
            document = json.loads(data)
            if (document.get("subject") or {}).get("digest") != digest:
                continue
            entry = {"mediaType": media_type, "digest": own, "size": len(data)}
            entry["artifactType"] = document.get("artifactType") or document["config"]["mediaType"]
            if document.get("annotations"):
                entry["annotations"] = document["annotations"]
            found.append(entry)
        media_type = "application/vnd.oci.image.index.v1+json"
        index = {"schemaVersion": 2, "mediaType": media_type, "manifests": found}
        self.answer(200, {"Content-Type": media_type}, json.dumps(index).encode())


class _Nowhere:
    """Takes what is written after a reset."""

    closed = True

    def write(self, data: bytes) -> int:
        return len(data)

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass
