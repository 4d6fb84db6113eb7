# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack-oci list`, `show` and `search`: what a cache has, or a store."""

import argparse
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Sequence, Tuple

from ..commandline.common import print_json
from ..errors import ConfigurationError
from ..operations import catalog
from ..operations.catalog import CatalogRecord, record_of
from ..package.record import package_tag
from ..reference import image_name
from ..store.source import Source, label
from ..store.system import this_system
from ..util.sizes import format_size
from ..util.text import counted, elided, table
from . import settings
from .caches import looks_like_cache, open_cache, read_index, read_source, source_of
from .output import info

if TYPE_CHECKING:
    from ..specs.constraints import Constraint, Graph


def list_packages(args: argparse.Namespace) -> int:
    words = list(args.arguments)
    if words and looks_like_cache(words[0]):
        return _list_cache(words[0], words[1:], args)
    if args.store:
        return _list_store(words, args)
    raise ConfigurationError("neither a cache nor a store is named", remedy="write a URL, ./DIRECTORY or --store DIR")


def _list_cache(cache: str, words: Sequence[str], args: argparse.Namespace) -> int:
    index = read_index(cache)
    source = source_of(cache, index)
    nodes = _chosen(source, words, args.allarch)
    url = source.url
    status = 1 if words and not nodes else 0
    if args.json or args.sizes:
        found = catalog.records(index.index, {node["hash"] for node in nodes})
        if args.json:
            print_json({"mirrors": [url], "packages": [_document(found[n["hash"]], n, url) for n in nodes]})
            return status
        rows = [(r.name, r.version, r.hash[:7], format_size(r.size) if r.size else "?") for r in found.values()]
        print("\n".join(table(rows)))
    else:  # without what the index has of each package besides its node, which takes twice as long to read
        _print_records([record_of(node["hash"], node) for node in nodes], args)
    info(f"{counted(len(nodes), 'cached package')} in {url}")
    if not nodes and not args.allarch:
        info("No package matches for this platform and operating system; --allarch searches all.")
    return status


def _document(record: CatalogRecord, node: Mapping[str, Any], url: str) -> Dict[str, Any]:
    """As that of `spack oci list`."""
    from ..specs.format import format_node

    return {**record.to_dict(), "spec": format_node(node), "mirror": url, "image": image_name(url, record.tag)}


def _chosen(source: Source, words: Sequence[str], all_architectures: bool) -> List[Mapping[str, Any]]:
    """Nodes, in the order of the catalog: name, version, hash."""
    nodes = [source.graph[h] for h in source.available]
    if not all_architectures:
        # what Spack calls the same: platform and operating system; targets are left to the installation
        here = this_system()
        nodes = [n for n in nodes if (n["arch"]["platform"], n["arch"]["platform_os"]) == here]
    constraints = _constraints(words)
    chosen = [n for n in nodes if not constraints or any(c.matches(n, source.graph) for c in constraints)]
    return sorted(chosen, key=lambda n: (n["name"], n["version"], n["hash"]))


def _print_records(found: Sequence[CatalogRecord], args: argparse.Namespace) -> None:
    """As `spack find` has it: a heading for each architecture, then the packages."""
    by_arch: Dict[str, List[CatalogRecord]] = {}
    for record in found:
        by_arch.setdefault(record.arch, []).append(record)
    for arch in sorted(by_arch):
        print(f"-- {arch} " + "-" * max(0, 60 - len(arch)))
        for record in by_arch[arch]:
            head = f"{record.hash[:7]} " if args.long else ""
            print(f"{head}{record.name}@{record.version}{_variants(record.variants) if args.variants else ''}")


def _variants(variants: Mapping[str, Any]) -> str:
    switches = "".join(f"{'+' if v else '~'}{n}" for n, v in sorted(variants.items()) if isinstance(v, bool))
    values = [
        f" {n}={','.join(v) if isinstance(v, list) else v}"
        for n, v in sorted(variants.items())
        if not isinstance(v, bool)
    ]
    return switches + "".join(values)


