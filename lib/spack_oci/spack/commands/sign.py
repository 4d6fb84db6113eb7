# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""``spack oci sign``: sign what a cache has already, on the machine that has the key."""

import sys
from typing import Any, Dict, List, Sequence

import spack.llnl.util.tty as tty
import spack.mirrors.mirror

from ...content import RepositoryWriter
from ...errors import NotFound, StorageError
from ...operations.images.environment_image import PushedImage
from ...operations.trust.sign import SignOutcome, sign_image, sign_packages
from ...package.record import is_package_tag
from ...trust.keys import PublicKey
from ...trust.payload import repository_of
from ...trust.signers import Signer
from ...util.concurrency.threads import DaemonPool
from ...util.text import counted
from .. import indexes
from ..configuration import mirrors, settings
from . import list as catalog


def tags_of(mirror: "spack.mirrors.mirror.Mirror", constraints: Sequence[str]) -> List[str]:
    """The tags of the packages that the constraints mean; without any, of all packages that the mirror has."""
    if not constraints:
        store = mirrors.open_store(mirror, mirrors.PUSH)
        return [tag for tag in store.tags() if is_package_tag(tag)]
    return catalog.tags_of(mirror, constraints)


def sign(mirror: "spack.mirrors.mirror.Mirror", tags: Sequence[str], signer: Signer) -> List[SignOutcome]:
    """Sign packages, and then the index, which holds their signatures too."""
    store = mirrors.open_store(mirror, mirrors.PUSH)
    outcomes = sign_packages(store, tags, signer, settings.read().transfer_jobs, index_follows=True)
    written = [outcome.written for outcome in outcomes if outcome.written is not None]
    if written:
        indexes.update_after_signing(mirror, written, signer)
    return outcomes


def print_outcomes(mirror: "spack.mirrors.mirror.Mirror", outcomes: Sequence[SignOutcome], key: PublicKey) -> None:
    for outcome in outcomes:
        if outcome.error is not None:
            tty.error(f"{outcome.tag}: {outcome.error}")
    new = sum(o.written is not None and o.written.is_new for o in outcomes)
    before = sum(o.written is not None and not o.written.is_new for o in outcomes)
    more = f", {before} were signed with it before" if before else ""
    tty.info(f"Signed {counted(new, 'package')} of {mirror.push_url} with {describe_key(key)}{more}")


def describe_key(key: PublicKey) -> str:
    return f"the key {key.name} ({key.short_id})"


def outcome_document(mirror: "spack.mirrors.mirror.Mirror", outcomes: Sequence[SignOutcome]) -> Dict[str, Any]:
    """For ``--json``."""
    return {"mirror": mirror.push_url, "packages": [o.to_dict() for o in outcomes]}


def sign_images(store: RepositoryWriter, signer: Signer, made: Sequence[PushedImage]) -> None:
    for image in made:
        sign_image(store, signer, image.image, image.index)
    tty.info(f"Signed {counted(len(made), 'image')} with {describe_key(signer.public)}")


def references(mirror: "spack.mirrors.mirror.Mirror", tags: Sequence[str]) -> List[str]:
    """``HOST/NAME@DIGEST`` of the packages behind tags, as ``cosign sign`` takes them."""
    store = mirrors.open_store(mirror, mirrors.PUSH)

    def one(tag: str) -> str:
        try:
            return f"{repository_of(store.url)}@{store.resolve(tag).digest}"
        except NotFound as e:
            raise NotFound(f"{tag} went while its digest was asked for: {e.message}") from e

    with DaemonPool(settings.read().transfer_jobs, "digest") as pool:
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
