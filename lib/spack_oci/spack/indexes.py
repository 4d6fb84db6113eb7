# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Indexes of OCI mirrors, written by our commands and by `spack buildcache update-index`."""

import contextlib
import difflib
from typing import Any, Callable, Dict, Optional, Sequence

import spack.llnl.util.tty as tty
import spack.mirrors.mirror

from ..errors import IndexUpdateError, NotFound
from ..index.read import index_missing
from ..index.update.loop import IndexUpdate, UpdateSettings, merge_pushed, update_index
from ..maintenance.update_index import print_update
from ..operations.push.index_entries import packages_of_push
from ..operations.push.outcome import PushResult
from ..operations.trust.write import Written
from ..reference import is_oci_url
from ..trust.signers import Signer
from ..util.text import counted
from .configuration import mirrors, settings
from .output import reporter
from .specs.node_reader import check_nodes


def update(
    mirror: "spack.mirrors.mirror.Mirror",
    *,
    full: bool = False,
    compare_digests: bool = True,
    create: bool = False,
) -> IndexUpdate:
    """Make the index say what the mirror has. Without ``create``, a mirror that has nothing is an error."""
    try:
        store = mirrors.open_store(mirror, mirrors.PUSH, create=create)
        return update_index(store, update_settings(mirror), full=full, compare_digests=compare_digests, create=create)
    except NotFound as e:
        raise NotFound(e.message, remedy=f"{_did_you_mean(mirror)}--create makes an empty index there") from e


def update_settings(mirror: "spack.mirrors.mirror.Mirror") -> UpdateSettings:
    """With the index signed by whom oci:signing names, if it names somebody."""
    from .configuration import trust

    return _update_settings(mirror, (), trust.signer())


def _update_settings(
    mirror: "spack.mirrors.mirror.Mirror", written: Sequence[Written], signer: Optional[Signer], renew: bool = False
) -> UpdateSettings:
    from .configuration import trust

    shown = reporter()
    return UpdateSettings(
        jobs=settings.read().transfer_jobs,
        warn=shown.warn,
        reporter=shown,
        check_nodes=check_nodes,
        index_store=mirrors.open_index_store(mirror, mirrors.PUSH),
        signatures=trust.index_signing(mirror, written, signer, renew),
    )


def _did_you_mean(mirror: "spack.mirrors.mirror.Mirror") -> str:
    """A configured mirror with a similar name or URL."""
    candidates: Dict[str, str] = {}
    for other in mirrors.configured(mirrors.PUSH):
        if other.push_url != mirror.push_url:
            candidates[other.push_url] = candidates[other.name] = f"{other.name} ({other.push_url})"
    for word in (mirror.push_url, mirror.name):
        found = difflib.get_close_matches(word, candidates, 1, 0.8)
        if found:
            return f"did you mean {candidates[found[0]]}? "
    return ""


def without_index(mirror: "spack.mirrors.mirror.Mirror", word: str) -> NotFound:
    """What to tell of a mirror that has no index. ``word``: what a user would write for it."""
    return index_missing(
        lambda: mirrors.open_store(mirror, mirrors.FETCH),
        mirror.fetch_url,
        remedy=f"make one with `spack oci update-index {word}`",
        hint=lambda: _did_you_mean(mirror),
    )


def update_after_push(
    mirror: "spack.mirrors.mirror.Mirror", result: PushResult, signer: Optional[Signer] = None
) -> IndexUpdate:
    """Make the index name what was pushed, whoever else is writing it. ``signer``: of packages and index."""
    store = mirrors.open_store(mirror, mirrors.PUSH)
    written = [outcome.signature for outcome in result.pushed if outcome.signature is not None]
    try:
        return merge_pushed(store, packages_of_push(result), _update_settings(mirror, written, signer))
    except IndexUpdateError as e:
        pushed = f"{counted(len(result.pushed), 'package')} pushed, but not in the index: "
        raise IndexUpdateError(pushed + e.message, remedy=e.remedy) from e


def update_after_signing(
    mirror: "spack.mirrors.mirror.Mirror", written: Sequence[Written], signer: Signer
) -> IndexUpdate:
    """Have the index hold signatures that were just made, and sign it, whoever wrote it last: it is compared with the
    packages, a HEAD request each."""
    store = mirrors.open_store(mirror, mirrors.PUSH)
    return update_index(store, _update_settings(mirror, written, signer, renew=True))


def oci_update_index(original: Callable, image_ref: Any, tmpdir: str, pool: Any) -> None:
    """Hook of ``_oci_update_index``: `spack buildcache update-index`."""
    mirror = getattr(image_ref, "mirror", None)
    if mirror is None:  # made by somebody else than image_from_mirror
        original(image_ref, tmpdir, pool)
        return
    print_update(tty, mirror.push_url, update(mirror, create=True))


def buildcache_update_index(
    original: Callable, mirror: "spack.mirrors.mirror.Mirror", update_keys: bool = False, **timer: Any
) -> None:
    """Hook of what `spack buildcache update-index` and `spack ci rebuild-index` run.

    With ``-v``, as the jobs of `spack ci generate` have it since 1.2, Spack prints how long each step took, and cannot
    do so when there was none, as in OCI mirrors.
    """
    if not is_oci_url(mirror.push_url):
        original(mirror, update_keys, **timer)
        return
    with timer["timer"].measure("index") if timer else contextlib.nullcontext():
        print_update(tty, mirror.push_url, update(mirror, create=True))
    if update_keys:
        tty.info(
            "OCI mirrors hold no GPG keys, so there is no index of keys to update; which keys are trusted is said in "
            "oci:trust"
        )
