# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Blobs on their way down: verified while they stream, continued where a connection broke."""

import hashlib
import io
import queue
import threading
from typing import Any, BinaryIO, Dict, Optional, Sequence, Tuple

from ..content import Progress
from ..descriptor import Descriptor, VerifyingReader, hasher_for
from ..errors import (
    ConnectionLost,
    ContentError,
    DigestMismatch,
    ResponseError,
    SpackOciError,
    TimedOut,
    TransportError,
    UnexpectedResponse,
)
from .client import RegistryClient
from .settings import MIB
from .transport import Answer
from .uploads import split_range

#: blobs up to this size are read and verified before the caller sees a byte; a damaged one is then asked for once more
SMALL_BLOB = 1 * MIB


class Downloader:
    """Reads blobs of one repository."""

    def __init__(self, places: Sequence[RegistryClient]) -> None:
        """``places``: the repository last, mirrors of it before."""
        self._places = places
        self._source = str(places[-1].repository)

    def open(self, descriptor: Descriptor) -> VerifyingReader:
        """Blobs of up to SMALL_BLOB bytes are read here, and asked for again if they come damaged."""
        if descriptor.size <= SMALL_BLOB:
            return _VerifiedReader(self._read_small(descriptor), descriptor, self._source)
        stream: Any = ResumingStream(self._places, descriptor)
        return VerifyingReader(stream, descriptor, self._source)

    def _read_small(self, descriptor: Descriptor) -> bytes:
        try:
            return self._read_whole(descriptor, self._places)
        except DigestMismatch:
            return self._read_whole(descriptor, self._places[1:] or self._places)

    def _read_whole(self, descriptor: Descriptor, places: Sequence[RegistryClient]) -> bytes:
        stream: Any = ResumingStream(places, descriptor)
        with VerifyingReader(stream, descriptor, self._source) as reader:
            return reader.read()

    def save(self, descriptor: Descriptor, target: BinaryIO, progress: Optional[Progress] = None) -> None:
        """Write a blob into ``target`` (seekable, empty); content that is damaged is fetched once more.

        Raises what reading raises; then ``target`` holds nothing to be used.
        """
        try:
            self._copy(descriptor, target, progress)
        except DigestMismatch:
            if descriptor.size <= SMALL_BLOB:
                raise  # that was the second time
            target.seek(0)
            target.truncate()
            Downloader(self._places[1:] or self._places)._copy(descriptor, target, None)

    def _copy(self, descriptor: Descriptor, target: BinaryIO, progress: Optional[Progress]) -> None:
        if descriptor.size <= SMALL_BLOB:
            with self.open(descriptor) as reader:
                target.write(reader.read())
            return
        stream = ResumingStream(self._places, descriptor)
        check = BackgroundCheck(descriptor, self._source)
        try:
            while check.size <= descriptor.size:  # one byte too many is enough to know
                chunk = stream.read(min(MIB, descriptor.size - check.size + 1))
                if not chunk:
                    break
                check.add(chunk)
                target.write(chunk)
                if progress:
                    progress(len(chunk))
            check.finish()
        finally:
            check.stop()
            stream.close()


class BackgroundCheck:
    """Checks digest and size in a thread of its own: hashing takes as long as receiving and writing together."""

    def __init__(self, descriptor: Descriptor, source: str) -> None:
        self.size = 0
        self._descriptor = descriptor
        self._source = source
        self._hasher = hasher_for(descriptor.digest)
        self._queue: queue.Queue[Optional[bytes]] = queue.Queue(maxsize=8)  # MiB, as chunks have one at most
        self._thread: Optional[threading.Thread] = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def _work(self) -> None:
        while True:
            chunk = self._queue.get()
            if chunk is None:
                return
            self._hasher.update(chunk)

    def add(self, chunk: bytes) -> None:
        self.size += len(chunk)
        self._queue.put(chunk)

    def stop(self) -> None:
        thread, self._thread = self._thread, None
        if thread is not None:
            self._queue.put(None)
            thread.join()

    def finish(self) -> None:
        """Raises DigestMismatch."""
        self.stop()
        expected = self._descriptor
        found = f"{self._hasher.name}:{self._hasher.hexdigest()}"
        if self.size == expected.size and found == expected.digest:
            return
        what = f"the digest {found}" if self.size == expected.size else f"{self.size} bytes"
        if self.size > expected.size:
            what = f"more than {expected.size} bytes"
        raise DigestMismatch(f"{expected.digest} ({expected.size} bytes) from {self._source} came back with {what}")


