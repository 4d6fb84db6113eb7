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
DEPENDENCY_TYPES = {"build": 1, "link": 2, "run": 4, "test": 8}
_LINK_OR_RUN = 2 | 4

#: base32 of a SHA-1, the alphabet in the order in which hashes are sorted
HASH_ALPHABET = "234567abcdefghijklmnopqrstuvwxyz"
_HASH = re.compile(r"[a-z2-7]{32}\Z")
#: names of packages, namespaces, platforms, operating systems, targets
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*\Z")
#: characters of a version. Python makes no number of more than 4,300 digits, and so Spack no version
LONGEST_VERSION = 1000
_NOT_LONGER = rf"(?!.{{{LONGEST_VERSION + 1}}})"
_STANDARD_VERSION = r"[A-Za-z0-9_.-]+"
#: ``spack.version.Version``: REF=VERSION and git.REF are versions of git repositories
_VERSION = re.compile(
    rf"{_NOT_LONGER}(?:{_STANDARD_VERSION}|(?:git\.)?[^\s=,:@%]+={_STANDARD_VERSION}|git\.[^\s=,:@%]+)\Z"
)
#: what Spack 1.0 keeps of the compiler of an older spec, NAME@=VERSION; each part ends with a character of a word
_COMPILER = re.compile(_NOT_LONGER + r"\w(?:[\w-]*\w)?(?:@=?\w(?:[\w.-]*\w)?)?\Z", re.ASCII)


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
    document: Mapping[str, Any],
    label: str,
    skip: Callable[[Any], bool] = lambda node: False,
    shared: Optional[Dict[str, Node]] = None,
) -> List[Node]:
    """The nodes of a config document, the package's own first. Raises NotAPackage that names ``label``.

    Most nodes of a document are in the documents of many other packages. ``skip``: whether the index has a dependency's
    node already, just as it stands there; it is left out then. ``shared``: nodes of other documents by DAG hash, which
    are taken from there, and put there.
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
            f"{label} has a spec document of version {ascii(version)[:40]}, only 4 and 5 are known",
            remedy="update spack-oci: a newer Spack wrote it"
            if newer
            else "push the package again with Spack 1.0 or newer",
        )
    try:
        _expect(isinstance(raw, list) and bool(raw), "it has no nodes")
        _expect(all(isinstance(node, dict) for node in raw), "a node is not an object")
        wanted = (node for node in raw[1:] if convert is not _unchanged or not skip(node))
        nodes = [_shared_node(convert(node), shared) for node in (raw[0], *wanted)]
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


def check_node(dag_hash: str, spec: Mapping[str, Any]) -> Tuple[str, ...]:
    """What a node of a database needs (:attr:`Node.needs`); strings that cannot be encoded pass. Raises NotAPackage."""
    try:
        return _checked(spec)[1]
    except _Malformed as e:
        raise NotAPackage(f"the index entry {str(dag_hash)[:40]} is malformed: {e}") from None


def target_of(node: Mapping[str, Any]) -> str:
    """The name of the target of a node that was checked."""
    target = node["arch"]["target"]
    name: str = target["name"] if isinstance(target, dict) else target
    return name


class _Malformed(Exception):
    pass


def _expect(condition: bool, message: str) -> None:
    if not condition:
        raise _Malformed(message)


def _shared_node(node: Mapping[str, Any], shared: Optional[Dict[str, Node]]) -> Node:
    if shared is None:
        return _node(node)
    dag_hash = str(node.get("hash"))
    if dag_hash not in shared or shared[dag_hash].spec != node:
        shared[dag_hash] = _node(node)
    return shared[dag_hash]


def _node(node: Any) -> Node:
    dependencies, needs = _checked(node)
    label = f"the node {node['name']}/{node['hash'][:7]}"
    try:
        data = canonical_json(node)
    except (ValueError, RecursionError) as e:  # a lone surrogate; nested too deeply
        raise _Malformed(f"{label} cannot be written as JSON: {e}") from None
    _expect(len(data) <= MAX_NODE_SIZE, f"{label} has {len(data)} bytes")
    return Node(node["hash"], node, data, dependencies, needs)


def _checked(node: Any) -> Tuple[Tuple[str, ...], Tuple[str, ...]]:
    """``dependencies`` and ``needs`` of a :class:`Node`. Checks everything that Spack's reader of specfile version 5
    takes for granted, but for strings that cannot be encoded. Called for every node of an index: messages are made only
    when they are needed.
    """
    if not isinstance(node, dict):
        raise _Malformed("a node is not an object")
    dag_hash: Any = node.get("hash")
    name: Any = node.get("name")
    if not _matches(_HASH, dag_hash):
        raise _Malformed(f"a node has no valid hash: {_shown(dag_hash)}")
    if not _matches(_NAME, name):
        raise _Malformed(f"the node {dag_hash} has no valid name: {_shown(name)}")
    for member, is_valid in _MEMBERS.items():
        if not is_valid(node.get(member, _ABSENT)):
            raise _Malformed(f"the node {name}/{dag_hash[:7]} has no valid {member}: {_shown(node.get(member))}")
    try:
        _check_relations(node)
        dependencies = _dependencies(node)
    except _Malformed as e:
        raise _Malformed(f"the node {name}/{dag_hash[:7]} has {e}") from None
    return dependencies, (*dependencies, node["build_spec"]["hash"]) if "build_spec" in node else dependencies


def _check_relations(node: Mapping[str, Any]) -> None:
    """What is malformed only together with other members."""
    if "versions" in node or node.get("concrete", True) is not True:
        raise _Malformed("an abstract spec")
    if "compiler" in node and "annotations" not in node:  # an error of Spack's reader
        raise _Malformed("a compiler and no annotations")
    parameters = node.get("parameters", {})
    if node.get("patches") and not isinstance(parameters.get("patches", []), list):  # Spack adds the one to the other
        raise _Malformed("no valid patches")
    for name, value in parameters.items():
        if not (_is_strings(value) if name in COMPILER_FLAGS else _is_variant(value)):
            raise _Malformed(f"no valid value of {_shown(name)}: {_shown(value)}")


def _dependencies(node: Mapping[str, Any]) -> Tuple[str, ...]:
    """The hashes of its edges. As in Spack, two edges to one name may not both be of link or run type, nor both have
    another type (``spack.deptypes.compatible``).
    """
    edges = node.get("dependencies")
    if edges is None:
        return ()
    seen: Dict[str, int] = {}
    for edge in edges:
        if not _is_edge(edge):
            raise _Malformed(f"no valid dependency: {_shown(edge)}")
        types = 0
        for name in edge["parameters"]["deptypes"]:
            types |= DEPENDENCY_TYPES[name]
        if edge["name"] in seen:
            others = seen[edge["name"]]
            if not types or not others or types & others or (types & _LINK_OR_RUN and others & _LINK_OR_RUN):
                raise _Malformed(f"two dependencies {edge['name']}")
            types |= others
        seen[edge["name"]] = types
    return tuple([edge["hash"] for edge in edges])


def _is_edge(edge: Any) -> bool:
    if not isinstance(edge, dict) or not _matches(_NAME, edge.get("name")) or not _matches(_HASH, edge.get("hash")):
        return False
    parameters = edge.get("parameters")
    if not isinstance(parameters, dict) or not isinstance(parameters.get("direct", False), bool):
        return False
    types: Any = parameters.get("deptypes")
    return _is_strings(types) and DEPENDENCY_TYPES.keys() >= set(types) and _is_strings(parameters.get("virtuals"))


def _is_variant(value: Any) -> bool:
    """``*`` stands for "any value" in Spack's syntax of specs and is refused as a value."""
    if isinstance(value, list):
        return _is_strings(value) and "*" not in value
    return isinstance(value, (str, bool, int)) and value != "*"


