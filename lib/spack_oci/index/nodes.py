# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Nodes of spec documents as JSON: checked completely, and converted to the specfile version of the index.

A package's config blob has ``{"spec": {"_meta": {"version": V}, "nodes": [...]}}``: the package's node first, then
every node of its dependencies (and, for a spliced spec, of its build spec). A node is what a Spack database keeps in
``installs[HASH]["spec"]``. One record that Spack's reader (``SpecfileReaderBase.from_node_dict`` in ``spack/spec.py``
and ``Database._read_from_stream``) cannot read makes it reject the whole index with ``CorruptDatabaseError``, for every
spec of every user. So each node is checked, to the last element, before it enters an index and after an index was
fetched. ``tests/spack/interop/test_nodes_and_spacks_reader.py`` compares these checks with Spack's reader.

There are thousands of nodes in an operation: the checks are written by hand, not as a JSON schema.
"""

import re
from typing import Any, Callable, Dict, Iterable, List, Mapping, NamedTuple, Optional, Tuple

from ..descriptor import canonical_json
from ..errors import NotAPackage

#: Spack's database version; 1.0, 1.1 and 1.3 write "8" and read nothing newer. Its nodes are of specfile version 5.
DATABASE_VERSION = "8"
SPECFILE_VERSION = 5

#: bytes of one node; the largest real ones have a few thousand
MAX_NODE_SIZE = 1 << 20

#: parameters that are compiler flags, always lists (``spack.spec._valid_compiler_flags``); all others are variants
COMPILER_FLAGS = ("cflags", "cppflags", "cxxflags", "fflags", "ldflags", "ldlibs")
_DEPENDENCY_TYPES = {"build": 1, "link": 2, "run": 4, "test": 8}
_LINK_OR_RUN = 2 | 4

#: base32 of a SHA-1
_HASH = re.compile(r"[a-z2-7]{32}\Z")
#: names of packages, namespaces, platforms, operating systems, targets
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*\Z")
_STANDARD_VERSION = r"[A-Za-z0-9_.-]+"
#: ``spack.version.Version``: REF=VERSION and git.REF are versions of git repositories
_VERSION = re.compile(rf"(?:{_STANDARD_VERSION}|(?:git\.)?[^\s=,:@%]+={_STANDARD_VERSION}|git\.[^\s=,:@%]+)\Z")
#: what Spack 1.0 keeps of the compiler of an older spec: NAME@=VERSION
_COMPILER = re.compile(rf"[A-Za-z0-9_][A-Za-z0-9_-]*(?:@=?{_STANDARD_VERSION})?\Z")


class Node(NamedTuple):
    dag_hash: str
    #: the node dictionary, of specfile version 5
    spec: Mapping[str, Any]
    #: the same as canonical JSON
    data: bytes
    #: DAG hashes it refers to, one for each edge
    dependencies: Tuple[str, ...]
    #: DAG hashes that must be in the index with it: dependencies and build spec
    needs: Tuple[str, ...]

    @property
    def label(self) -> str:
        return f"{self.spec['name']}@{self.spec['version']}/{self.dag_hash[:7]}"


def nodes_of_document(
    document: Mapping[str, Any], label: str, skip: Callable[[Any], bool] = lambda node: False
) -> List[Node]:
    """The nodes of a config document, the package's own first. Raises NotAPackage that names ``label``.

    ``skip``: whether the index has a dependency's node already, just as it stands there; it is left out then. Most
    nodes of a document are in the documents of many other packages.
    """
    try:
        spec = document["spec"]
        version = spec["_meta"]["version"]
        raw = spec["nodes"]
    except (KeyError, TypeError) as e:
        raise NotAPackage(f"{label} has no spec document ({type(e).__name__}: {e})") from None
    convert = _CONVERTERS.get(version) if type(version) is int else None
    if convert is None:
        newer = type(version) is int and version > SPECFILE_VERSION
        raise NotAPackage(
            f"{label} has a spec document of version {version!r}, only 4 and 5 are known",
            remedy="update spack-oci: a newer Spack wrote it"
            if newer
            else "push the package again with Spack 1.0 or newer",
        )
    try:
        _expect(isinstance(raw, list) and bool(raw), "it has no nodes")
        _expect(all(isinstance(node, dict) for node in raw), "a node is not an object")
        nodes = [_node(convert(raw[0]))]
        nodes.extend(_node(convert(node)) for node in raw[1:] if convert is not _unchanged or not skip(node))
        names = {node["hash"]: node.get("name") for node in raw if isinstance(node.get("hash"), str)}
        _check_closure(nodes, names)
        # a node that was skipped is in the index with all that it needs: no cycle leads through it
        cyclic = cycle_in({node.dag_hash: node.needs for node in nodes})
        _expect(cyclic is None, f"{cyclic} depends on itself")
    except _Malformed as e:
        raise NotAPackage(f"{label} has a malformed spec document: {e}") from None
    return nodes


def node_of_entry(dag_hash: str, spec: Mapping[str, Any]) -> Node:
    """A node of an index that was read back. Raises NotAPackage."""
    try:
        node = _node(spec)
        if node.dag_hash != dag_hash:
            raise _Malformed(f"its node has the hash {node.dag_hash}")
        return node
    except _Malformed as e:
        raise NotAPackage(f"the index entry {str(dag_hash)[:40]} is malformed: {e}") from None


class _Malformed(Exception):
    pass


def _expect(condition: bool, message: str) -> None:
    if not condition:
        raise _Malformed(message)


def _node(node: Any) -> Node:
    """Check everything that Spack's reader of specfile version 5 takes for granted."""
    _expect(isinstance(node, dict), "a node is not an object")
    dag_hash, name = node.get("hash"), node.get("name")
    _expect(_matches(_HASH, dag_hash), f"a node has no valid hash: {_shown(dag_hash)}")
    _expect(_matches(_NAME, name), f"the node {dag_hash} has no valid name: {_shown(name)}")
    try:
        _check_members(node)
        dependencies = _dependencies(node)
        data = canonical_json(node)
    except _Malformed as e:
        raise _Malformed(f"the node {name}/{dag_hash[:7]} has {e}") from None
    except (ValueError, RecursionError) as e:  # a lone surrogate; nested too deeply
        raise _Malformed(f"the node {name}/{dag_hash[:7]} cannot be written as JSON: {e}") from None
    _expect(len(data) <= MAX_NODE_SIZE, f"the node {name}/{dag_hash[:7]} has {len(data)} bytes")
    needs = (*dependencies, node["build_spec"]["hash"]) if "build_spec" in node else dependencies
    return Node(dag_hash, node, data, dependencies, needs)


