# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""``spack oci verify``: what a mirror has, and who has signed it."""

from typing import Any, Dict, List, Optional, Sequence

import spack.llnl.util.tty as tty
import spack.mirrors.mirror

from ...operations.trust.verify import Finding, verify_packages
from ...trust.keys import read_public_key
from ...trust.policy import Policy
from ...util.text import counted, table
from .. import mirrors, settings, trust
from .sign import tags_of


def policy_for(mirror: "spack.mirrors.mirror.Mirror", key: Optional[str]) -> Policy:
    """What packages are held to: a signature by the public key in a file, else the policy of the mirror."""
    if key is None:
        return trust.policy_of(mirror)
    return Policy(
        "require", (read_public_key(trust.read_key_file(key), key, key),), repositories=("*",), origin="--key"
    )


def verify(
    mirror: "spack.mirrors.mirror.Mirror", constraints: Sequence[str], policy: Policy, blobs: bool
) -> List[Finding]:
    store = mirrors.open_store(mirror, mirrors.FETCH)
    # without a policy, and so perhaps without cryptography, signatures are only listed
    known = list(trust.trust().keys.values()) if settings.read().trust.get("keys") else []
    tags = tags_of(mirror, constraints)
    return verify_packages(store, tags, policy, known, blobs=blobs, jobs=settings.read().transfer_jobs)


def document(mirror: "spack.mirrors.mirror.Mirror", policy: Policy, findings: Sequence[Finding]) -> Dict[str, Any]:
    """For ``--json``."""
    return {
        "mirror": mirror.fetch_url,
        "policy": policy.describe(),
        "packages": [finding.to_dict() for finding in findings],
        "failed": sum(bool(finding.problems) for finding in findings),
    }


def print_findings(mirror: "spack.mirrors.mirror.Mirror", policy: Policy, findings: Sequence[Finding]) -> None:
    for line in table([(f.tag.removesuffix(".spack"), "; ".join(f.signed_by) or "not signed") for f in findings]):
        print(line)
    for finding in findings:
        for problem in finding.problems:
            tty.error(f"{finding.tag}: {problem}")
    failed = sum(bool(finding.problems) for finding in findings)
    what = f"policy {policy.describe()} ({policy.origin})" if policy.active else "no policy"
    verdict = f"{counted(failed, 'package')} {'fails' if failed == 1 else 'fail'}" if failed else "nothing is wrong"
    tty.info(f"{counted(len(findings), 'package')} of {mirror.fetch_url}, {what}: {verdict}")
