# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Blobs on their way down: verified, in memory, as a stream, or into a file."""

import hashlib
import io
import os
import queue
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, BinaryIO, Optional, Sequence, Tuple

from ..content import Progress
from ..descriptor import Descriptor, VerifyingReader, hasher_for
from ..errors import DigestMismatch
from .client import RegistryClient
from .settings import MIB
from .stream import RangesIgnored, ResumingStream

#: blobs up to this size are read and verified before the caller sees a byte; a damaged one is then asked for once more
SMALL_BLOB = 1 * MIB
#: bytes; with less for each, several streams are not worth their requests
MIN_PART = 16 * MIB


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
        parts = self._places[-1].settings.parallel_ranges
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
            stream = ResumingStream(self._places, descriptor, span)
            try:
                position = span[0]
                while position < span[1]:
                    chunk = stream.read(min(MIB, span[1] - position))
                    position += os.pwrite(fd, chunk, position)
                    if progress:
                        progress(len(chunk))
            finally:
                stream.close()

        with ThreadPoolExecutor(parts) as pool:
            for done in [pool.submit(copy, span) for span in zip(edges, edges[1:])]:
                done.result()
        check = BackgroundCheck(descriptor, self._source)
        target.seek(0)
        for chunk in iter(lambda: target.read(MIB), b""):
            check.add(chunk)
        check.finish()

    def _copy_stream(self, descriptor: Descriptor, target: BinaryIO, progress: Optional[Progress]) -> None:
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


def digest_with(algorithm: str, data: bytes) -> str:
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


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