def _check_members(node: Mapping[str, Any]) -> None:
    _expect(_matches(_VERSION, node.get("version")), f"no valid version: {_shown(node.get('version'))}")
    _expect("versions" not in node and node.get("concrete", True) is True, "an abstract spec")
    namespace = node.get("namespace")
    _expect(namespace is None or _matches(_NAME, namespace), f"no valid namespace: {_shown(namespace)}")
    _expect(_is_architecture(node.get("arch")), f"no valid architecture: {_shown(node.get('arch'))}")
    _check_parameters(node.get("parameters", {}))
    for key in ("propagate", "abstract", "patches"):
        _expect(_is_strings(node.get(key, [])), f"no valid {key}: {_shown(node.get(key))}")
    _expect("*" not in node.get("patches", []), "no valid patches")
    package_hash = node.get("package_hash")
    _expect(package_hash is None or isinstance(package_hash, str), "no valid package_hash")
    _expect(_is_external(node.get("external")), f"no valid external: {_shown(node.get('external'))}")
    # without annotations, a compiler is an error of Spack's reader
    _expect("annotations" in node or "compiler" not in node, "a compiler and no annotations")
    if "annotations" in node:
        _expect(_is_annotations(node["annotations"]), f"no valid annotations: {_shown(node['annotations'])}")
    if "build_spec" in node:
        build_spec = node["build_spec"]
        valid = isinstance(build_spec, dict) and _matches(_NAME, build_spec.get("name"))
        _expect(valid and _matches(_HASH, build_spec.get("hash")), "no valid build_spec")


def _check_parameters(parameters: Any) -> None:
    _expect(isinstance(parameters, dict), "no valid parameters")
    for name, value in parameters.items():
        if name in COMPILER_FLAGS:
            _expect(_is_strings(value), f"no valid {name}: {_shown(value)}")
            continue
        # "*" stands for "any value" in Spack's syntax of specs and is refused as a value
        single = isinstance(value, (str, bool, int)) and value != "*"
        multiple = isinstance(value, list) and _is_strings(value) and "*" not in value
        _expect(single or multiple, f"no valid value of {_shown(name)}: {_shown(value)}")


def _dependencies(node: Mapping[str, Any]) -> Tuple[str, ...]:
    """The hashes of its edges. As in Spack, two edges to one name may not both be of link or run type, nor both have
    another type (``spack.deptypes.compatible``).
    """
    edges = node.get("dependencies", [])
    _expect(isinstance(edges, list), "no valid dependencies")
    seen: Dict[str, List[int]] = {}
    for edge in edges:
        _expect(_is_edge(edge), f"no valid dependency: {_shown(edge)}")
        types = sum(_DEPENDENCY_TYPES[name] for name in set(edge["parameters"]["deptypes"]))
        for others in seen.setdefault(edge["name"], []):
            compatible = not (types & others) and not (types & _LINK_OR_RUN and others & _LINK_OR_RUN)
            _expect(compatible and types != others, f"two dependencies {edge['name']}")
        seen[edge["name"]].append(types)
    return tuple(edge["hash"] for edge in edges)


