# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Blobs on their way down: verified, in memory, as a stream, or into a file."""

import contextlib
import hashlib
import io
import os
import queue
import threading
from typing import Any, BinaryIO, Optional, Sequence, Tuple

from ..content import Progress
from ..descriptor import Descriptor, VerifyingReader
from ..errors import DigestMismatch, UnexpectedResponse
from ..util.concurrency.threads import DaemonPool
from .client import RegistryClient
from .settings import MIB
from .stream import RangesIgnored, ResumingStream

#: blobs up to this size are read and verified before the caller sees a byte; a damaged one is then asked for once more
SMALL_BLOB = 1 * MIB
#: bytes; with less for each, several streams are not worth their requests
MIN_PART = 16 * MIB
#: between receiving and writing; with one MiB each, the two wait for each other more often (a GiB: 1.17 against 1.08 s)
_BUFFERS = 4
_BUFFER_SIZE = 2 * MIB
#: bytes for one write. A file system with large folios (ext4 since Linux 6.16) takes memory in pieces as large as the
#: write, and where free memory is scattered it looks long for them: seconds of processor time for a GiB were 0.3 with
#: 64 KiB, 0.25 with 256 or 512 KiB, and with one MiB 0.2 or, in the same minute, 1.4
_WRITE_SIZE = 256 << 10
#: name of the threads that write
WRITER = "blob-writer"


