# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack oci list` and `spack oci show`: what mirrors have, shown as `spack find` shows installed packages."""

import argparse
import functools
import json
import os
import sys
import tempfile
from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

import spack.binary_distribution
import spack.cmd
import spack.llnl.util.tty as tty
import spack.mirrors.mirror
import spack.spec
import spack.stage
from spack.enums import InstallRecordStatus

from ...content import ContentStore
from ...errors import ConfigurationError, NotFound, SpackOciError
from ...index.index_cache import CachedIndex, load_indexes
from ...operations import catalog
from ...operations.catalog import CatalogRecord
from ...util.sizes import format_size
from ...util.text import counted, table
from .. import compat, mirror_arguments, mirrors
from ..fetching import index_cache

#: packages named when a spec of `spack oci show` matches several
_SHOWN = 10


@dataclass(frozen=True)
class _Found:
    """A package of one mirror."""

    spec: "spack.spec.Spec"
    record: CatalogRecord
    url: str


def list_packages(mirror_name: Optional[str], constraints: Sequence[str], args: argparse.Namespace) -> int:
    chosen = _mirrors(mirror_name)
    wanted = [spack.spec.Spec(c) for c in constraints]
    found = [p for mirror, index in _indexes(chosen) for p in _matching(mirror, index, wanted, args.allarch)]
    if args.json:
        json.dump([_document(p) for p in found], sys.stdout, indent=2)
        print()
        return 0
    unique = {p.spec.dag_hash(): p for p in found}
    if sys.stdout.isatty():
        tty.msg(f"{counted(len(unique), 'cached package')} in {', '.join(m.fetch_url for m in chosen)}")
    if not unique and not args.allarch:
        tty.msg("No package matches for this platform and operating system; --allarch searches all.")
    if args.sizes:
        _print_sizes(list(unique.values()))
    else:
        spack.cmd.display_specs([p.spec for p in unique.values()], args, all_headers=True)
    return 0


def show_package(mirror_name: Optional[str], constraint: str, as_json: bool) -> int:
    """``constraint``: a spec that one package of the mirror matches, or a tag."""
    mirror, note = mirror_arguments.find(mirror_name, mirrors.FETCH)
    if note and sys.stdout.isatty():
        tty.info(note)
    tag = constraint if constraint.endswith(".spack") else _tag_of(mirror, constraint)
    found = catalog.describe(mirrors.open_store(mirror, mirrors.FETCH), tag)
    if as_json:
        json.dump(found.to_dict(), sys.stdout, indent=2)
        print()
    else:
        print("\n".join(catalog.lines_of(found)))
    return 0


def _mirrors(name: Optional[str]) -> List["spack.mirrors.mirror.Mirror"]:
    """The named mirror; else every configured OCI mirror; else the embedded default."""
    if name is None and mirrors.configured(mirrors.FETCH):
        return mirrors.configured(mirrors.FETCH)
    mirror, note = mirror_arguments.find(name, mirrors.FETCH)
    if note and sys.stdout.isatty():
        tty.info(note)
    return [mirror]


def _indexes(
    chosen: Sequence["spack.mirrors.mirror.Mirror"],
) -> List[Tuple["spack.mirrors.mirror.Mirror", CachedIndex]]:
    """The indexes of mirrors, fetched at once if they changed. One that cannot be had is named, the others are used;
    when none is left, its error is raised.
    """
    by_url = {m.fetch_url.rstrip("/"): m for m in chosen}
    # in the main thread: opening may ask Spack's configuration
    openers: Dict[str, Callable[[], ContentStore]] = {}
    failures: Dict[str, SpackOciError] = {}
    for url, mirror in by_url.items():
        try:
            store = mirrors.open_index_store(mirror, mirrors.FETCH)  # its NotFound says that there is no such layout
            openers[url] = functools.partial(_itself, store)
        except SpackOciError as e:
            failures[url] = e
    result = []
    for url, outcome in load_indexes(index_cache(), openers, ttl=0).items():
        if isinstance(outcome, NotFound):
            remedy = f"make one with `spack oci update-index {_word(by_url[url])}`"
            failures[url] = NotFound(f"{url} has no index", remedy=remedy)
        elif isinstance(outcome, SpackOciError):
            failures[url] = outcome
        else:
            if outcome.warning:
                tty.warn(f"{url}: {outcome.warning}")
            result.append((by_url[url], outcome))
    if failures and not result:
        raise next(iter(failures.values()))
    for url, error in failures.items():
        tty.warn(f"leaving {url} out: {error}")
    return result


