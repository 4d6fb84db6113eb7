# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack-oci list`, `show` and `search`: what a cache has, or a store."""

import argparse
import os
from typing import TYPE_CHECKING, Any, Dict, Iterable, List, Mapping, Sequence, Tuple

from ..commandline.common import print_json
from ..errors import Ambiguous, ConfigurationError
from ..operations import catalog
from ..operations.catalog import CatalogRecord, record_of
from ..package.record import package_tag
from ..reference import image_name
from ..store.source import label
from ..store.system import this_system
from ..util.documents import print_json_list
from ..util.sizes import format_size
from ..util.text import counted, elided, table, visible
from . import settings
from .caches import looks_like_cache, no_cache, open_cache, read_index, read_source, source_of, url_of, wanted_by
from .output import info

if TYPE_CHECKING:
    from ..index.packed_nodes import IndexedNode
    from ..specs.constraints import Constraint, Graph


def list_packages(args: argparse.Namespace) -> int:
    words = list(args.arguments)
    if words and looks_like_cache(words[0]):
        return _list_cache(words[0], words[1:], args)
    if args.store or os.environ.get("SPACK_OCI_STORE"):
        return _list_store(words, args)
    if words:
        raise no_cache(words[0], ", and no store is named", " before specs; or --store DIR")
    raise ConfigurationError("neither a cache nor a store is named", remedy="write a URL, ./DIRECTORY or --store DIR")


def _list_cache(cache: str, words: Sequence[str], args: argparse.Namespace) -> int:
    constraints = _constraints(words)
    index = read_index(cache, wanted=wanted_by(constraints))
    graph: Graph = source_of(cache, index).graph if constraints else {}
    here = this_system()

    def is_wanted(node: Mapping[str, Any]) -> bool:
        # what Spack calls the same: platform and operating system; targets are left to the installation
        if not args.allarch and (node["arch"]["platform"], node["arch"]["platform_os"]) != here:
            return False
        return not constraints or any(c.matches(node, graph) for c in constraints)

    # without what the index has of each package besides its node, if that is not shown: it takes as long to read
    found = catalog.records(index.index, is_wanted, bare=not (args.json or args.sizes))
    url = url_of(cache)
    status = 1 if words and not found else 0
    if args.json:
        packages = (_document(record, found.node(h), cache) for h, record in found.items())
        print_json_list({"mirrors": [url]}, "packages", packages)
        return status
    if args.sizes:
        rows = [(r.name, r.version, r.hash[:7], format_size(r.size) if r.size else "?") for r in found.values()]
        print("\n".join(table(rows)))
    else:
        _print_records(found.values(), args)
    info(f"{counted(len(found), 'cached package')} in {url}")
    if not found:
        _tell_what_there_is(cache, constraints, args)
    return status


def _tell_what_there_is(cache: str, constraints: "Sequence[Constraint]", args: argparse.Namespace) -> None:
    name = constraints[0].name if len(constraints) == 1 else ""
    # what was read is of the names that are wanted
    there, meant = catalog.near(name, read_index(cache).index.nodes()) if name else ([], "")
    if meant:
        info(f"It has no {name}: did you mean {meant}?")
    elif not args.allarch:
        info("No package matches for this platform and operating system; --allarch searches all.")
    elif there:
        info(f"It has {elided(there)}")


def _document(record: CatalogRecord, node: Mapping[str, Any], cache: str) -> Dict[str, Any]:
    """As that of `spack oci list`."""
    from ..specs.format import format_node

    url = url_of(cache)
    return {**record.to_dict(), "spec": format_node(node), "mirror": url, "image": image_name(url, record.tag)}


def _print_records(found: Iterable[CatalogRecord], args: argparse.Namespace) -> None:
    """As `spack find` has it: a heading for each architecture, then the packages."""
    by_arch: Dict[str, List[str]] = {}
    for record in found:
        head = f"{record.hash[:7]} " if args.long else ""
        line = f"{head}{record.name}@{record.version}{_variants(record.variants) if args.variants else ''}"
        by_arch.setdefault(record.arch, []).append(line)
    for arch in sorted(by_arch):
        print(f"-- {arch} " + "-" * max(0, 60 - len(arch)))
        print("\n".join(by_arch[arch]))


def _variants(variants: Mapping[str, Any]) -> str:
    switches = "".join(f"{'+' if v else '~'}{n}" for n, v in sorted(variants.items()) if isinstance(v, bool))
    values = [
        f" {n}={','.join(v) if isinstance(v, list) else v}"
        for n, v in sorted(variants.items())
        if not isinstance(v, bool)
    ]
    return visible(switches + "".join(values))


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

    constraint = Constraint.parse(text)
    source = read_source(cache, wanted=wanted_by([constraint]))
    candidates = Candidates(source.graph, source.available, frozenset(), source.url)
    these = matching(constraint, candidates)
    if not these:
        raise no_match(constraint, candidates)
    if len(these) > 1:
        names = elided([label(node) for node in these], 10)
        raise Ambiguous(
            f"{text} matches {counted(len(these), 'package')} of {source.url}: {names}",
            remedy="say more, e.g. its /HASH",
        )
    return package_tag(these[0]["name"], these[0]["version"], these[0]["hash"])


def search(args: argparse.Namespace) -> int:
    """Names that contain a word, with their versions."""
    url = url_of(args.mirror)
    found = sorted(_versions(read_index(args.mirror).index.nodes(), args.word.lower()).items())
    status = 0 if found else 1
    if args.json:
        print_json({"mirror": url, "names": [{"name": name, "versions": versions} for name, versions in found]})
        return status
    if found:
        print("\n".join(table([(name, elided(versions, 8)) for name, versions in found])))
    info(f"{counted(len(found), 'name')} with {args.word!r} in {url}")
    meant = "" if found else catalog.near(args.word.lower(), read_index(args.mirror).index.nodes())[1]
    if meant:
        info(f"did you mean {meant}?")
    return status


def _versions(nodes: "Iterable[IndexedNode]", word: str) -> Dict[str, List[str]]:
    """Name -> versions, the newest first."""
    from ..specs.versions import Version

    found: Dict[str, Dict[str, Tuple]] = {}
    for _, spec, _, is_cached in nodes:
        if is_cached and word in spec["name"].lower():
            found.setdefault(spec["name"], {})[spec["version"]] = Version.parse(spec["version"]).preference
    return {name: sorted(versions, key=versions.__getitem__, reverse=True) for name, versions in found.items()}
