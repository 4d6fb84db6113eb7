# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Put signatures where cosign looks for them, beside those of other signers.

The tag ``sha256-HEX.sig`` is read, changed and written, and read again. A registry has no way to replace a tag only if
it is still what was read, so of two signers that write at once the last one wins, and somebody has to find out.

- Where the index is updated afterwards, it does. Each signer announces what it has signed, under a tag of its key
  (:mod:`.announced`), after it has signed and before it looks at the index and the tags. So of all who sign a package
  with different keys, whoever announces last finds the announcements of all others; it has the signatures of all put
  under the tag (:func:`keep_together`) and into the index. Who does so with fewer, because it looked earlier, may
  overwrite that, but then it looks again, and adds the rest. No time is in this, and who is alone asks for no package
  whether it is.
- Without an index, :meth:`SignatureWriter.settle` reads again, a while after the writing, so that who had read before
  has written by then.
"""

import random
import threading
import time
from dataclasses import dataclass, field, replace
from typing import Callable, List, NamedTuple, Optional, Sequence, Union

from ...content import BytesSource, Presence, RepositoryWriter, put_bytes, resolves_to
from ...descriptor import OCI_CONFIG, OCI_MANIFEST
from ...errors import NotFound, SigningError, SpackOciError
from ...trust.payload import Subject
from ...trust.signatures import (
    CONFIG,
    PAYLOAD_TYPE,
    add_signatures,
    holds,
    payload_descriptor,
    read_signatures,
    signature_tag,
)
from ...trust.signers import Signer
from ...trust.verify import Signature
from ...util.concurrency.threads import DaemonPool


class Pace(NamedTuple):
    """How writers that meet get along. Seconds. ``settle``: what no writer takes between its reading and its writing;
    ``longest``: of the random waits after a collision, which double."""

    settle: float = 0.3
    shortest: float = 0.05
    longest: float = 5.0
    attempts: int = 12
    sleep: Callable[[float], None] = time.sleep
    uniform: Callable[[float, float], float] = random.uniform

    def back_off(self, attempt: int) -> None:
        self.sleep(self.uniform(0.0, min(self.longest, self.shortest * 2.0**attempt)))


@dataclass(frozen=True)
class Written:
    """A signature that is in the store, by the key with ``key_id``.

    ``digest``: of the signature manifest as it was left; ``is_new``: it was not there before; ``is_fresh``: neither was
    the signed manifest; ``at``: when (monotonic clock).
    """

    label: str
    subject: Subject
    signature: Signature
    key_id: str
    digest: str
    is_new: bool
    is_fresh: bool = False
    at: float = field(default_factory=time.monotonic, compare=False)


def tag_is(store: RepositoryWriter, manifest: str, digest: str) -> bool:
    """Whether the signatures of ``manifest`` are as who wrote ``digest`` left them. One request."""
    return resolves_to(store, signature_tag(manifest), digest)


def keep_together(
    store: RepositoryWriter, manifest: str, signatures: Sequence[Signature]
) -> "tuple[bool, Optional[bytes]]":
    """Have the tag of a manifest hold all of these beside what it holds, of which nothing is replaced. (Whether it had
    to be written, what it holds now: a signature manifest.)"""
    tag = signature_tag(manifest)
    try:
        existing: Optional[bytes] = store.get_manifest(tag)[1]
    except NotFound:
        existing = None
    label = f"{tag} of {store.url}"
    missing = [s for s in signatures if existing is None or not holds(existing, [s], label)]
    if not missing:
        return False, existing
    for signature in missing:
        put_bytes(store, signature.payload, PAYLOAD_TYPE)
    put_bytes(store, CONFIG, OCI_CONFIG)
    data = add_signatures(existing, missing, label)
    assert data is not None  # it did not hold them
    store.put_manifest(data, OCI_MANIFEST, tag)
    return True, data


class SignatureWriter:
    """Signs for one store with one key. Safe to use from several threads, and after a fork."""

    def __init__(self, store: RepositoryWriter, signer: Signer, pace: Optional[Pace] = None) -> None:
        self._store = store
        self.signer = signer
        self._pace = pace or Pace()
        self._config_is_there = False
        self._lock = threading.Lock()

    def sign(self, subject: Subject, label: str, fresh: bool = False) -> Written:
        """Sign, unless this key has done so. ``fresh``: the manifest is new, so there is hardly a signature to be kept,
        and if there is, the update of the index will put it back.

        Raises SigningError, and what the store raises; nothing half-signed is left then.
        """
        key_id = self.signer.public.id
        payload = subject.payload(key_id)
        tag = signature_tag(subject.manifest)
        existing = None if fresh else self._read(tag)
        if existing is not None:
            known = self._own(existing[1], payload, tag)
            if known is not None:
                return Written(label, subject, known, key_id, existing[0], False)
        signature = Signature(payload, self.signer.sign(payload))
        presence = Presence.EXCLUDED if fresh else Presence.UNLIKELY
        self._store.put_blob(payload_descriptor(signature), BytesSource(payload), presence=presence)
        self._put_config()
        return Written(label, subject, signature, key_id, self._add(tag, existing, signature), True, fresh)

    def settle(self, written: Sequence[Written], jobs: int = 1) -> List[Union[Written, SpackOciError]]:
        """Make sure that what was written is still there; for each, how it was left, or why it is not there."""
        new = [w for w in written if w.is_new]
        if new:
            left = max(w.at for w in new) + self._pace.settle - time.monotonic()
            self._pace.sleep(max(0.0, left))
        with DaemonPool(max(1, min(jobs, len(new))), "settle") as pool:
            return list(pool.map(self._settle_one, written))

    def _settle_one(self, one: Written) -> Union[Written, SpackOciError]:
        try:
            return self._kept(one) if one.is_new else one
        except SpackOciError as e:
            return e

    def _kept(self, one: Written) -> Written:
        tag = signature_tag(one.subject.manifest)
        digest = one.digest
        for attempt in range(self._pace.attempts):
            if tag_is(self._store, one.subject.manifest, digest):
                return replace(one, digest=digest)
            found = self._read(tag)
            if found is not None and holds(found[1], [one.signature], tag):
                return replace(one, digest=found[0])  # somebody added to it
            self._pace.back_off(attempt)
            digest = self._add(tag, self._read(tag), one.signature)
            self._pace.sleep(self._pace.settle)
        raise SigningError(
            f"the signature of {one.label} was overwritten by others {self._pace.attempts} times",
            remedy="sign again with `spack oci sign` when the other signers have ended",
        )

    def _read(self, tag: str) -> "Optional[tuple[str, bytes]]":
        try:
            descriptor, data = self._store.get_manifest(tag)
        except NotFound:
            return None
        return descriptor.digest, data

    def _own(self, manifest: bytes, payload: bytes, tag: str) -> Optional[Signature]:
        """The signature over ``payload`` by this key that is there. Somebody else may have put a wrong one there."""
        digest = payload_descriptor(Signature(payload, b"")).digest
        for layer in read_signatures(manifest, tag):
            if layer.payload.digest == digest and self.signer.public.verifies(layer.value, payload):
                return Signature(payload, layer.value)
        return None

    def _add(self, tag: str, existing: "Optional[tuple[str, bytes]]", signature: Signature) -> str:
        data = add_signatures(existing[1] if existing else None, [signature], f"{tag} of {self._store.url}")
        if data is None:
            assert existing is not None
            return existing[0]
        return self._store.put_manifest(data, OCI_MANIFEST, tag).digest

    def _put_config(self) -> None:
        with self._lock:
            if not self._config_is_there:
                put_bytes(self._store, CONFIG, OCI_CONFIG)
                self._config_is_there = True