def _is_edge(edge: Any) -> bool:
    if not isinstance(edge, dict) or not _matches(_NAME, edge.get("name")) or not _matches(_HASH, edge.get("hash")):
        return False
    parameters = edge.get("parameters")
    if not isinstance(parameters, dict) or not isinstance(parameters.get("direct", False), bool):
        return False
    types = parameters.get("deptypes")
    valid_types = isinstance(types, list) and all(isinstance(t, str) and t in _DEPENDENCY_TYPES for t in types)
    return valid_types and _is_strings(parameters.get("virtuals"))


def _is_architecture(arch: Any) -> bool:
    if not isinstance(arch, dict):
        return False
    target = arch.get("target")
    name = target.get("name") if isinstance(target, dict) else target
    return all(_matches(_NAME, value) for value in (arch.get("platform"), arch.get("platform_os"), name))


def _is_external(external: Any) -> bool:
    if external is None:
        return True
    if not isinstance(external, dict):
        return False
    if not external:
        return True
    modules, attributes = external.get("module"), external.get("extra_attributes")
    return (
        {"path", "module"} <= external.keys()
        and (external["path"] is None or isinstance(external["path"], str))
        and (modules is None or modules is False or _is_strings(modules))
        and (attributes is None or isinstance(attributes, dict))
    )


def _is_annotations(annotations: Any) -> bool:
    if not isinstance(annotations, dict) or type(annotations.get("original_specfile_version")) is not int:
        return False
    return "compiler" not in annotations or _matches(_COMPILER, annotations["compiler"])


def _matches(pattern: "re.Pattern[str]", value: Any) -> bool:
    return isinstance(value, str) and pattern.match(value) is not None


def _is_strings(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _shown(value: Any) -> str:
    """A foreign value in a message."""
    return ascii(value)[:60]


def _check_closure(nodes: Iterable[Node], names: Mapping[str, Any]) -> None:
    """``names``: DAG hash -> name of all nodes of the document, also those that were skipped."""
    for node in nodes:
        for dag_hash in node.needs:
            _expect(dag_hash in names, f"{node.label} needs {dag_hash}, which it lacks")
        for edge in node.spec.get("dependencies", ()):
            called = names[edge["hash"]]
            _expect(called == edge["name"], f"{node.label} calls its dependency {_shown(called)} {edge['name']}")


def cycle_in(needs: Mapping[str, Iterable[str]]) -> Optional[str]:
    """A DAG hash that depends on itself, if there is one. ``needs``: hash -> hashes that it needs; others are leaves.

    Hashes of real specs cannot depend on themselves; Spack would follow forged ones for ever.
    """
    #: False: on the path from the start to here; True: done
    finished: Dict[str, bool] = {}
    for start in needs:
        stack = [start]
        while stack:
            dag_hash = stack[-1]
            if dag_hash in finished:
                finished[dag_hash] = True
                stack.pop()
                continue
            finished[dag_hash] = False
            for needed in needs[dag_hash]:
                if not finished.get(needed, True):
                    return needed
                if needed in needs and needed not in finished:
                    stack.append(needed)
    return None


def to_version_5(node: Any) -> Any:
    """The node of an older database. Raises NotAPackage."""
    try:
        return _from_version_4(node)
    except _Malformed as e:
        raise NotAPackage(str(e)) from None


def _from_version_4(node: Any) -> Any:
    """Specfile version 4 (Spack 0.21 to 0.23), as Spack 1.0 keeps it in its database: the compiler is only a note."""
    if not isinstance(node, dict) or "annotations" in node:
        return node
    converted: Dict[str, Any] = {key: value for key, value in node.items() if key not in ("compiler", "hash")}
    annotations: Dict[str, Any] = {"original_specfile_version": 4}
    compiler = node.get("compiler")
    if compiler is not None:
        _expect(isinstance(compiler, dict) and "name" in compiler and "version" in compiler, "a node has no compiler")
        annotations["compiler"] = f"{compiler['name']}@={compiler['version']}"
    return {**converted, "annotations": annotations, "hash": node.get("hash")}


def _unchanged(node: Any) -> Any:
    return node


_CONVERTERS = {4: _from_version_4, 5: _unchanged}
