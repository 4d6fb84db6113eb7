# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""A blob as one stream, whatever happens to connections on the way."""

from typing import Callable, Dict, Optional, Sequence, Tuple

from ..descriptor import Descriptor
from ..errors import (
    ConnectionLost,
    ContentError,
    ResponseError,
    SpackOciError,
    TimedOut,
    TransportError,
    UnexpectedResponse,
)
from .client import RegistryClient
from .http.transport import Answer
from .settings import MIB


class RangesIgnored(Exception):
    """A part was asked for, and the registry began with the whole."""


class ResumingStream:
    """The bytes of a blob as one stream, over as many requests as it takes.

    After a broken connection the rest is asked for with ``Range`` and ``If-Range``. Whether the registry obeys is seen
    by its answer (206 with the right ``Content-Range``), not by what it promises; from a whole answer (200) the bytes
    that are here already are passed over. Fewer bytes than the descriptor says count as a broken connection. Digests
    are not checked here.

    A registry that sends a few bytes for each request would keep us for ever, so a failure counts as the first only
    if what came since the last is what ``minimum_rate`` asks of ``read_timeout`` seconds.

    Where one place fails, the next goes on from the same byte: a digest names the same content everywhere.
    """

    def __init__(
        self, places: Sequence[RegistryClient], descriptor: Descriptor, span: Optional[Tuple[int, int]] = None
    ) -> None:
        """``span``: only the bytes from the first number up to before the second, or RangesIgnored."""
        self._places = list(places)
        self._descriptor = descriptor
        self._is_part = span is not None
        self._offset, self._end = span or (0, descriptor.size)
        self._failures, self._failed_at = 0, self._offset
        self._validator = ""
        self._answer: Optional[Answer] = None
        self._open()

    @property
    def _client(self) -> RegistryClient:
        return self._places[0]

    def _open(self) -> None:
        """An answer that begins at the offset, from the first place that has one."""
        while True:
            try:
                answer = self._request()
            except (ContentError, ResponseError, TransportError) as e:
                self._next_place(e)  # the request was retried as it deserves already
                continue
            try:
                self._check_start(answer)
            except (ConnectionLost, TimedOut) as e:
                self._lost(e)
                continue
            except UnexpectedResponse as e:
                self._next_place(e)
                continue
            self._validator = strong_validator(answer.headers.get("ETag"))
            self._answer = answer
            return

    def _next_place(self, error: SpackOciError) -> None:
        if len(self._places) == 1:
            raise error
        self._places.pop(0)
        self._validator = ""
        self._failures, self._failed_at = 0, self._offset

    def read(self, size: int = -1) -> bytes:
        chunk = b""

        def receive(answer: Answer) -> int:
            nonlocal chunk
            chunk = answer.read(size)
            return len(chunk)

        self._receive(receive, size)
        return chunk

    def readinto(self, buffer: memoryview) -> int:
        """As :meth:`read`, into ``buffer``; the number of bytes, 0 at the end."""
        return self._receive(lambda answer: answer.readinto(buffer), len(buffer))

    def _receive(self, receive: Callable[[Answer], int], wanted: int) -> int:
        while True:
            if self._answer is None:
                self._open()
            assert self._answer is not None
            try:
                count = receive(self._answer)
                if wanted and not count and self._offset < self._end:
                    raise ConnectionLost(
                        f"reading {self._descriptor.digest} of {self._client.repository}: "
                        f"it ended after {self._offset} of {self._descriptor.size} bytes"
                    )
            except (ConnectionLost, TimedOut) as e:
                self._lost(e)
                continue
            self._offset += count
            return count

    def _lost(self, error: SpackOciError) -> None:
        """Wait before going on, or raise."""
        self.close()
        settings = self._client.settings
        got_on = self._offset - self._failed_at >= settings.minimum_rate * settings.read_timeout
        self._failures, self._failed_at = (1 if got_on else self._failures + 1), self._offset
        retry = settings.retry
        wait = retry.wait_before_retry(error, self._failures)
        if wait is None:
            error.message += f" ({self._failures} tries, {self._offset} of {self._descriptor.size} bytes arrived)"
            self._next_place(error)
        else:
            retry.sleep(wait)

    def _request(self) -> Answer:
        headers: Dict[str, str] = {"Accept-Encoding": "identity"}
        partial = self._offset > 0 or self._is_part
        if partial:
            headers["Range"] = f"bytes={self._offset}-{self._end - 1 if self._is_part else ''}"
            if self._validator:
                headers["If-Range"] = self._validator
        return self._client.call(
            "GET",
            f"{self._client.repository.endpoint}/blobs/{self._descriptor.digest}",
            doing=f"reading {self._descriptor.digest} of {self._client.repository}",
            scopes=self._client.scopes("pull"),
            accept=(200, 206) if partial else (200,),
            headers=headers,
        )

    def _check_start(self, answer: Answer) -> None:
        """Make sure that the next byte of the answer is the one that is missing."""
        if answer.status == 206:
            found = split_range(answer.headers.get("Content-Range"))
            if not continues(found, self._offset, self._descriptor.size):
                answer.abort()
                raise UnexpectedResponse(
                    f"reading {self._descriptor.digest} of {self._client.repository}: asked for bytes "
                    f"{self._offset}-, got Content-Range {answer.headers.get('Content-Range')!r}",
                    status=206,
                )
        elif self._is_part:
            answer.abort()
            raise RangesIgnored
        else:
            self._pass_over(answer)

    def _pass_over(self, answer: Answer) -> None:
        left = self._offset
        while left:
            chunk = answer.read(min(MIB, left))
            if not chunk:
                answer.abort()
                raise ConnectionLost(f"reading {self._descriptor.digest}: the second answer is shorter than the first")
            left -= len(chunk)

    def close(self) -> None:
        answer, self._answer = self._answer, None
        if answer is not None:
            if self._offset == self._end:
                answer.discard()
            else:
                answer.abort()


def split_range(value: Optional[str]) -> Optional[Tuple[int, int, Optional[int]]]:
    """First, last and total of a ``Content-Range: bytes 0-9/100`` (total None for ``*``); None if it is not one."""
    unit, _, rest = (value or "").strip().partition(" ")
    span, slash, total = rest.strip().partition("/")
    first, dash, last = span.partition("-")
    if unit.lower() != "bytes" or not slash or not dash or not first.isdigit() or not last.isdigit():
        return None
    return int(first), int(last), int(total) if total.isdigit() else None


def continues(found: Optional[Tuple[int, int, Optional[int]]], offset: int, size: int) -> bool:
    """Whether a Content-Range is what was asked for: from ``offset``, of a content of ``size`` bytes."""
    return found is not None and found[0] == offset and found[1] < size and found[2] in (None, size)


def strong_validator(etag: Optional[str]) -> str:
    """RFC 9110, 13.1.5: only a strong ETag may be sent in ``If-Range``."""
    return etag if etag and etag.startswith('"') and etag.endswith('"') else ""
