# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""``sign``: sign what a cache has already, on the machine that has the key."""

import argparse
import sys
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

from ..errors import NotFound, StorageError
from ..operations.trust.sign import SignOutcome, sign_packages
from ..trust.keys import PublicKey
from ..trust.payload import repository_of
from ..trust.signers import Signer
from ..util.concurrency.threads import DaemonPool
from ..util.documents import messages_apart, print_json
from ..util.text import counted
from .cache import Cache


def run(
    find: Callable[[], Tuple[Cache, Sequence[str]]],
    required_signer: Callable[[Optional[str]], Signer],
    args: argparse.Namespace,
) -> int:
    """``find``: gives the cache, and the tags of the packages; ``required_signer``: of the key in a file, else that of
    the configuration; raises ConfigurationError where there is none."""
    with messages_apart(args.json or args.digests == "-"):
        cache, tags = find()
    if args.digests:
        write_digests(args.digests, references(cache, tags))
        return 0
    signer = required_signer(args.key)
    with messages_apart(args.json):
        outcomes = sign(cache, tags, signer)
    if args.json:
        print_json(outcome_document(cache, outcomes))
    else:
        print_outcomes(cache, outcomes, signer.public)
    return 1 if any(o.error for o in outcomes) else 0


def sign(cache: Cache, tags: Sequence[str], signer: Signer) -> List[SignOutcome]:
    """Sign packages, and then the index, which holds their signatures too."""
    outcomes = sign_packages(cache.open(), tags, signer, cache.jobs, index_follows=True)
    written = [outcome.written for outcome in outcomes if outcome.written is not None]
    if written:
        cache.update_after_signing(written, signer)
    return outcomes


def print_outcomes(cache: Cache, outcomes: Sequence[SignOutcome], key: PublicKey) -> None:
    for outcome in outcomes:
        if outcome.error is not None:
            cache.out.error(f"{outcome.tag}: {outcome.error}")
    new = sum(o.written is not None and o.written.is_new for o in outcomes)
    before = sum(o.written is not None and not o.written.is_new for o in outcomes)
    more = f", {before} were signed with it before" if before else ""
    more += "; the index is signed with it, too" if new or before else ""
    cache.out.info(f"Signed {counted(new, 'package')} of {cache.url} with {describe_key(key)}{more}")


def describe_key(key: PublicKey) -> str:
    return f"the key {key.name} ({key.short_id})"


def outcome_document(cache: Cache, outcomes: Sequence[SignOutcome]) -> Dict[str, Any]:
    """For ``--json``."""
    return {"mirror": cache.url, "packages": [o.to_dict() for o in outcomes]}


def references(cache: Cache, tags: Sequence[str]) -> List[str]:
    """``HOST/NAME@DIGEST`` of the packages behind tags, as ``cosign sign`` takes them."""
    store = cache.open()

    def one(tag: str) -> str:
        try:
            return f"{repository_of(store.url)}@{store.resolve(tag).digest}"
        except NotFound as e:
            raise NotFound(f"{tag} went while its digest was asked for: {e.message}") from e

    with DaemonPool(cache.jobs, "digest") as pool:
        return list(dict.fromkeys(pool.map(one, tags)))


def write_digests(path: str, lines: Sequence[str]) -> None:
    """One line each, to a file or (``-``) to standard output."""
    text = "".join(f"{line}\n" for line in lines)
    if path == "-":
        sys.stdout.write(text)
        return
    try:
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
    except OSError as e:
        raise StorageError.from_os_error(f"writing {path}", e) from e
