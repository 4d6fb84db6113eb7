# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Transfers that are cut off in the middle."""

from typing import Any, BinaryIO, Callable, NamedTuple

from .interfaces import BlobSource


class CancellableSource(NamedTuple):
    """A source whose reading raises what ``check`` raises, to end a transfer in the middle."""

    source: BlobSource
    check: Callable[[], None]

    def open(self) -> BinaryIO:
        return CancellableReader(self.source.open(), self.check)  # type: ignore[return-value]


class CancellableReader:
    """``stream``, whose reading raises what ``check`` raises."""

    def __init__(self, stream: BinaryIO, check: Callable[[], None]) -> None:
        self._stream = stream
        self._check = check
        self.seekable = stream.seekable
        self.seek = stream.seek if stream.seekable() else None

    def read(self, size: int = -1) -> bytes:
        self._check()
        return self._stream.read(size)

    def close(self) -> None:
        self._stream.close()

    def __enter__(self) -> "CancellableReader":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()