class _VerifiedReader(VerifyingReader):
    """A blob that was read and verified already."""

    def __init__(self, data: bytes, descriptor: Descriptor, source: str) -> None:
        super().__init__(io.BytesIO(data), descriptor, source)
        self._memory = io.BytesIO(data)

    def read(self, size: int = -1) -> bytes:
        return self._memory.read(size)


class ResumingStream:
    """The bytes of a blob as one stream, over as many requests as it takes.

    After a broken connection the rest is asked for with ``Range`` and ``If-Range``. Whether the registry obeys is seen
    by its answer (206 with the right ``Content-Range``), not by what it promises; from a whole answer (200) the bytes
    that are here already are passed over. Fewer bytes than the descriptor says count as a broken connection. Digests
    are not checked here.

    Where one place fails, the next goes on from the same byte: a digest names the same content everywhere.
    """

    def __init__(self, places: Sequence[RegistryClient], descriptor: Descriptor) -> None:
        self._places = list(places)
        self._descriptor = descriptor
        self._offset = 0
        self._failures = 0
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
                self._answer = self._request()
                return
            except (ContentError, ResponseError, TransportError) as e:
                self._next_place(e)

    def _next_place(self, error: SpackOciError) -> None:
        if len(self._places) == 1:
            raise error
        self._places.pop(0)
        self._validator = ""
        self._failures = 0

    def read(self, size: int = -1) -> bytes:
        while True:
            try:
                if self._answer is None:
                    self._open()
                assert self._answer is not None
                chunk = self._answer.read(size)
                if size and not chunk and self._offset < self._descriptor.size:
                    raise ConnectionLost(
                        f"reading {self._descriptor.digest} of {self._client.repository}: "
                        f"it ended after {self._offset} of {self._descriptor.size} bytes"
                    )
            except (ConnectionLost, TimedOut) as e:
                self._lost(e)
                continue
            if chunk:
                self._offset += len(chunk)
                self._failures = 0
            return chunk

    def _lost(self, error: SpackOciError) -> None:
        """Wait before going on, or raise. Failures count only as long as no byte arrives."""
        self.close()
        self._failures += 1
        retry = self._client.settings.retry
        wait = retry.wait_before_retry(error, self._failures)
        if wait is None:
            error.message += f" ({self._failures} tries, {self._offset} of {self._descriptor.size} bytes arrived)"
            self._next_place(error)
        else:
            retry.sleep(wait)

    def _request(self) -> Answer:
        headers: Dict[str, str] = {"Accept-Encoding": "identity"}
        if self._offset:
            headers["Range"] = f"bytes={self._offset}-"
            if self._validator:
                headers["If-Range"] = self._validator
        answer = self._client.call(
            "GET",
            f"{self._client.repository.endpoint}/blobs/{self._descriptor.digest}",
            doing=f"reading {self._descriptor.digest} of {self._client.repository}",
            scopes=self._client.scopes("pull"),
            accept=(200, 206) if self._offset else (200,),
            headers=headers,
        )
        if self._offset:
            self._check_start(answer)
        self._validator = strong_validator(answer.headers.get("ETag"))
        return answer

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
            if self._offset == self._descriptor.size:
                answer.discard()
            else:
                answer.abort()


def continues(found: Optional[Tuple[int, int, Optional[int]]], offset: int, size: int) -> bool:
    """Whether a Content-Range is what was asked for: from ``offset``, of a content of ``size`` bytes."""
    return found is not None and found[0] == offset and found[1] < size and found[2] in (None, size)


def strong_validator(etag: Optional[str]) -> str:
    """RFC 9110, 13.1.5: only a strong ETag may be sent in ``If-Range``."""
    return etag if etag and etag.startswith('"') and etag.endswith('"') else ""


def digest_with(algorithm: str, data: bytes) -> str:
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"
