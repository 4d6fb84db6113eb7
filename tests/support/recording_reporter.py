# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""A reporter that remembers what it was told."""

from typing import List, Optional

from spack_oci.util.progress import Silent, Work


class RecordingReporter(Silent):
    def __init__(self) -> None:
        self.warnings: List[str] = []
        super().__init__(self.warnings.append)
        self.work: Optional[Work] = None
        self.parts = self.bytes = self.sent = self.ended = 0

    def begin(self, work: Work) -> None:
        self.work = work

    def moved(self, count: int = 0, sent: int = 0) -> None:
        self.bytes += count
        self.sent += sent

    def finished(self, name: str, line: str = "") -> None:
        self.parts += 1

    def end(self) -> None:
        self.ended += 1
