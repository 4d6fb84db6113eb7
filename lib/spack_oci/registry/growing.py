# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""A blob that is sent while it is being made (distribution-spec, "Pushing a blob in chunks").

A registry asks for the digest in the closing PUT only, so what there is of a blob can go up in pieces before. Whatever
goes wrong for good on the way ends that; the upload is then one that was broken off, and :class:`~.uploads.Uploader`
goes on with it, or begins anew, as with any other.
"""

from dataclasses import dataclass
from typing import Optional

from ..content import GrowingBlob, Progress
from ..errors import ConnectionLost, NotFound, ResponseError, SpackOciError, TimedOut
from .uploads import MIN_PROGRESS, Report, Uploader, UploadSession, failures_after

#: errors that an upload may survive
_PASSING = (NotFound, ResponseError, ConnectionLost, TimedOut)
#: to the very first piece: the registry takes none
_REFUSALS = (400, 405, 411, 413, 415, 416, 501)


@dataclass
class SentPiece:
    """A :class:`~spack_oci.content.SentPart`."""

    uploader: Uploader
    session: UploadSession

    def belongs_to(self, digest: str) -> None:
        self.uploader.leave_open(digest, self.session)

    def discard(self) -> None:
        self.uploader.cancel(self.session)


class GrowingUploads:
    """Sends growing blobs to one repository, until it refuses to be sent a piece."""

    def __init__(self, uploader: Uploader) -> None:
        self._uploader = uploader
        self._policy = uploader.policy
        self._refused = False

    def send(self, blob: GrowingBlob, progress: Optional[Progress] = None) -> Optional[SentPiece]:
        """See :meth:`~spack_oci.content.SendsGrowing.send_growing`."""
        if self._refused or blob.wait_for(self._policy.chunk_size) < self._policy.chunk_size:
            return None
        try:
            session = self._uploader.start(_WHAT)
        except SpackOciError:
            return None  # what is wrong will be met again, by the blob itself
        if session is None:
            return None
        session = self._send_pieces(session, blob, Report(progress))
        if session is not None and session.offset == 0:
            self._uploader.cancel(session)
            return None
        return None if session is None else SentPiece(self._uploader, session)

    def _send_pieces(self, session: UploadSession, blob: GrowingBlob, report: Report) -> Optional[UploadSession]:
        """Whole pieces only: what is left in the end goes with the upload's last request."""
        piece, failures, furthest = self._policy.chunk_size, 0, session.offset
        current: Optional[UploadSession] = session
        while current is not None and failures < self._policy.attempts:
            before, wanted = current.offset, max(piece, current.min_chunk)
            furthest = max(furthest, before)
            there = blob.wait_for(current.offset + wanted)
            if there < current.offset + wanted:
                return current
            try:
                self._uploader.patch(current, _ACTION, blob, wanted, report)
                failures = failures_after(current.offset, before, furthest, failures)
            except _PASSING as e:
                failures += 1
                smaller = self._uploader.smaller_piece(e, piece, current)
                if smaller:
                    piece = smaller
                    continue
                if before == 0 and (isinstance(e, NotFound) or getattr(e, "status", 0) in _REFUSALS):
                    self._refused = True
                    return current
                current = self._after(e, current, failures, there)
                if current is not None and current.offset - furthest >= MIN_PROGRESS:
                    failures = 0
            except SpackOciError:
                # what was written is being written again (InvalidContent), or something that the blob itself will meet
                return current
        return current

    def _after(self, error: SpackOciError, session: UploadSession, failures: int, size: int) -> Optional[UploadSession]:
        """Where to go on; None: not here."""
        try:
            self._uploader.wait_or_raise(error, failures)
            return self._uploader.progress_of(session, _WHAT, size)
        except SpackOciError:
            self._uploader.cancel(session)
            return None


_WHAT = "a layer that is being packed"
_ACTION = f"sending {_WHAT}"
