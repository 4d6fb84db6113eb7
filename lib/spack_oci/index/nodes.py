# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Spec documents as JSON: checked, and brought to the version that the index is written in. No Spec objects.

A package's config blob has ``{"spec": {"_meta": {"version": V}, "nodes": [...]}}``: the package's node first, then
every node of its dependencies (and, for a spliced spec, of its build spec). A node is what a Spack database keeps in
``installs[HASH]["spec"]``. One record of the wrong shape makes Spack reject the whole index
(``CorruptDatabaseError``), so a document is checked before any of it goes in.
"""

from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Set, Tuple

from ..errors import NotAPackage

#: Spack's database version; 1.0, 1.1 and 1.3 write "8" and read nothing newer. Its nodes are of specfile version 5.
DATABASE_VERSION = "8"
SPECFILE_VERSION = 5


class Node(NamedTuple):
    dag_hash: str
    #: the node dictionary, of specfile version 5
    spec: Mapping[str, Any]
    #: DAG hashes it refers to, one for each edge
    dependencies: Tuple[str, ...]
    #: DAG hashes that must be in the index with it: dependencies and build spec
    needs: Tuple[str, ...]


def nodes_of_document(
    document: Mapping[str, Any], what: str, skip: Callable[[Any], bool] = lambda node: False
) -> List[Node]:
    """The nodes of a config document, the package's own first. Raises NotAPackage that names ``what``.

    ``skip``: whether the index has a dependency's node already, just as it stands there; it is left out then. Most
    nodes of a document are in the documents of many other packages.
    """
    try:
        spec = document["spec"]
        version = spec["_meta"]["version"]
        raw = spec["nodes"]
    except (KeyError, TypeError) as e:
        raise NotAPackage(f"{what} has no spec document ({type(e).__name__}: {e})") from None
    convert = _CONVERTERS.get(version) if isinstance(version, int) else None
    if convert is None:
        newer = isinstance(version, int) and version > SPECFILE_VERSION
        raise NotAPackage(
            f"{what} has a spec document of version {version!r}, only 4 and 5 are known",
            remedy="update spack-oci: a newer Spack wrote it"
            if newer
            else "push the package again with Spack 1.0 or newer",
        )
    try:
        _expect(isinstance(raw, list) and bool(raw), "it has no nodes")
        nodes = [_node(convert(raw[0]))]
        nodes.extend(_node(convert(node)) for node in raw[1:] if convert is not _unchanged or not skip(node))
        _check_closure(nodes, {node.get("hash") for node in raw if isinstance(node, dict)})
    except _Malformed as e:
        raise NotAPackage(f"{what} has a malformed spec document: {e}") from None
    return nodes


def node_of_entry(dag_hash: str, spec: Mapping[str, Any]) -> Node:
    """A node of an index that was read back. Raises NotAPackage."""
    try:
        node = _node(spec)
        if node.dag_hash != dag_hash:
            raise _Malformed(f"its node has the hash {node.dag_hash}")
        return node
    except _Malformed as e:
        raise NotAPackage(f"the index entry {dag_hash} is malformed: {e}") from None


class _Malformed(Exception):
    pass


def _node(node: Any) -> Node:
    """Check everything that Spack's reader of specfile version 5 takes for granted."""
    _expect(isinstance(node, dict), "a node is not an object")
    dag_hash, name = node.get("hash"), node.get("name")
    _expect(isinstance(dag_hash, str) and dag_hash.isalnum(), "a node has no hash")
    _expect(isinstance(name, str) and bool(name), f"the node {dag_hash} has no name")
    where = f"the node {name}/{dag_hash[:7]}"
    _expect(isinstance(node.get("version"), str), f"{where} has no version")
    arch = node.get("arch")
    _expect(
        isinstance(arch, dict)
        and isinstance(arch.get("platform"), str)
        and isinstance(arch.get("platform_os"), str)
        and isinstance(arch.get("target"), (str, dict)),
        f"{where} has no architecture",
    )
    _expect(isinstance(node.get("parameters", {}), dict), f"{where} has no valid parameters")
    _expect(isinstance(node.get("patches", []), list), f"{where} has no valid patches")
    annotations = node.get("annotations", {"original_specfile_version": SPECFILE_VERSION})
    _expect(
        isinstance(annotations, dict) and isinstance(annotations.get("original_specfile_version"), int),
        f"{where} has no valid annotations",
    )
    external = node.get("external")
    _expect(
        not external or (isinstance(external, dict) and "path" in external and "module" in external),
        f"{where} has no valid external",
    )
    dependencies = tuple(_edge(edge, where) for edge in _list(node, "dependencies", where))
    build_spec = node.get("build_spec")
    if build_spec is None:
        return Node(dag_hash, node, dependencies, dependencies)
    _expect(
        isinstance(build_spec, dict) and isinstance(build_spec.get("hash"), str) and "name" in build_spec,
        f"{where} has no valid build_spec",
    )
    return Node(dag_hash, node, dependencies, (*dependencies, build_spec["hash"]))


def _list(node: Mapping[str, Any], key: str, where: str) -> List[Any]:
    value = node.get(key, [])
    _expect(isinstance(value, list), f"{where} has no valid {key}")
    return value


def _edge(edge: Any, where: str) -> str:
    _expect(
        isinstance(edge, dict)
        and isinstance(edge.get("name"), str)
        and isinstance(edge.get("hash"), str)
        and isinstance(edge.get("parameters"), dict)
        and isinstance(edge["parameters"].get("deptypes"), list)
        and isinstance(edge["parameters"].get("virtuals"), list),
        f"{where} has a dependency that is none",
    )
    return edge["hash"]


def _check_closure(nodes: List[Node], known: Set[Any]) -> None:
    for node in nodes:
        for dag_hash in node.needs:
            _expect(dag_hash in known, f"{node.spec['name']}/{node.dag_hash[:7]} needs {dag_hash}, which it lacks")


def _expect(condition: bool, message: str) -> None:
    if not condition:
        raise _Malformed(message)


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