class Downloader:
    """Reads blobs of one repository."""

    def __init__(self, clients: Sequence[RegistryClient]) -> None:
        """``clients``: of the repository itself last, of its mirrors before."""
        self._clients = clients
        self._source = str(clients[-1].repository)

    def open(self, descriptor: Descriptor) -> VerifyingReader:
        """Blobs of up to SMALL_BLOB bytes are read here, and asked for again if they come damaged."""
        if descriptor.size <= SMALL_BLOB:
            return _VerifiedReader(self._read_small(descriptor), descriptor, self._source)
        return self._verified(ResumingStream(self._clients, descriptor), descriptor)

    def _verified(self, stream: Any, descriptor: Descriptor) -> VerifyingReader:
        return VerifyingReader(stream, descriptor, self._source, stream.remedy)

    def _read_small(self, descriptor: Descriptor) -> bytes:
        try:
            return self._read_whole(descriptor, self._clients)
        except DigestMismatch:
            return self._read_whole(descriptor, self._clients[1:] or self._clients)

    def _read_whole(self, descriptor: Descriptor, clients: Sequence[RegistryClient]) -> bytes:
        with self._verified(ResumingStream(clients, descriptor), descriptor) as reader:
            return reader.read()

    def read_range(self, descriptor: Descriptor, start: int, stop: int) -> bytes:
        """A part of a blob, not verified. A registry that ignores ranges is an UnexpectedResponse."""
        stream = ResumingStream(self._clients, descriptor, (start, stop))
        try:
            buffer, position = memoryview(bytearray(stop - start)), 0
            while position < len(buffer):
                count = stream.readinto(buffer[position:])
                if not count:
                    raise UnexpectedResponse(f"{self._source} sent {position} bytes of {len(buffer)}")
                position += count
            return bytes(buffer)
        except RangesIgnored as e:
            raise UnexpectedResponse(f"{self._source} ignores ranges") from e
        finally:
            stream.close()

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
            Downloader(self._clients[1:] or self._clients)._copy(descriptor, target, None)

    def _copy(self, descriptor: Descriptor, target: BinaryIO, progress: Optional[Progress]) -> None:
        if descriptor.size <= SMALL_BLOB:
            with self.open(descriptor) as reader:
                target.write(reader.read())
            return
        parts = self._clients[-1].settings.parallel_ranges
        if parts > 1 and descriptor.size >= parts * MIN_PART:
            try:
                return self._copy_parts(descriptor, target, parts, progress)
            except RangesIgnored:
                pass  # one stream, then
        self._copy_stream(descriptor, target, progress)

    def _copy_parts(self, descriptor: Descriptor, target: BinaryIO, parts: int, progress: Optional[Progress]) -> None:
        """In several streams, each to its place in the file; the digest is taken of the file."""
        target.truncate(descriptor.size)
        target.flush()
        fd = target.fileno()
        edges = [descriptor.size * n // parts for n in range(parts + 1)]

        def copy(span: Tuple[int, int]) -> None:
            stream = ResumingStream(self._clients, descriptor, span)
            try:
                buffer, position = memoryview(bytearray(MIB)), span[0]
                while position < span[1]:
                    count = stream.readinto(buffer[: span[1] - position])
                    os.pwrite(fd, buffer[:count], position)
                    position += count
                    if progress:
                        progress(count)
            finally:
                stream.close()

        with DaemonPool(parts, "part") as pool:
            for done in [pool.submit(copy, span) for span in zip(edges, edges[1:])]:
                done.result()
        target.seek(0)
        written, buffer = VerifyingReader(target, descriptor, self._source), bytearray(MIB)
        while written.readinto(buffer):
            pass

    def _copy_stream(self, descriptor: Descriptor, target: BinaryIO, progress: Optional[Progress]) -> None:
        """Receiving and hashing here, writing in a thread of its own: each takes about as long as the other."""
        with self.open(descriptor) as reader, BackgroundWriter(target) as writer:
            while True:
                buffer = writer.buffer()
                count = reader.readinto(buffer)
                if not count:
                    return
                writer.write(buffer, count)
                if progress:
                    progress(count)


def digest_with(algorithm: str, data: bytes) -> str:
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


class BackgroundWriter:
    """Writes to a file in a thread of its own, for the time of a ``with`` block. Raises what writing raised.

    A few buffers go round: memory is bounded, and none of its pages is fresh after the first round. (With a new object
    for each MiB the kernel spent a third of its time on handing out pages and taking them back.)
    """

    def __init__(self, target: BinaryIO) -> None:
        self._target = target
        self._error: Optional[BaseException] = None
        self._free: queue.SimpleQueue[memoryview] = queue.SimpleQueue()
        self._full: queue.SimpleQueue[Optional[Tuple[memoryview, int]]] = queue.SimpleQueue()
        for _ in range(_BUFFERS):
            self._free.put(memoryview(bytearray(_BUFFER_SIZE)))
        #: None where the system allows no further thread
        self._thread: Optional[threading.Thread] = None

    def __enter__(self) -> "BackgroundWriter":
        thread = threading.Thread(target=self._work, name=WRITER, daemon=True)
        with contextlib.suppress(RuntimeError):
            thread.start()
            self._thread = thread
        return self

    def __exit__(self, kind: Any, *_: Any) -> None:
        self._full.put(None)
        if self._thread is not None:
            self._thread.join()
        if kind is None:
            self._raise()

    def buffer(self) -> memoryview:
        """One that may be filled; waits for it."""
        buffer = self._free.get()
        self._raise()
        return buffer

    def write(self, buffer: memoryview, count: int) -> None:
        """The first ``count`` bytes; the buffer is not the caller's any more."""
        if self._thread is None:
            self._write(buffer, count)
        else:
            self._full.put((buffer, count))

    def _work(self) -> None:
        for buffer, count in iter(self._full.get, None):
            self._write(buffer, count)

    def _write(self, buffer: memoryview, count: int) -> None:
        try:
            if self._error is None:
                for start in range(0, count, _WRITE_SIZE):
                    self._target.write(buffer[start : min(count, start + _WRITE_SIZE)])
        except BaseException as e:
            self._error = e
        self._free.put(buffer)

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error


class _VerifiedReader(VerifyingReader):
    """A blob that was read and verified already."""

    def __init__(self, data: bytes, descriptor: Descriptor, source: str) -> None:
        super().__init__(io.BytesIO(data), descriptor, source)
        self._memory = io.BytesIO(data)

    def read(self, size: int = -1) -> bytes:
        return self._memory.read(size)

    def readinto(self, buffer: Any) -> int:
        return self._memory.readinto(buffer)
