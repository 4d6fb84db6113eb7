# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What came of a push: values for the summary, ``--json`` and the index."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, NamedTuple, Optional, Sequence

from ...descriptor import Descriptor
from ...package.record import Layer, Package

if TYPE_CHECKING:
    from ..trust.write import Written

PUSHED = "pushed"
SKIPPED = "skipped"
FAILED = "failed"


class PackageOutcome(NamedTuple):
    """One package. ``status``: PUSHED, SKIPPED (it was there) or FAILED (``error``)."""

    package: Package
    status: str
    #: the package's own layer; None if it failed, or was skipped and nobody had to know
    layer: Optional[Layer] = None
    #: of the image that was put
    manifest: Optional[Descriptor] = None
    error: Optional[BaseException] = None
    #: of packing and sending the layer
    seconds: float = 0.0
    #: bytes read from the prefix, and bytes sent to the store
    read: int = 0
    sent: int = 0
    #: see :class:`spack_oci.archive.pack.RelocationSummary`
    relocation_summary: Mapping[str, Any] = {}
    #: None: it was not to be signed
    signature: Optional["Written"] = None
    #: see :class:`~spack_oci.operations.push.tagging.Tagged`
    licenses: str = ""
    #: the tag was there, with another layer
    replaced: bool = False

    def to_dict(self) -> Dict[str, Any]:
        """For ``--json``."""
        result: Dict[str, Any] = {
            "name": self.package.name,
            "version": self.package.version,
            "hash": self.package.dag_hash,
            "tag": self.package.tag,
            "status": self.status,
        }
        if self.manifest:
            result["manifest"] = {"digest": self.manifest.digest, "size": self.manifest.size}
        if self.layer:
            result["layer"] = {**self.layer.descriptor.to_dict(), "diffId": self.layer.diff_id}
        if self.signature:
            result["signed_by"] = self.signature.key_id
        if self.status == PUSHED:
            result.update(read=self.read, sent=self.sent, seconds=round(self.seconds, 3))
        if self.error is not None:
            result["error"] = str(self.error)
        return result


def outcome_line(outcome: PackageOutcome) -> str:
    """In Spack's words; why something failed is said at the end, once for all packages with the same cause."""
    label = outcome.package.label
    if outcome.error is not None:
        return f"Failed to push {label}"
    if outcome.layer is None:
        return f"Skipped {label}"
    seconds = max(outcome.seconds, 0.001)
    rate = outcome.layer.descriptor.size / seconds / 1e6
    return f"Pushed {label}: {outcome.layer.descriptor.digest} ({seconds:.2f}s, {rate:.2f} MB/s)"


@dataclass(frozen=True)
class PushResult:
    """All packages, in the order in which they were given. ``seconds``: wall clock."""

    outcomes: Sequence[PackageOutcome]
    seconds: float = 0.0
    #: DAG hash -> layer, of every package whose layer is known now (pushed or read)
    layers: Dict[str, Layer] = field(default_factory=dict, repr=False)

    def of(self, status: str) -> List[PackageOutcome]:
        return [outcome for outcome in self.outcomes if outcome.status == status]

    @property
    def pushed(self) -> List[PackageOutcome]:
        return self.of(PUSHED)

    @property
    def skipped(self) -> List[PackageOutcome]:
        return self.of(SKIPPED)

    @property
    def failed(self) -> List[PackageOutcome]:
        return self.of(FAILED)

    @property
    def bytes_read(self) -> int:
        return sum(outcome.read for outcome in self.outcomes)

    @property
    def bytes_sent(self) -> int:
        return sum(outcome.sent for outcome in self.outcomes)

    @property
    def bytes_saved(self) -> int:
        """Bytes of layers that were pushed but had not to be sent, because the store had them."""
        return sum(
            max(0, outcome.layer.descriptor.size - outcome.sent) for outcome in self.pushed if outcome.layer is not None
        )

    def to_dict(self) -> Dict[str, Any]:
        """For ``--json``."""
        return {
            "packages": [outcome.to_dict() for outcome in self.outcomes],
            "pushed": len(self.pushed),
            "skipped": len(self.skipped),
            "failed": len(self.failed),
            "bytes_read": self.bytes_read,
            "bytes_sent": self.bytes_sent,
            "bytes_saved": self.bytes_saved,
            "seconds": round(self.seconds, 3),
        }