def _list_store(words: Sequence[str], args: argparse.Namespace) -> int:
    from ..specs.versions import Version
    from ..store.store import Store, installed_nodes

    store = Store.open(settings.store_path(args.store))
    records = store.database.read()
    nodes = installed_nodes(records)
    constraints = _constraints(words)
    nodes = [n for n in nodes if not constraints or any(c.matches(n, records.nodes) for c in constraints)]
    nodes.sort(key=lambda n: (n["name"], Version.parse(n["version"]), n["hash"]))
    if args.json:
        packages = [_installed_document(n, records.by_hash[n["hash"]]) for n in nodes]
        print_json({"store": store.root, "packages": packages})
        return 0
    listed = [record_of(node["hash"], node) for node in nodes]
    explicit = sum(bool(records.by_hash[n["hash"]].get("explicit")) for n in nodes)
    _print_records(listed, args)
    info(f"{counted(len(nodes), 'installed package')} in {store.root}, {explicit} of them asked for")
    return 0


def _constraints(words: Sequence[str]) -> "List[Constraint]":
    if not words:
        return []
    from ..specs.constraints import parse_specs  # 7 ms, as what else is imported where it is used

    return parse_specs(" ".join(words))


def _installed_document(node: Mapping[str, Any], record: Mapping[str, Any]) -> Dict[str, Any]:
    from ..specs.format import format_node

    known = record_of(node["hash"], node)
    return {
        **{key: getattr(known, key) for key in ("name", "version", "hash", "arch", "namespace", "variants")},
        "spec": format_node(node),
        "prefix": record["path"],
        "explicit": bool(record.get("explicit")),
    }


def show(args: argparse.Namespace) -> int:
    """All that a cache has of one package or image."""
    from ..operations import show as operation

    shown = operation.show(open_cache(args.mirror), " ".join(args.spec), lambda spec: _tag_of(args.mirror, spec))
    if args.json:
        print_json(shown.document)
    else:
        print("\n".join(shown.lines))
    return 0


def _tag_of(cache: str, text: str) -> str:
    from ..specs.constraints import Constraint
    from ..store.selection import Candidates, matching, no_match

    source = read_source(cache)
    constraint = Constraint.parse(text)
    candidates = Candidates(source.graph, source.available, frozenset(), source.url)
    these = matching(constraint, candidates)
    if not these:
        raise no_match(constraint, candidates)
    if len(these) > 1:
        names = elided([label(node) for node in these], 10)
        raise ConfigurationError(
            f"{text} matches {counted(len(these), 'package')} of {source.url}: {names}",
            remedy="say more, e.g. its /HASH",
        )
    return package_tag(these[0]["name"], these[0]["version"], these[0]["hash"])


def search(args: argparse.Namespace) -> int:
    """Names that contain a word, with their versions."""
    source = read_source(args.mirror)
    found = sorted(_versions(source.graph, source.available, args.word.lower()).items())
    if args.json:
        print_json({"mirror": source.url, "names": [{"name": name, "versions": versions} for name, versions in found]})
        return 0
    print("\n".join(table([(name, elided(versions, 8)) for name, versions in found])))
    info(f"{counted(len(found), 'name')} with {args.word!r} in {source.url}")
    return 0 if found else 1


def _versions(graph: "Graph", available: Any, word: str) -> Dict[str, List[str]]:
    """Name -> versions, the newest first."""
    from ..specs.versions import Version

    found: Dict[str, Dict[str, Tuple]] = {}
    for dag_hash in available:
        node = graph[dag_hash]
        if word in node["name"].lower():
            found.setdefault(node["name"], {})[node["version"]] = Version.parse(node["version"]).preference
    return {name: sorted(versions, key=versions.__getitem__, reverse=True) for name, versions in found.items()}
