# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""``verify``: what a cache has, who has signed it, what is wrong."""

import argparse
from dataclasses import replace
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

from ..content import ContentReader
from ..errors import ContentError, TrustError
from ..index.publish import read_document_manifest
from ..operations.check.findings import Finding, Kind, Level, Verification, finding_of
from ..operations.check.package_level import Rules
from ..operations.check.verify import verify_cache
from ..operations.lifecycle.contents import read_contents
from ..trust.keys import read_public_key
from ..trust.policy import Policy
from ..util.documents import messages_apart, print_json
from ..util.text import counted, table
from .cache import Cache, Output

#: lines of findings that are printed for one kind
_SHOWN = 20


def run(find: Callable[[], Tuple[Cache, Optional[Sequence[str]]]], args: argparse.Namespace) -> int:
    """``find``: gives the cache, and the tags of the packages to look at; None: of all."""
    with messages_apart(args.json):
        cache, tags = find()
        policy = policy_for(cache, args.key)
        found = verify(cache, policy, Level[args.level.upper()], tags=tags, sample=args.sample)
        found = replace(found, url=cache.url)
    if args.json:
        print_json(document(policy, found))
    else:
        print_verification(cache.out, policy, found)
    return 1 if found.findings else 0


def policy_for(cache: Cache, key: Optional[str]) -> Policy:
    """What packages are held to: a signature by the public key in a file, else the policy of the cache."""
    if key is None:
        return cache.policy()
    return Policy(
        "require", (read_public_key(cache.read_key_file(key), key, key),), repositories=("*",), origin="--key"
    )


def verify(
    cache: Cache,
    policy: Policy,
    level: Level,
    *,
    tags: Optional[Sequence[str]] = None,
    sample: int = 0,
) -> Verification:
    """``tags``: of the packages to look at; None: all."""
    store, index_store = cache.open(), cache.open_index()
    found = verify_cache(
        store,
        read_contents(store, index_store, cache.blobs(), is_check=True),
        level,
        Rules(policy, list(cache.known_keys())),
        tags=tags,
        sample=sample,
        jobs=cache.jobs,
        reporter=cache.reporter(),
    )
    if tags is None:
        found.findings[:0] = _of_index_signature(cache, index_store)
    return found


def tags_matching(cache: Cache, specs: Sequence[str]) -> List[str]:
    """Tags of the packages that specs mean, by the index."""
    index = read_contents(cache.open(), cache.open_index()).need_index()
    hashes = cache.matching(index, specs)
    return sorted(tag for tag, dag_hash in index.tags.items() if dag_hash in hashes)


def _of_index_signature(cache: Cache, index_store: ContentReader) -> List[Finding]:
    """Whether the policy of the cache lets installs read its index."""
    trusted = cache.trusted_index()
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


def print_verification(out: Output, policy: Policy, found: Verification) -> None:
    if found.level > Level.INDEX and (policy.active or any(p.signed_by for p in found.packages)):
        rows = [(p.tag.removesuffix(".spack"), "; ".join(p.signed_by) or "not signed") for p in found.packages]
        for line in table(rows):
            print(line)
    print_findings(out, found)
    label = f"policy {policy.describe()} ({policy.origin})" if policy.active else "no policy"
    wrong = len(found.findings)
    verdict = f"{wrong} {'thing is' if wrong == 1 else 'things are'} wrong" if wrong else "nothing is wrong"
    count = counted(found.total, "package")
    if found.level == Level.INDEX:
        count = f"the index of {count}"
    elif len(found.packages) < found.total:
        count = f"{len(found.packages)} of {count}"
    out.info(f"Verified {count} of {found.url} (level {found.level.name.lower()}, {label}): {verdict}")


def print_findings(out: Output, found: Verification) -> None:
    by_kind: Dict[str, List[str]] = {}
    for finding in found.findings:
        about = f"{finding.tag}: " if finding.tag and finding.tag not in finding.message else ""
        by_kind.setdefault(finding.kind.value, []).append(f"{about}{finding}")
    for kind, lines in by_kind.items():
        more = [f"and {len(lines) - _SHOWN} more; --json names all"] if len(lines) > _SHOWN else []
        out.error(f"{kind} ({len(lines)})", *lines[:_SHOWN], *more)
