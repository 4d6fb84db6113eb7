# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Policies of Spack's mirrors, and who signs what Spack pushes."""

import functools
from typing import Callable, Mapping, Optional

import spack.llnl.util.tty as tty
import spack.mirrors.mirror

from ..configuration import trust as configuration
from ..content import ContentReader
from ..operations.trust.guard import Guard
from ..trust.policy import Policy, Trust
from ..trust.signers import Signer
from . import compat, settings


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
    return Guard(policy, open_store(), functools.partial(_once, warn or tty.warn))


@functools.cache
def _once(warn: Callable[[str], None], message: str) -> None:
    warn(message)


def signer(path: Optional[str] = None) -> Optional[Signer]:
    """See :func:`spack_oci.configuration.trust.signer_of`."""
    return configuration.signer_of(settings.read().signing, compat.canonicalize_path, path)


def required_signer(path: Optional[str] = None) -> Signer:
    return configuration.required_signer(settings.read().signing, compat.canonicalize_path, path)


def read_key_file(path: str) -> bytes:
    return configuration.read_key_file(compat.canonicalize_path(path))


def password(key: str, confirm: bool = False) -> bytes:
    """Of a private key, see :func:`spack_oci.configuration.trust.password`."""
    return configuration.password(settings.read().signing, key, compat.canonicalize_path, confirm)
