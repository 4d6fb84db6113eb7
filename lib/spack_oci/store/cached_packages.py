# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The records of packages that are in a cache, and nowhere installed: what an image of them needs to be composed."""

import re
from typing import Any, Dict, Mapping, Sequence

from ..content import RepositoryReader
from ..content.platform import Platform, go_architecture
from ..image.manifest import parse_environment
from ..package.documents import read_package_documents
from ..package.record import Package, package_tag
from ..specs.constraints import Graph, target_name
from ..specs.format import format_node
from ..specs.targets import family
from .default_environment import NodeGraph
from .source import label

#: a directory of the environment in an image: prefix, and what is below it
_PREFIX = re.compile(r"(/.*?-([a-z2-7]{32}))(/.*)?\Z")


class CachedPackage(Package):
    """``variables``: the environment of its image; ``node``: of its spec."""

    node: Mapping[str, Any]
    variables: Mapping[str, str]

    @property
    def image_platform(self) -> Platform:
        return Platform(*self.platform)


def cached_package(store: RepositoryReader, node: Mapping[str, Any], graph: Graph) -> CachedPackage:
    """Read its tag: two requests. Raises NotFound, NotAPackage."""
    tag = package_tag(node["name"], node["version"], node["hash"])
    documents = read_package_documents(store, tag, expected_hash=node["hash"])
    settings = documents.document.get("config")
    entries = settings.get("Env") if isinstance(settings, dict) else None
    variables = parse_environment(entries or ())
    prefixes = _prefixes(variables)
    closure = NodeGraph(graph).closure([node]).topological
    package = CachedPackage(
        name=node["name"],
        version=node["version"],
        dag_hash=node["hash"],
        prefix=prefixes.get(node["hash"], ""),
        spec_document={"spec": documents.document["spec"]},
        description=format_node(node),
        platform=(node["arch"]["platform"], go_architecture(family(target_name(node)))),
        runtime=tuple((n.dag_hash, label(n.spec)) for n in closure if not n.external),
        build_info={"hash_to_prefix": prefixes, "sbang_install_path": _sbang_path(prefixes.get(node["hash"], ""))},
        layout_version=2,
        environment=lambda start: _with(variables, start),
    )
    vars(package).update(node=node, variables=variables)
    return package


def _prefixes(variables: Mapping[str, str]) -> Dict[str, str]:
    """DAG hash -> where a package is in the image, as far as its environment tells: CMAKE_PREFIX_PATH has all."""
    found: Dict[str, str] = {}
    for value in variables.values():
        for part in value.split(":"):
            match = _PREFIX.match(part)
            if match:
                found.setdefault(match[2], match[1])
    return found


def _sbang_path(prefix: str) -> str:
    """In a store with Spack's default projection."""
    root = prefix.rpartition("/")[0].rpartition("/")[0] if prefix else ""
    return f"{root}/bin/sbang" if root else ""


def _with(variables: Mapping[str, str], start: Mapping[str, str]) -> Dict[str, str]:
    """``start`` with the environment of an image: directories of packages in front, single values as they are."""
    result = dict(start)
    for name, value in variables.items():
        parts = [part for part in value.split(":") if _PREFIX.match(part)]
        if name == "PATH" or len(parts) > 1 or (parts and name.endswith("PATH")):
            rest = [part for part in result.get(name, "").split(":") if part and part not in parts]
            others = [part for part in value.split(":") if part and part not in parts and part not in rest]
            result[name] = ":".join([*parts, *rest, *others])
        else:
            result[name] = value
    return result


def merged_environment(packages: Sequence[CachedPackage], start: Mapping[str, str]) -> Dict[str, str]:
    """Of an image of several: the first one's directories are in front."""
    result = dict(start)
    for package in reversed(packages):
        result = _with(package.variables, result)
    return result