def _is_architecture(arch: Any) -> bool:
    if not isinstance(arch, dict):
        return False
    target = arch.get("target")
    name = target.get("name") if isinstance(target, dict) else target
    return all(_matches(_NAME, value) for value in (arch.get("platform"), arch.get("platform_os"), name))


def _is_external(external: Any) -> bool:
    if external is None or external is _ABSENT or external == {}:
        return True
    if not isinstance(external, dict) or not {"path", "module"} <= external.keys():
        return False
    modules, attributes = external["module"], external.get("extra_attributes")
    return (
        (external["path"] is None or isinstance(external["path"], str))
        and (modules is None or modules is False or _is_strings(modules))
        and (attributes is None or isinstance(attributes, dict))
    )


def _is_build_spec(spec: Any) -> bool:
    if spec is _ABSENT:
        return True
    return isinstance(spec, dict) and _matches(_NAME, spec.get("name")) and _matches(_HASH, spec.get("hash"))


def _is_annotations(annotations: Any) -> bool:
    if annotations is _ABSENT:
        return True
    if not isinstance(annotations, dict) or type(annotations.get("original_specfile_version")) is not int:
        return False
    return "compiler" not in annotations or _matches(_COMPILER, annotations["compiler"])


def _are_patches(value: Any) -> bool:
    return value is _ABSENT or (_is_strings(value) and "*" not in value)


def _is_name_or_nothing(value: Any) -> bool:
    return value is _ABSENT or value is None or _matches(_NAME, value)


def _is_text_or_nothing(value: Any) -> bool:
    return value is _ABSENT or value is None or isinstance(value, str)


def _are_names_of_parameters(value: Any) -> bool:
    return value is _ABSENT or _is_strings(value)


def _matches(pattern: "re.Pattern[str]", value: Any) -> bool:
    return isinstance(value, str) and pattern.match(value) is not None


def _is_strings(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


#: for members that are not there
_ABSENT = object()
#: member of a node -> whether a value is valid, _ABSENT for none
_MEMBERS: Mapping[str, Callable[[Any], bool]] = {
    "version": lambda value: _matches(_VERSION, value),
    "namespace": _is_name_or_nothing,
    "arch": _is_architecture,
    "parameters": lambda value: value is _ABSENT or isinstance(value, dict),
    "propagate": _are_names_of_parameters,
    "abstract": _are_names_of_parameters,
    "patches": _are_patches,
    "package_hash": _is_text_or_nothing,
    "external": _is_external,
    "annotations": _is_annotations,
    "build_spec": _is_build_spec,
    "dependencies": lambda value: value is _ABSENT or isinstance(value, list),
}


def _shown(value: Any) -> str:
    """A foreign value in a message."""
    return ascii(value)[:60]


def _check_closure(nodes: Iterable[Node], names: Mapping[str, Any]) -> None:
    """``names``: DAG hash -> name of all nodes of the document, also those that were skipped."""
    for node in nodes:
        for dag_hash in node.needs:
            if dag_hash not in names:
                raise _Malformed(f"{node.label} needs {dag_hash}, which it lacks")
        for edge in node.spec.get("dependencies", ()):
            if names[edge["hash"]] != edge["name"]:
                called = _shown(names[edge["hash"]])
                raise _Malformed(f"{node.label} calls its dependency {called} {edge['name']}")


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
