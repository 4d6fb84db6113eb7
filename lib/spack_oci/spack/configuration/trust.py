# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Policies of Spack's mirrors, and who signs what Spack pushes."""

import contextlib
import functools
import sys
from typing import Callable, Mapping, Optional, Sequence, Union

import spack.llnl.util.tty as tty
import spack.mirrors.mirror

from ...configuration import trust as configuration
from ...content import ContentReader
from ...errors import InvalidReference, NotFound
from ...index.index_cache import Fetch, IndexCache
from ...index.read import IndexDocument, KnownIndex, NotModified, OldDocument, fetch_index
from ...operations.trust.generations import Generations
from ...operations.trust.guard import Guard
from ...operations.trust.index_signing import IndexSigning
from ...operations.trust.trusted_index import TrustedIndex
from ...operations.trust.write import Written
from ...trust.policy import Policy, Trust
from ...trust.signers import Signer
from .. import compat
from ..hooks.unverified import NO_CHECK
from . import mirrors, settings


def policy_of(mirror: "spack.mirrors.mirror.Mirror") -> Policy:
    """What is asked of the packages of a mirror. Raises ConfigurationError for settings without a meaning."""
    section = settings.read().trust
    return configuration.policy_of(section, mirror.fetch_url, compat.canonicalize_path, is_signed(mirror))


def trust() -> Trust:
    """All of ``oci:trust``."""
    return configuration.read_trust(settings.read().trust, compat.canonicalize_path)


def is_signed(mirror: "spack.mirrors.mirror.Mirror") -> bool:
    """Whether the mirror's own configuration says ``signed: true``; that of Spack's default counts for nothing."""
    data = getattr(mirror, "_data", None)
    return isinstance(data, Mapping) and data.get("signed") is True


def guard_of(
    mirror: "spack.mirrors.mirror.Mirror",
    open_store: Callable[[], ContentReader],
    unsigned: bool = False,
    warn: Optional[Callable[[str], None]] = None,
) -> Optional[Guard]:
    """Who decides about the packages of a mirror; None: nobody. ``unsigned``: --no-check-signature was given."""
    policy = policy_of(mirror)
    if not policy.active:
        return None
    if unsigned:
        if policy.required:
            _once(warn or tty.warn, f"signatures of {mirror.fetch_url} are not checked (--no-check-signature)")
        return None
    kept = IndexCache(settings.read().index_directory)
    return Guard(policy, open_store(), functools.partial(_once, warn or tty.warn), kept)


@functools.cache
def _once(warn: Callable[[str], None], message: str) -> None:
    warn(message)


def generations() -> Generations:
    return Generations(settings.read().trust_directory)


def trusted_index(mirror: "spack.mirrors.mirror.Mirror") -> Optional[TrustedIndex]:
    """Who reads the index of a mirror under its policy; None: nobody has to."""
    policy = policy_of(mirror)
    if not policy.active:
        return None
    store = mirrors.open_store(mirror, mirrors.FETCH)
    return TrustedIndex(policy, store, generations(), tty.warn, jobs=settings.read().transfer_jobs)


def asks_for_age(mirror: "spack.mirrors.mirror.Mirror") -> bool:
    """Whether no package of a mirror is to be used before its index has been seen."""
    policy = policy_of(mirror)
    return policy.required and policy.max_age is not None and NO_CHECK not in sys.argv


def index_fetch(others: Sequence["spack.mirrors.mirror.Mirror"] = ()) -> Optional[Fetch]:
    """How the indexes of configured mirrors, and of ``others``, are fetched under their policies; None: there are none.

    Policies are found here, so that what is returned can be called in threads. Raises ConfigurationError.
    """
    known = {mirror.fetch_url: mirror for mirror in (*others, *mirrors.configured(mirrors.FETCH))}
    if not settings.read().trust.get("policies") and not any(map(is_signed, known.values())):
        return None
    if NO_CHECK in sys.argv:  # Spack hands the option to who installs only, and the concretizer comes first
        return None
    trusted = {}
    for mirror in known.values():
        with contextlib.suppress(NotFound, InvalidReference):  # a layout before its first push; who uses it will say
            found = trusted_index(mirror)
            if found is not None:
                trusted[mirrors.open_store(mirror, mirrors.FETCH).url] = found

    def fetch(
        url: str,
        store: ContentReader,
        known: Optional[KnownIndex],
        old_document: Callable[[], Optional[OldDocument]],
    ) -> Union[IndexDocument, NotModified]:
        read = trusted[url].fetch if url in trusted else fetch_index
        return read(store, known, old_document)

    return fetch


def index_signing(
    mirror: "spack.mirrors.mirror.Mirror", written: Sequence[Written], by: Optional[Signer], renew: bool = False
) -> IndexSigning:
    """For an update of a mirror's index. ``written``: signatures that were just made; ``by``: who signs the index;
    ``renew``: also one that has lost its signature."""
    store = mirrors.open_store(mirror, mirrors.PUSH)
    return IndexSigning(store, written, by, generations(), tty.warn, settings.read().transfer_jobs, renew=renew)


def signer(ahead: bool = False) -> Optional[Signer]:
    """See :func:`spack_oci.configuration.trust.signer_of`."""
    return configuration.signer_of(settings.read().signing, compat.canonicalize_path, ahead=ahead)


def required_signer(path: Optional[str] = None, ahead: bool = False) -> Signer:
    return configuration.required_signer(settings.read().signing, compat.canonicalize_path, path, ahead)


def read_key_file(path: str) -> bytes:
    return configuration.read_key_file(compat.canonicalize_path(path))


def password(key: str, confirm: bool = False) -> bytes:
    """Of a private key, see :func:`spack_oci.configuration.trust.password`."""
    return configuration.password(settings.read().signing, key, compat.canonicalize_path, confirm)
