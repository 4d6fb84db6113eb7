# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Sign what a store has already: packages by their tags, images by their digests."""

from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Sequence, Union

from ...content import RepositoryWriter
from ...descriptor import Descriptor
from ...errors import SpackOciError
from ...image.manifest import BuiltImage
from ...trust.payload import Subject, repository_of
from ...trust.signers import Signer
from ...util.concurrency.threads import DaemonPool
from ..install.fetch import find_package
from .guard import subject_of
from .write import Pace, SignatureWriter, Written


@dataclass(frozen=True)
class SignOutcome:
    """``tag``: of the package; ``error``: why it is not signed."""

    tag: str
    written: Optional[Written] = None
    error: Optional[SpackOciError] = None

    def to_dict(self) -> Dict[str, Any]:
        """For ``--json``."""
        if self.error is not None:
            return {"tag": self.tag, "status": "failed", "error": str(self.error)}
        assert self.written is not None
        return {
            "tag": self.tag,
            "status": "signed" if self.written.is_new else "signed before",
            "manifest": self.written.subject.manifest,
            "key": self.written.key_id,
        }


def sign_packages(
    store: RepositoryWriter,
    tags: Sequence[str],
    signer: Signer,
    jobs: int = 8,
    pace: Optional[Pace] = None,
    index_follows: bool = False,
) -> List[SignOutcome]:
    """Sign the packages behind ``tags`` as they are now; a package that fails does not stop the others.

    ``index_follows``: the index will be updated with the signatures, which sees to it that none of others is lost.
    """
    writer = SignatureWriter(store, signer, pace)

    def one(tag: str) -> SignOutcome:
        try:
            remote = find_package(store, tag)
            return SignOutcome(tag, writer.sign(subject_of(remote), tag))
        except SpackOciError as e:
            return SignOutcome(tag, error=e)

    with DaemonPool(jobs, "sign") as pool:
        outcomes = list(pool.map(one, tags))
    return outcomes if index_follows else _settled(writer, outcomes, jobs)


def _settled(writer: SignatureWriter, outcomes: Sequence[SignOutcome], jobs: int) -> List[SignOutcome]:
    written = [o.written for o in outcomes if o.written is not None]
    left = dict(zip([w.label for w in written], writer.settle(written, jobs)))
    return [_outcome(o.tag, left[o.tag]) if o.written is not None else o for o in outcomes]


def _outcome(tag: str, left: Union[Written, SpackOciError]) -> SignOutcome:
    return SignOutcome(tag, error=left) if isinstance(left, SpackOciError) else SignOutcome(tag, left)


def sign_image(
    store: RepositoryWriter,
    signer: Signer,
    image: BuiltImage,
    index: Optional[Descriptor] = None,
    sbom: Optional[str] = None,
) -> None:
    """Sign the manifest of an image and, if its tag holds one, its multi-architecture index. ``sbom``: digest of the
    SBOM that is attached to the image. Raises SigningError, and what the store raises."""
    writer = SignatureWriter(store, signer)
    repository = repository_of(store.url)
    config = image.config_descriptor.digest
    subjects = [Subject(repository, image.manifest_descriptor.digest, config=config, sbom=sbom)]
    subjects += [Subject(repository, index.digest)] if index is not None else []
    for left in writer.settle([writer.sign(subject, subject.manifest) for subject in subjects]):
        if isinstance(left, SpackOciError):
            raise left