def _itself(store: ContentStore) -> ContentStore:
    return store


def _word(mirror: "spack.mirrors.mirror.Mirror") -> str:
    """What a user would write for this mirror."""
    return mirror.fetch_url if mirror.name == "<unnamed>" else mirror.name


def _matching(
    mirror: "spack.mirrors.mirror.Mirror",
    cached: CachedIndex,
    wanted: Sequence["spack.spec.Spec"],
    all_architectures: bool,
) -> List[_Found]:
    """The packages that match. Spack's own code reads, but only the part of the index that may match."""
    names = {w.name for w in wanted}
    here = spack.spec.ArchSpec.default_arch()

    def may_match(node: Mapping[str, Any]) -> bool:
        arch = node["arch"]
        if not all_architectures and (arch["platform"], arch["platform_os"]) != (here.platform, str(here.os)):
            return False  # the target may be any: a cache often has generic ones
        return not names or "" in names or None in names or node["name"] in names

    specs = read_database(catalog.subset(cached.index.data, may_match))
    specs = [s for s in specs if not wanted or any(s.intersects(w) for w in wanted)]
    records = catalog.records(cached.index, {s.dag_hash() for s in specs})
    return [_Found(s, records[s.dag_hash()], mirror.fetch_url) for s in specs if s.dag_hash() in records]


def read_database(data: bytes) -> List["spack.spec.Spec"]:
    """The packages in an index, read by Spack's own database code."""
    with tempfile.TemporaryDirectory(dir=spack.stage.get_stage_root()) as directory:
        database = spack.binary_distribution.BuildCacheDatabase(directory)
        path = os.path.join(directory, "oci-index.json")
        with open(path, "wb") as f:
            f.write(data)
        compat.read_database(database, path)
        return [
            s
            for s in database.query_local(installed=InstallRecordStatus.ANY)
            if database._data[s.dag_hash()].in_buildcache
        ]


def _document(package: _Found) -> Dict[str, Any]:
    return {**package.record.to_dict(), "spec": package.spec.format(), "mirror": package.url}


def _print_sizes(packages: Sequence[_Found]) -> None:
    packages = sorted(packages, key=lambda p: p.spec)
    records = [p.record for p in packages]
    rows = [(catalog.known_size(r.size), r.hash[:7], f"{r.name}@{r.version}") for r in records]
    for line in table(rows):
        print(line)
    known = [p.record.size for p in packages if p.record.size is not None]
    if known:
        print(f"{format_size(sum(known))} in {counted(len(known), 'package')}")


def _tag_of(mirror: "spack.mirrors.mirror.Mirror", constraint: str) -> str:
    ((_, index),) = _indexes([mirror])
    found = _matching(mirror, index, [spack.spec.Spec(constraint)], all_architectures=True)
    if len(found) == 1:
        return found[0].record.tag
    if not found:
        raise NotFound(
            f"the index of {mirror.fetch_url} has no package that matches {constraint}",
            remedy=f"see `spack oci list --allarch {_word(mirror)}`, or name a tag",
        )
    shown = [p.spec.format("{name}{@version}{/hash:7}") for p in found[:_SHOWN]]
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    raise ConfigurationError(
        f"{counted(len(found), 'package')} of {mirror.fetch_url} match {constraint}: {', '.join(shown)}{more}",
        remedy="name one of them by its hash",
    )
