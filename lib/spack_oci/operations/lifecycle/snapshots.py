# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Making, listing and removing snapshots: see :mod:`spack_oci.index.snapshots`."""

import re
import shlex
from dataclasses import dataclass
from typing import AbstractSet, Any, Dict, FrozenSet, List, Optional, Tuple

from ...content import ContentStore
from ...descriptor import parse_json
from ...errors import ConfigurationError, ContentError, DigestMismatch, InvalidContent, NotFound, ResponseError
from ...index.publish import PACKAGES, SignStatement, publish_document, read_document_manifest, read_signatures
from ...index.publish import signature_table as table_of
from ...index.signature_table import SignatureTable
from ...index.snapshots import SNAPSHOT_PREFIX, subset_of
from ...index.update.read_tags import read_digests
from ...reference import check_tag
from ...util.schemas import validate
from ...util.text import elided
from .contents import LINK_RUN, Contents, closure, is_external
from .untag import untag

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}\Z")
_COUNT = re.compile(r"[0-9]{1,9}\Z")
#: requests at a time
_JOBS = 8


@dataclass(frozen=True)
class MadeSnapshot:
    """``url``: of the mirror that has just this; ``missing``: DAG hashes of what it would need besides; ``replaced``:
    how many packages another one had that was there under this name; None: none was."""

    name: str
    url: str
    packages: int
    digest: str
    missing: FrozenSet[str] = frozenset()
    replaced: Optional[int] = None

    def to_dict(self) -> Dict[str, Any]:
        """For ``--json``."""
        return {
            "name": self.name,
            "url": self.url,
            "packages": self.packages,
            "digest": self.digest,
            "missing": sorted(self.missing),
            "replaced": self.replaced,
        }


def check_snapshot_name(name: str) -> str:
    """Raises ConfigurationError."""
    if not _NAME.match(name):
        raise ConfigurationError(
            f"{name!r} cannot be the name of a snapshot",
            remedy="use up to 100 letters, digits, dots, hyphens and underscores, not a dot or a hyphen first",
        )
    return name


def make_snapshot(
    store: ContentStore,
    contents: Contents,
    name: str,
    roots: Optional[AbstractSet[str]] = None,
    *,
    types: AbstractSet[str] = LINK_RUN,
    allow_missing: bool = False,
    sign: Optional[SignStatement] = None,
    index_store: Optional[ContentStore] = None,
) -> MadeSnapshot:
    """One of that name is replaced. ``roots``: DAG hashes, which are taken with their closure of these types; None: all
    that the cache has now. ``index_store``: where the index of the cache is, if not with the packages.

    Raises ConfigurationError for a name that is none, and where there is no index; NotFound where the cache lacks what
    the roots need, unless that is allowed.
    """
    check_snapshot_name(name)
    index = contents.need_index()
    tag_of = {dag_hash: tag for tag, dag_hash in index.tags.items()}
    needed = set(tag_of) if roots is None else closure(index, roots, types)
    missing = frozenset(h for h in needed - tag_of.keys() if not is_external(index, h))
    if missing and not allow_missing:
        raise NotFound(
            f"{contents.url} lacks {len(missing)} packages of the snapshot {name}: "
            f"{elided([f'/{h[:7]}' for h in sorted(missing)])}",
            remedy="push them first, or leave them out with --allow-missing",
        )
    tags = [tag_of[h] for h in needed & tag_of.keys()]
    if not tags:
        raise ConfigurationError(f"the snapshot {name} would have no package", remedy="name specs that are there")
    signatures = {h: s for h, s in _signatures(index_store or store).items() if h in needed}
    before = _find(store, name)
    descriptor = publish_document(store, SNAPSHOT_PREFIX + name, subset_of(index, tags), signatures, sign)
    replaced = before.packages if before is not None and before.digest != descriptor.digest else None
    return MadeSnapshot(name, f"{contents.url}:{name}", len(tags), descriptor.digest, missing, replaced)


def _signatures(store: ContentStore) -> SignatureTable:
    """Those that the index of the cache has; the packages' own are where they are in any case."""
    try:
        return table_of(read_signatures(store, read_document_manifest(store)))
    except (NotFound, InvalidContent, DigestMismatch):
        return {}


def list_snapshots(store: ContentStore) -> Tuple[List[MadeSnapshot], Dict[str, ContentError]]:
    """Those that are, and what is wrong with others, by name. One request each, and the pages of tags."""
    found: List[MadeSnapshot] = []
    failed: Dict[str, ContentError] = {}
    for tag in sorted(store.tags()):
        if tag.startswith(SNAPSHOT_PREFIX):
            name = tag[len(SNAPSHOT_PREFIX) :]
            try:
                found.append(_describe(store, name))
            except NotFound:  # removed meanwhile
                continue
            except (InvalidContent, DigestMismatch) as e:
                e.remedy = broken_remedy(store.url, name)
                failed[name] = e
    return found, failed


def broken_remedy(url: str, name: str) -> str:
    return f"who wrote it mends it; `spack oci snapshot --remove {url} {name}` takes it away"


def _find(store: ContentStore, name: str) -> Optional[MadeSnapshot]:
    """None also for one that cannot be read."""
    try:
        return _describe(store, name)
    except (NotFound, InvalidContent, DigestMismatch):
        return None


def _describe(store: ContentStore, name: str) -> MadeSnapshot:
    tag = SNAPSHOT_PREFIX + name
    descriptor, data = store.get_manifest(tag)
    label = f"{tag} of {store.url}"
    annotations = validate(parse_json(data, label), "manifest", label).get("annotations") or {}
    count = annotations.get(PACKAGES) or ""
    if not _COUNT.match(count):
        raise InvalidContent(f"{label} is no snapshot")
    return MadeSnapshot(name, f"{store.url}:{name}", int(count), descriptor.digest)


def remove_snapshot(store: ContentStore, name: str) -> None:
    """Its packages stay, until a prune finds that nothing else needs them. Raises NotFound if there is none.

    A registry that deletes no single tags deletes the manifest, unless another snapshot has it, too. Also of one that
    cannot be read, and whatever it is called, as nobody could prune before it is gone; what is behind such a tag may be
    a package, and stays.
    """
    tag = check_tag(SNAPSHOT_PREFIX + name)
    try:
        digest = store.resolve(tag).digest
    except NotFound:
        raise NotFound(
            f"{store.url} has no snapshot {name}", remedy=f"`spack oci snapshots {shlex.quote(store.url)}` lists them"
        ) from None
    if _is_snapshot(store, name) and not _is_shared(store, tag, digest):
        store.delete_manifest(digest)
        return
    try:
        store.delete_manifest(tag)
    except ResponseError:
        if untag(store, tag, digest) is not None:
            raise


def _is_snapshot(store: ContentStore, name: str) -> bool:
    try:
        _describe(store, name)
    except ContentError:
        return False
    return True


def _is_shared(store: ContentStore, tag: str, digest: str) -> bool:
    """Whether another snapshot has the manifest, or that cannot be told."""
    others = {other for other in store.tags() if other.startswith(SNAPSHOT_PREFIX)} - {tag}
    for _, outcome in read_digests(store, sorted(others), _JOBS):
        if outcome == digest or not isinstance(outcome, (str, NotFound)):
            return True
    return False
