# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""A large layer is sent while it is packed: what the packer has written of its file is what goes up.

The digest is known when both are done. So this is for layers that the store does not have as far as one can know, and
the file stays: if the upload breaks off for good, what there is of it is sent in the usual way, and nothing is packed
again.
"""

import os
import threading
from dataclasses import dataclass, field
from typing import BinaryIO, Callable, ContextManager, Optional

from ...content import Progress, RepositoryWriter, SendsGrowing, SentPart
from ...content.cancellable import CancellableReader

#: bytes of files that are read between two looks at what was written
_LOOK = 4 << 20


@dataclass
class GrowingFile:
    """A :class:`~spack_oci.content.GrowingBlob`. ``check`` raises when the whole is stopped."""

    path: str
    check: Callable[[], None]
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _read: int = 0
    _complete: bool = False

    def open(self) -> BinaryIO:
        return CancellableReader(open(self.path, "rb"), self.check)  # type: ignore[return-value]

    def wait_for(self, size: int) -> int:
        with self._changed:
            while True:
                self.check()
                there = self._size()
                if there >= size or self._complete:
                    return there
                self._changed.wait()

    def _size(self) -> int:
        try:
            return os.path.getsize(self.path)
        except OSError:  # not begun yet
            return 0

    def grew(self, read: int) -> None:
        """The packer has read so many bytes more."""
        self._read += read
        if self._read >= _LOOK:
            self._read = 0
            with self._changed:
                self._changed.notify_all()

    def end(self) -> None:
        """The file is complete, or will not be: nobody waits any longer."""
        with self._changed:
            self._complete = True
            self._changed.notify_all()


class SendingAhead:
    """Sends the file at ``path``, which is about to be written, in a thread of its own."""

    def __init__(
        self,
        store: SendsGrowing,
        path: str,
        check: Callable[[], None],
        progress: Progress,
        during: ContextManager[None],
    ) -> None:
        """``during``: around all of it. Raises RuntimeError if the system allows no more threads."""
        self._during = during
        self._store = store
        self._file = GrowingFile(path, check)
        self._progress = progress
        self._part: Optional[SentPart] = None
        self._thread = threading.Thread(target=self._send, name="ahead", daemon=True)
        self._thread.start()

    def _send(self) -> None:
        try:
            with self._during:
                self._part = self._store.send_growing(self._file, self._progress)
        except Exception:  # Cancelled and OSError for certain
            pass  # the one that packs, or the usual way of sending, meets it as well

    def grew(self, read: int) -> None:
        self._file.grew(read)

    def packed(self) -> None:
        """The file is complete."""
        self._file.end()

    def belongs_to(self, digest: str) -> None:
        """Wait for the piece that is under way; the store is given this blob next."""
        self._thread.join()
        if self._part is not None:
            self._part.belongs_to(digest)

    def give_up(self) -> None:
        """The file will not be complete."""
        self._file.end()
        self._thread.join()
        if self._part is not None:
            self._part.discard()


def send_ahead(
    store: RepositoryWriter, path: str, check: Callable[[], None], progress: Progress, during: ContextManager[None]
) -> Optional[SendingAhead]:
    """None: this store, or the system, does not allow it."""
    if not isinstance(store, SendsGrowing):
        return None
    try:
        return SendingAhead(store, path, check, progress, during)
    except RuntimeError:
        return None
