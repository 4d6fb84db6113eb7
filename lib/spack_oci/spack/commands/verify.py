# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""``spack oci verify`` and ``repair``: what a mirror has, who has signed it, what is wrong, and putting it right."""

from typing import Any, Dict, List, Optional, Sequence

import spack.llnl.util.tty as tty
import spack.mirrors.mirror

from ...content import ContentReader
from ...errors import ContentError, TrustError
from ...index.publish import read_document_manifest
from ...operations.check.findings import Finding, Kind, Level, Verification, finding_of
from ...operations.check.package_level import Rules
from ...operations.check.verify import verify_cache
from ...operations.lifecycle.contents import read_contents
from ...trust.keys import read_public_key
from ...trust.policy import Policy
from ...util.text import counted, table
from .. import mirrors, settings, trust
from ..output import reporter
from .sign import tags_of

#: lines of findings that are printed for one kind
_SHOWN = 20


def policy_for(mirror: "spack.mirrors.mirror.Mirror", key: Optional[str]) -> Policy:
    """What packages are held to: a signature by the public key in a file, else the policy of the mirror."""
    if key is None:
        return trust.policy_of(mirror)
    return Policy(
        "require", (read_public_key(trust.read_key_file(key), key, key),), repositories=("*",), origin="--key"
    )


def verify(
    mirror: "spack.mirrors.mirror.Mirror",
    constraints: Sequence[str],
    policy: Policy,
    level: Level,
    sample: int = 0,
    direction: str = mirrors.FETCH,
) -> Verification:
    """``direction``: FETCH: what those get who install; PUSH: what the cache has, without its pull-through mirrors."""
    store = mirrors.open_store(mirror, direction)
    # without a policy, and so perhaps without cryptography, signatures are only listed
    known = list(trust.trust().keys.values()) if settings.read().trust.get("keys") else []
    index_store = mirrors.open_index_store(mirror, direction)
    found = verify_cache(
        store,
        read_contents(store, index_store, settings.blob_cache(settings.read()), is_check=True),
        level,
        Rules(policy, known),
        tags=tags_of(mirror, constraints) if constraints else None,
        sample=sample,
        jobs=settings.read().transfer_jobs,
        reporter=reporter(),
    )
    if not constraints:
        found.findings[:0] = _of_index_signature(mirror, index_store)
    return found


def _of_index_signature(mirror: "spack.mirrors.mirror.Mirror", index_store: ContentReader) -> List[Finding]:
    """Whether the policy of the mirror lets installs read its index."""
    trusted = trust.trusted_index(mirror)
    if trusted is None:
        return []
    try:
        trusted.check(read_document_manifest(index_store))
    except TrustError as e:
        return [finding_of(Kind.SIGNATURE, "", e, "sign it with `spack oci sign`")]
    except ContentError:  # there is none, which is told already
        pass
    return []


def document(policy: Policy, found: Verification) -> Dict[str, Any]:
    """For ``--json``."""
    return {**found.to_dict(), "policy": policy.describe()}


def print_verification(policy: Policy, found: Verification) -> None:
    if found.level > Level.INDEX and (policy.active or any(p.signed_by for p in found.packages)):
        rows = [(p.tag.removesuffix(".spack"), "; ".join(p.signed_by) or "not signed") for p in found.packages]
        for line in table(rows):
            print(line)
    print_findings(found)
    what = f"policy {policy.describe()} ({policy.origin})" if policy.active else "no policy"
    wrong = len(found.findings)
    verdict = f"{wrong} {'thing is' if wrong == 1 else 'things are'} wrong" if wrong else "nothing is wrong"
    count = counted(found.total, "package")
    if found.level == Level.INDEX:
        count = f"the index of {count}"
    elif len(found.packages) < found.total:
        count = f"{len(found.packages)} of {count}"
    tty.info(f"Verified {count} of {found.url} (level {found.level.name.lower()}, {what}): {verdict}")


def print_findings(found: Verification) -> None:
    by_kind: Dict[str, List[str]] = {}
    for finding in found.findings:
        about = f"{finding.tag}: " if finding.tag and finding.tag not in finding.message else ""
        by_kind.setdefault(finding.kind.value, []).append(f"{about}{finding}")
    for kind, lines in by_kind.items():
        more = [f"and {len(lines) - _SHOWN} more; --json names all"] if len(lines) > _SHOWN else []
        tty.error(f"{kind} ({len(lines)})", *lines[:_SHOWN], *more)
