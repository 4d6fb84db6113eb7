# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack oci list`: what mirrors have, shown as `spack find` shows installed packages."""

import argparse
import difflib
import functools
import os
import sys
import tempfile
from typing import Any, Callable, Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Set, Tuple

import spack.binary_distribution
import spack.cmd
import spack.llnl.util.tty as tty
import spack.mirrors.mirror
import spack.spec
import spack.stage
from spack.enums import InstallRecordStatus

from ...content import ContentStore
from ...errors import NotFound, SpackOciError
from ...index.in_place import Wanted
from ...index.index_cache import CachedIndex, IndexCache, load_indexes
from ...operations import catalog
from ...operations.catalog import CatalogRecord
from ...operations.images.described import image_tags
from ...reference import image_name
from ...util.documents import print_json, print_json_list
from ...util.sizes import format_size
from ...util.text import counted, elided, table
from .. import compat
from ..configuration import mirror_arguments, mirrors
from ..fetching import fetching_index_cache

Loaded = List[Tuple["spack.mirrors.mirror.Mirror", CachedIndex]]


class Found(NamedTuple):
    """A package of one mirror."""

    spec: "spack.spec.Spec"
    url: str
    records: Mapping[str, CatalogRecord]

    @property
    def record(self) -> CatalogRecord:
        return self.records[self.spec.dag_hash()]


def list_packages(mirror_name: Optional[str], constraints: Sequence[str], args: argparse.Namespace) -> int:
    """Exit code 1 when nothing matches that was asked for."""
    chosen = chosen_mirrors(mirror_name)
    wanted = [spack.spec.Spec(c) for c in constraints]
    loaded = indexes(chosen, wanted)
    found = [p for mirror, index in loaded for p in matching(mirror, index, wanted, args.allarch)]
    unique = {p.spec.dag_hash(): p for p in found}
    if args.json:
        print_json_list({"mirrors": [m.fetch_url for m in chosen]}, "packages", map(_document, found))
    else:
        if sys.stdout.isatty():
            tty.msg(f"{counted(len(unique), 'cached package')} in {', '.join(m.fetch_url for m in chosen)}")
        _print(list(unique.values()), args)
    if not unique and (constraints or not args.json):
        tty.warn(_nothing_found(loaded, wanted, constraints, args.allarch))
    return 1 if constraints and not unique else 0


def _print(packages: Sequence[Found], args: argparse.Namespace) -> None:
    if args.sizes:
        _print_sizes(packages, args)
    elif args.tags:
        for package in sorted(packages, key=lambda p: p.spec):
            print(image_name(package.url, package.record.tag))
    else:
        spack.cmd.display_specs([p.spec for p in packages], args, all_headers=True)


def _nothing_found(
    loaded: "Loaded", wanted: Sequence["spack.spec.Spec"], constraints: Sequence[str], all_architectures: bool
) -> str:
    label = f"No package matches {' '.join(constraints)}" if constraints else "There is no package"
    if not all_architectures:
        elsewhere = sum(len(matching(mirror, index, wanted, True)) for mirror, index in loaded)
        if elsewhere:
            return f"{label} for this platform and operating system; --allarch shows {elsewhere} for others"
    there = f"{label} in {', '.join(mirror.fetch_url for mirror, _ in loaded)}"
    similar = _similar(loaded, wanted)
    return f"{there}: it has {elided(similar)}" if similar else there


def _similar(loaded: "Loaded", wanted: Sequence["spack.spec.Spec"]) -> List[str]:
    """What there is of the packages that constraints name, else of those whose names are nearly theirs."""
    # what was loaded is of the names in the constraints
    everything = indexes([mirror for mirror, _ in loaded])
    every = [p.spec for mirror, index in everything for p in matching(mirror, index, (), True)]
    names = {spec.name for spec in every}
    meant: Set[str] = set()
    for constraint in wanted:
        near = difflib.get_close_matches(constraint.name or "", names, 3, 0.8)
        meant.update([constraint.name] if constraint.name in names else near)
    return sorted({f"{spec.name}@{spec.version}" for spec in every if spec.name in meant})


def nothing_matches(
    mirror: "spack.mirrors.mirror.Mirror",
    index: CachedIndex,
    word: str,
    wanted: "spack.spec.Spec",
    tags: Sequence[str] = (),
) -> NotFound:
    """What to tell of a ``word`` that is no package of a mirror, nor one of its ``tags`` where those are meant too."""
    url = mirror.fetch_url
    similar = _similar([(mirror, index)], [wanted]) or difflib.get_close_matches(word, tags, 3, 0.7)
    remedy = f"see `spack oci list --allarch {word_for(mirror)}`" + (", or name a tag" if tags else "")
    if similar:
        return NotFound(f"{url} has nothing that matches {word}: it has {elided(similar)}", remedy=remedy)
    return NotFound(f"{url} has nothing that matches {word}", remedy=remedy)


def list_images(mirror_name: Optional[str], as_json: bool) -> int:
    """The tags that are no packages: what `spack oci push --tag` has made, and what others have put there."""
    found = []
    for mirror in chosen_mirrors(mirror_name):
        store = mirrors.open_store(mirror, mirrors.FETCH)
        found += [(mirror.fetch_url, tag) for tag in sorted(image_tags(store))]
    if as_json:
        documents = [{"mirror": url, "tag": tag, "image": image_name(url, tag)} for url, tag in found]
        print_json({"images": documents})
    else:
        for url, tag in found:
            print(image_name(url, tag))
    return 0


