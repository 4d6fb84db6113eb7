# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Blobs on their way up (distribution-spec, "Pushing blobs").

``HEAD``, or a mount from the repository itself where that tells; mount when a source is known; ``POST`` and one
``PUT``; and where that does not work, ``PATCH`` in pieces that continue where the registry says it is. Nothing is sent
again that the registry has. A small blob goes with the ``POST`` where the registry takes it so: one that does not opens
an upload, as without, and is not tried again.
"""

import threading
import urllib.parse
from dataclasses import dataclass
from typing import BinaryIO, Dict, Iterator, Optional

from ..content import BlobSource, Progress
from ..descriptor import Descriptor
from ..errors import (
    ConnectionLost,
    DigestMismatch,
    InvalidContent,
    NotFound,
    RateLimited,
    ResponseError,
    SpackOciError,
    TimedOut,
    TransportError,
    Unauthorized,
    UnexpectedResponse,
)
from .auth.tokens import repository_scope
from .client import BodyFactory, RegistryClient
from .existence import has_blob
from .http.fields import parse_number, parse_upload_range
from .http.response import Response
from .settings import MIB

#: to the closing PUT: refusals that mean "not in one piece" (nginx's and CDN's body limits; registries without it)
_NOT_IN_ONE_PIECE = (404, 405, 413)
#: bytes; what is sent in vain to a registry that takes no blob with the POST
_SMALL = 64 << 10
#: codes of a 400 after which an upload is begun again, once
_BEGUN_AGAIN = frozenset({"DIGEST_INVALID", "BLOB_UPLOAD_INVALID"})
#: bytes; who loses the connection after fewer, each time, is not getting on
MIN_PROGRESS = 64 << 10


@dataclass
class UploadSession:
    """An upload in progress. ``offset``: bytes that the registry has; ``min_chunk``: what it wants at least."""

    url: str
    offset: int = 0
    min_chunk: int = 0


class Uploader:
    """Sends blobs to one repository."""

    def __init__(self, client: RegistryClient) -> None:
        self._client = client
        self.policy = client.settings.upload
        self._retry = client.settings.retry
        self._left_open: Dict[str, UploadSession] = {}
        #: None: not known yet
        self._mounts_from_itself: Optional[bool] = None
        self._takes_with_post: Optional[bool] = None
        self._lock = threading.Lock()

    def put(self, descriptor: Descriptor, source: BlobSource, progress: Optional[Progress]) -> None:
        """Send a blob that is not there."""
        session = self._take_left_open(descriptor.digest) or self._begin(descriptor, source)
        if session is None:
            Report(progress).at(descriptor.size)
            return
        ahead = session.offset
        report = Report(progress, ahead)
        try:
            self._send(session, descriptor, source, report)
        except UnexpectedResponse as e:
            # damaged on the way, a resumed upload was put together wrongly, or one that the registry has just opened
            # is none to it (sonatype/nexus-public #967): once more, from the start
            if not ahead and (e.status != 400 or _BEGUN_AGAIN.isdisjoint(e.codes)):
                raise
            fresh = self.start(descriptor.digest)
            if fresh is not None:
                self._send(fresh, descriptor, source, report)
        report.at(descriptor.size)

    def put_unless_there(self, descriptor: Descriptor, source: BlobSource, progress: Optional[Progress]) -> bool:
        """Send a blob that is hardly there; False: it was. Where the registry mounts a blob from the very repository
        that it is for, and opens an upload if it cannot, opening the upload tells as much as a HEAD before it.
        """
        if self._is_there(descriptor):
            return False
        self.put(descriptor, source, progress)
        self._learn_from(descriptor.digest)
        return True

    def _is_there(self, descriptor: Descriptor) -> bool:
        if self._mounts_from_itself and not self._has_left_open(descriptor.digest):
            if self.mount(descriptor.digest, self._client.repository.name):
                return True
            if self._has_left_open(descriptor.digest):
                return False
        return self._is_stored(descriptor)

    def _learn_from(self, digest: str) -> None:
        """Whether a blob that is there is mounted from its own repository: not every registry does, and then an upload
        that it opens does not say that the blob is missing."""
        with self._lock:
            if self._mounts_from_itself is not None:
                return
            self._mounts_from_itself = False
        try:
            self._mounts_from_itself = self.mount(digest, self._client.repository.name)
        except SpackOciError:
            return  # the blob is stored; what is wrong will be met again where it matters
        session = self._take_left_open(digest)
        if session is not None:
            self.cancel(session)

    def _send(self, session: UploadSession, descriptor: Descriptor, source: BlobSource, report: "Report") -> None:
        rest = self._in_one_piece(session, descriptor, source, report) if self.policy.monolithic else session
        if rest is not None:
            self._in_pieces(rest, descriptor, source, report)

    def mount(self, digest: str, from_repository: str) -> bool:
        """Take a blob over from another repository of this registry. False: the registry did not do it.

        A registry that does not mount opens an upload instead; it is kept for a :meth:`put` that may follow.
        """
        scopes = self._client.scopes("pull", "push")
        if from_repository != self._client.repository.name:
            scopes |= {repository_scope(from_repository, "pull")}
        query = urllib.parse.urlencode({"mount": digest, "from": from_repository})
        try:
            response = self._client.call(
                "POST",
                f"{self._uploads}?{query}",
                action=f"mounting {digest} from {from_repository} in {self._client.repository}",
                scopes=scopes,
                accept=(201, 202),
                headers={"Content-Length": "0"},
            ).without_body()
        except (NotFound, ResponseError) as e:
            if isinstance(e, NotFound) or e.status in (400, 401, 403, 405, 501):
                return False  # no permission on the source, or no mounting at all: the blob can still be sent
            raise
        if response.status == 201:
            return True
        self.leave_open(digest, self._session(response))
        return False

    def _begin(self, descriptor: Descriptor, source: BlobSource) -> Optional[UploadSession]:
        """As :meth:`start`, for this blob, which may be stored by that already (None)."""
        if descriptor.size > _SMALL or not self.policy.monolithic or self._takes_with_post is False:
            return self.start(descriptor.digest)
        headers = {"Content-Length": str(descriptor.size), "Content-Type": "application/octet-stream"}
        try:
            response = self._post(
                descriptor.digest,
                with_query(self._uploads, "digest", descriptor.digest),
                headers,
                lambda: part_of(source, 0, descriptor.size, Report()),
            )
        except (Unauthorized, RateLimited):
            raise
        except (NotFound, ResponseError):  # also what looks like a missing permission: the next request tells
            self._takes_with_post = False
            return self.start(descriptor.digest)
        if response.status == 202:
            self._takes_with_post = False
            return self._session(response)
        self._check_stored(response, descriptor)
        if self._takes_with_post is None:  # 201 is also what one may say that has taken the digest alone for a mount
            self._takes_with_post = self._is_stored(descriptor)
        return None if self._takes_with_post else self.start(descriptor.digest)

    def start(self, label: str) -> Optional[UploadSession]:
        """Open an upload. None: the registry found that it has the blob (201)."""
        response = self._open(label)
        return self._session(response) if response.status == 202 else None

    def _open(self, label: str) -> Response:
        """The response to the POST that opens an upload."""
        try:
            return self._post(label, self._uploads, {"Content-Length": "0"})
        except NotFound as e:
            e.remedy = (
                f"{self._client.repository} does not exist, and this registry does not create it with the first push "
                "(ECR does not): create it there first; or the address is not that of a registry"
            )
            raise

    @property
    def _uploads(self) -> str:
        return f"{self._client.repository.endpoint}/blobs/uploads/"

    def _post(self, label: str, url: str, headers: Dict[str, str], body: Optional[BodyFactory] = None) -> Response:
        return self._client.call(
            "POST",
            url,
            action=f"opening an upload of {label} to {self._client.repository}",
            scopes=self._client.scopes("pull", "push"),
            accept=(201, 202),
            headers=headers,
            body=body,
        ).without_body()

    def cancel(self, session: UploadSession) -> bool:
        """Throw an upload away. False: the registry does not know how; it will forget it by itself."""
        try:
            self._client.call(
                "DELETE",
                session.url,
                action=f"cancelling an upload to {self._client.repository}",
                scopes=self._client.scopes("pull", "push"),
                accept=(200, 202, 204),
                retry=self._retry.once(),
            ).without_body()
        except (NotFound, ResponseError, TransportError):
            return False
        return True

    def close(self) -> None:
        with self._lock:
            left, self._left_open = self._left_open, {}
        for session in left.values():
            self.cancel(session)

    # -- one request -------------------------------------------------------------------------------------------------

    def _in_one_piece(
        self, session: UploadSession, descriptor: Descriptor, source: BlobSource, report: "Report"
    ) -> Optional[UploadSession]:
        """None: it is stored. Otherwise the session with which to go on in pieces."""
        tries = 0
        current: Optional[UploadSession] = session
        while current is not None and current.offset == 0:
            tries += 1
            try:
                self._close_with(current, descriptor, source, report)
                return None
            except (NotFound, ResponseError, ConnectionLost, TimedOut) as e:
                whole = not isinstance(e, (NotFound, TransportError)) and e.status not in _NOT_IN_ONE_PIECE
                if whole:
                    self.wait_or_raise(e, tries)
            # the connection may have been cut after the registry had some or all of it
            current = self._ask_for_progress(current, descriptor)
            if not whole:
                break
        return current

    def _close_with(self, session: UploadSession, descriptor: Descriptor, source: BlobSource, report: "Report") -> None:
        """The closing PUT, with what the registry does not have yet as its body."""
        start, size = session.offset, descriptor.size - session.offset
        headers = {"Content-Length": str(size), "Content-Type": "application/octet-stream"}
        if start and size:
            headers["Content-Range"] = f"{start}-{descriptor.size - 1}"
        response = self._client.call(
            "PUT",
            with_query(session.url, "digest", descriptor.digest),
            action=self._action(descriptor),
            scopes=self._client.scopes("pull", "push"),
            accept=(200, 201, 202, 204),
            headers=headers,
            body=lambda: part_of(source, start, size, report),
            retry=self._retry.once(),
            read_timeout=self._client.settings.commit_timeout,
        ).without_body()
        # no status of the specification; Docker, too, takes any success and looks whether the blob is there
        if response.status in (200, 202) and not self._is_stored(descriptor):
            raise UnexpectedResponse(f"{self._action(descriptor)}: {response.status}, and it is not there")
        self._check_stored(response, descriptor)

    def _check_stored(self, response: Response, descriptor: Descriptor) -> None:
        stored = response.field("Docker-Content-Digest")
        if stored and stored != descriptor.digest and stored.partition(":")[0] == descriptor.digest.partition(":")[0]:
            raise DigestMismatch(f"{self._action(descriptor)}: the registry stored {stored}")

    # -- in pieces ---------------------------------------------------------------------------------------------------

    def _in_pieces(self, session: UploadSession, descriptor: Descriptor, source: BlobSource, report: "Report") -> None:
        """PATCH until the registry has all bytes, then PUT without a body."""
        chunk = self.policy.chunk_size
        failures = furthest = 0
        current: Optional[UploadSession] = session
        while current is not None:
            before = current.offset
            furthest = max(furthest, before)
            try:
                if current.offset < descriptor.size:
                    size = min(max(chunk, current.min_chunk), descriptor.size - current.offset)
                    self.patch(current, self._action(descriptor), source, size, report)
                else:
                    self._close_with(current, descriptor, source, report)
                    return
                failures = failures_after(current.offset, before, furthest, failures)
            except (NotFound, ResponseError, ConnectionLost, TimedOut) as e:
                failures += 1
                smaller = self.smaller_piece(e, chunk, current)
                if smaller:
                    chunk = smaller
                    continue
                self.wait_or_raise(e, failures)
                current = self._ask_for_progress(current, descriptor)
                if current is not None and current.offset - furthest >= MIN_PROGRESS:
                    failures = 0
            if failures >= self.policy.attempts:
                raise UnexpectedResponse(f"{self._action(descriptor)}: the registry takes no bytes after {before}")

    def smaller_piece(self, error: SpackOciError, size: int, session: UploadSession) -> Optional[int]:
        """The size to go on with when a piece of ``size`` bytes is refused as too large, if there is one."""
        least = max(self.policy.min_chunk, session.min_chunk)
        if getattr(error, "status", 0) == 413 and size > least:
            return max(size // 4, self.policy.min_chunk)
        return None

    def wait_or_raise(self, error: SpackOciError, failures: int) -> None:
        """Before an upload goes on that has failed so often without getting any further."""
        lost = isinstance(error, NotFound) or getattr(error, "status", 0) == 416
        if failures >= self.policy.attempts or isinstance(error, RateLimited):
            raise error  # the latter was waited for already
        wait = self._retry.backoff(failures) if lost else self._retry.wait_before_retry(error, failures)
        if wait is None:
            raise error
        self._retry.sleep(wait)

    def patch(self, session: UploadSession, action: str, source: BlobSource, size: int, report: "Report") -> None:
        """One piece of ``size`` bytes. Afterwards the session is where the registry says it is."""
        start = session.offset
        response = self._client.call(
            "PATCH",
            session.url,
            action=action,
            scopes=self._client.scopes("pull", "push"),
            accept=(201, 202, 204),
            headers={
                "Content-Length": str(size),
                "Content-Range": f"{start}-{start + size - 1}",
                "Content-Type": "application/octet-stream",
            },
            body=lambda: part_of(source, start, size, report),
            retry=self._retry.once(),
        ).without_body()
        after = self._session(response, session)
        received = parse_upload_range(response.field("Range"))
        session.url, session.min_chunk = after.url, after.min_chunk
        # some tell for ever where the first piece ends (ECR, aws/containers-roadmap #2831), or how long this one was
        # (zot, regclient #961). If a piece was lost indeed, the next one is refused, or the digest of the whole is
        is_stale = received is None or 0 < received <= start
        session.offset = start + size if received is None or is_stale else min(received, start + size)

    def _ask_for_progress(self, session: UploadSession, descriptor: Descriptor) -> Optional[UploadSession]:
        """What the registry has of an interrupted upload; a new session if it forgot it; None if it has the blob."""
        try:
            found = self.progress_of(session, descriptor.digest, descriptor.size)
        except (NotFound, ResponseError) as e:
            if not isinstance(e, NotFound) and e.status in (401, 403, 429):
                raise
            # the connection may have been lost after the upload was closed, before the registry could say so
            return None if self._is_stored(descriptor) else self.start(descriptor.digest)
        return found or self.start(descriptor.digest)

    def progress_of(self, session: UploadSession, label: str, size: int) -> Optional[UploadSession]:
        """Where an interrupted upload of ``size`` bytes goes on. None: the registry does not say, so it was cancelled.
        Raises NotFound if the registry forgot it."""
        response = self._client.call(
            "GET",
            session.url,
            action=f"asking how far the upload of {label} to {self._client.repository} got",
            scopes=self._client.scopes("pull", "push"),
            accept=(200, 202, 204),
        ).without_body()
        received = parse_upload_range(response.field("Range"))
        if received is None:  # without knowing how far it got, it cannot be continued
            self.cancel(session)
            return None
        found = self._session(response, session)
        found.offset = min(received, size)
        return found

    def _is_stored(self, descriptor: Descriptor) -> bool:
        return has_blob(self._client, descriptor.digest, self._client.scopes("pull", "push"))

    # -- details -----------------------------------------------------------------------------------------------------

    def _session(self, response: Response, previous: Optional[UploadSession] = None) -> UploadSession:
        if previous is not None and not response.field("Location"):
            return UploadSession(previous.url, previous.offset, previous.min_chunk)
        minimum = parse_number(response.field("OCI-Chunk-Min-Length"))
        known = previous.min_chunk if previous else 0
        # a registry could ask for more than memory or disk hold; pieces are streamed, so any length will do
        return UploadSession(self._client.location(response), 0, known if minimum is None else minimum)

    def _has_left_open(self, digest: str) -> bool:
        with self._lock:
            return digest in self._left_open

    def leave_open(self, digest: str, session: UploadSession) -> None:
        """For the next :meth:`put` of this blob."""
        with self._lock:
            self._left_open[digest] = session

    def _take_left_open(self, digest: str) -> Optional[UploadSession]:
        with self._lock:
            return self._left_open.pop(digest, None)

    def _action(self, descriptor: Descriptor) -> str:
        return f"sending {descriptor.digest} ({descriptor.size} bytes) to {self._client.repository}"


def failures_after(offset: int, before: int, furthest: int, failures: int) -> int:
    """Of an upload, after a piece: none, once it is further than ever; a registry that loses again and again what it
    has got would be sent the same bytes for ever."""
    if offset > furthest:
        return 0
    return failures if offset > before else failures + 1


class Report:
    """Tells progress once for every byte, however often it is sent."""

    def __init__(self, progress: Optional[Progress] = None, start: int = 0) -> None:
        self._progress = progress
        self._highest = start

    def at(self, offset: int) -> None:
        if offset > self._highest:
            if self._progress:
                self._progress(offset - self._highest)
            self._highest = offset


def part_of(source: BlobSource, start: int, size: int, report: Report) -> Iterator[bytes]:
    """``size`` bytes of a blob from ``start``. InvalidContent if the source has fewer."""
    with source.open() as stream:
        _skip(stream, start)
        done = 0
        while done < size:
            chunk = stream.read(min(MIB, size - done))
            if not chunk:
                raise InvalidContent(f"the content to be sent ends after {start + done} of {start + size} bytes")
            yield chunk
            done += len(chunk)
            report.at(start + done)


def _skip(stream: BinaryIO, count: int) -> None:
    if not count:
        return
    if stream.seekable():
        stream.seek(count)
        return
    while count:
        chunk = stream.read(min(MIB, count))
        if not chunk:
            return
        count -= len(chunk)


def with_query(url: str, name: str, value: str) -> str:
    """Add a parameter; what a registry put into the query stays as it wrote it."""
    parts = urllib.parse.urlsplit(url)
    query = "&".join(filter(None, [parts.query, f"{name}={urllib.parse.quote(value, safe='')}"]))
    return urllib.parse.urlunsplit((parts.scheme, parts.netloc, parts.path, query, ""))