def chosen_mirrors(name: Optional[str]) -> List["spack.mirrors.mirror.Mirror"]:
    """The named mirror; else every configured OCI mirror; else the embedded default."""
    if name is None and mirrors.configured(mirrors.FETCH):
        return mirrors.configured(mirrors.FETCH)
    mirror, note = mirror_arguments.find(name, mirrors.FETCH)
    if note and sys.stdout.isatty():
        tty.info(note)
    return [mirror]


def indexes(
    chosen: Sequence["spack.mirrors.mirror.Mirror"],
    wanted: Sequence["spack.spec.Spec"] = (),
    cache: Optional[IndexCache] = None,
) -> Loaded:
    """The indexes of mirrors, fetched at once if they changed. One that cannot be had is named, the others are used;
    when none is left, its error is raised. ``wanted``: only packages that may match one of these are needed.
    ``cache``: how they are fetched; default: under the policies of the mirrors.
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
    for url, outcome in load_indexes(
        cache or fetching_index_cache(chosen),
        openers,
        ttl=0,
        wanted=Wanted.by([(spec.name, spec.abstract_hash) for spec in wanted]),
    ).items():
        if isinstance(outcome, NotFound):
            from ..indexes import without_index

            failures[url] = without_index(by_url[url], word_for(by_url[url]))
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


def word_for(mirror: "spack.mirrors.mirror.Mirror") -> str:
    """What a user would write for this mirror."""
    return mirror.fetch_url if mirror.name == "<unnamed>" else mirror.name


def matching(
    mirror: "spack.mirrors.mirror.Mirror",
    cached: CachedIndex,
    wanted: Sequence["spack.spec.Spec"],
    all_architectures: bool,
) -> List[Found]:
    """The packages that match. Spack's own code reads, but only the part of the index that may match."""
    here = spack.spec.ArchSpec.default_arch()

    def may_match(node: Mapping[str, Any]) -> bool:
        arch = node["arch"]
        if not all_architectures and (arch["platform"], arch["platform_os"]) != (here.platform, str(here.os)):
            return False  # the target may be any: a cache often has generic ones
        return not wanted or may_satisfy(node, wanted)

    specs = read_database(catalog.subset(cached.index, may_match))
    specs = [s for s in specs if not wanted or any(s.intersects(w) for w in wanted)]
    hashes = {s.dag_hash() for s in specs}
    records = catalog.records(cached.index, lambda node: node["hash"] in hashes)
    return [Found(s, mirror.fetch_url, records) for s in specs if s.dag_hash() in records]


def may_satisfy(node: Mapping[str, Any], wanted: Sequence["spack.spec.Spec"]) -> bool:
    """Whether the package of a node, which knows its hash, may be one of those that are wanted."""
    return any(
        (not spec.name or node["name"] == spec.name) and node["hash"].startswith(spec.abstract_hash or "")
        for spec in wanted
    )


def read_database(pieces: Iterable[bytes]) -> List["spack.spec.Spec"]:
    """The packages in a database, read by Spack's own code."""
    with tempfile.TemporaryDirectory(dir=spack.stage.get_stage_root()) as directory:
        database = spack.binary_distribution.BuildCacheDatabase(directory)
        path = os.path.join(directory, "oci-index.json")
        with open(path, "wb") as f:
            f.writelines(pieces)
        compat.read_database(database, path)
        return [
            s
            for s in database.query_local(installed=InstallRecordStatus.ANY)
            if database._data[s.dag_hash()].in_buildcache
        ]


def _document(package: Found) -> Dict[str, Any]:
    return {
        **package.record.to_dict(),
        "spec": package.spec.format(),
        "mirror": package.url,
        "image": image_name(package.url, package.record.tag),
    }


def _print_sizes(packages: Sequence[Found], args: argparse.Namespace) -> None:
    packages = sorted(packages, key=lambda p: p.spec)
    length = None if args.very_long else 7
    rows = [(catalog.known_size(p.record.size), p.record.hash[:length], _name(p.record, args)) for p in packages]
    for line in table(rows):
        print(line)
    known = [p.record.size for p in packages if p.record.size is not None]
    if known:
        print(f"{format_size(sum(known))} in {counted(len(known), 'package')}")


def _name(record: CatalogRecord, args: argparse.Namespace) -> str:
    namespace = f"{record.namespace}." if args.namespaces and record.namespace else ""
    return f"{namespace}{record.name}@{record.version}"


def tags_of(mirror: "spack.mirrors.mirror.Mirror", constraints: Sequence[str]) -> List[str]:
    """The tags of all packages that one of the constraints matches. Raises NotFound for one that none matches.

    Whatever the policy of the mirror says: it is for who signs and verifies, and what a policy hides is their business.
    """
    wanted = {constraint: spack.spec.Spec(constraint) for constraint in constraints}
    found: Dict[str, None] = {}
    # not the directory of the other indexes: what is kept there has passed the policy
    with tempfile.TemporaryDirectory(dir=spack.stage.get_stage_root()) as directory:
        ((_, index),) = indexes([mirror], list(wanted.values()), IndexCache(directory))
        for constraint, spec in wanted.items():
            packages = matching(mirror, index, [spec], all_architectures=True)
            if not packages:
                raise nothing_matches(mirror, index, constraint, spec)
            found.update(dict.fromkeys(package.record.tag for package in packages))
    return list(found)
