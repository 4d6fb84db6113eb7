# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""From Spack's specs to the package records of the library, and the selection of what is pushed."""

import contextlib
from functools import cached_property, partial
from typing import Any, Callable, Dict, FrozenSet, Iterable, Iterator, List, Mapping, Sequence, Tuple

import spack.binary_distribution
import spack.deptypes as dt
import spack.error
import spack.hash_types as ht
import spack.repo
import spack.spec
import spack.store
from spack import traverse

from ...content.platform import go_architecture
from ...errors import InvalidSpec, SpackOciError
from ...package.record import Package
from .. import compat
from .environments import RunEnvironments
from .provenance import provenance


def label(spec: "spack.spec.Spec") -> str:
    """As `spack buildcache push` prints a spec."""
    return spec.format("{name}{@version}{/hash:7}")


def go_platform(spec: "spack.spec.Spec") -> Tuple[str, str]:
    family = spec.target.family.name
    return "linux" if spec.platform == "linux" else str(spec.platform), go_architecture(family)


@contextlib.contextmanager
def recipe_errors(*specs: "spack.spec.Spec") -> Iterator[None]:
    """Whatever is wrong with recipes that ``specs`` need becomes an InvalidSpec: one that is not there any more must
    not end the push of others."""
    try:
        yield
    except (SpackOciError, OSError, MemoryError):
        raise
    except Exception as e:  # a recipe is a program
        said = e.message if isinstance(e, spack.error.SpackError) else f"{type(e).__name__}: {e}"
        remedy = "correct its recipe, or that of a package that it needs"
        if isinstance(e, spack.repo.UnknownEntityError):
            remedy = "add the repository that has it with `spack repo add`, see `spack repo list`"
        raise InvalidSpec(f"{' '.join(map(label, specs))}: a recipe fails: {said}", remedy=remedy) from e


def may_be_redistributed(spec: "spack.spec.Spec") -> bool:
    """As its recipe says. Raises InvalidSpec if that cannot be used."""
    with recipe_errors(spec):
        return bool(spec.package.redistribute_binary)


def records_of(specs: Iterable["spack.spec.Spec"]) -> List[Package]:
    """The records of installed, concrete specs."""
    specs = list(specs)
    common = _Common(specs)
    return [_SpecPackage(spec, common) for spec in specs]


def prepare_environments(packages: Sequence[Package]) -> None:
    """Do at once what the run environments of ``packages``, from one :func:`records_of`, have in common."""
    ours = [package for package in packages if isinstance(package, _SpecPackage)]
    if ours:
        ours[0].common.environments.prepare([package.spec for package in ours])


class _Common:
    """Packages of one push have most of their closures in common: what is said of a dependency is made once."""

    def __init__(self, specs: Sequence["spack.spec.Spec"]) -> None:
        self.environments = RunEnvironments()
        self._specs = specs
        self._labels: Dict[str, str] = {}
        self._nodes: Dict[str, _Node] = {}

    @cached_property
    def prefixes(self) -> Dict[str, str]:
        """By DAG hash; asked for in one read transaction, as each takes a lock otherwise."""
        with spack.store.STORE.db.read_transaction():
            return {spec.dag_hash(): str(spec.prefix) for spec in self._specs}

    def label(self, spec: "spack.spec.Spec") -> str:
        dag_hash = spec.dag_hash()
        if dag_hash not in self._labels:
            self._labels[dag_hash] = label(spec)
        return self._labels[dag_hash]

    def document(self, spec: "spack.spec.Spec") -> Mapping[str, Any]:
        """``spec.to_dict(hash=dag_hash)``."""
        nodes = self._nodes_of(spec)
        if any(node.spliced for node in nodes):
            return spec.to_dict(hash=ht.dag_hash)  # the specs that were built are in it too
        meta = {"version": spack.spec.SPECFILE_FORMAT_VERSION}
        return {"spec": {"_meta": meta, "nodes": [node.document for node in nodes]}}

    def _nodes_of(self, spec: "spack.spec.Spec") -> List["_Node"]:
        """In the order of ``spec.traverse(order="pre", deptype=ht.dag_hash.depflag)``."""
        found: Dict[str, _Node] = {}
        to_visit = [spec]
        while to_visit:
            current = to_visit.pop()
            dag_hash = current.dag_hash()
            if dag_hash not in found:
                if dag_hash not in self._nodes:
                    self._nodes[dag_hash] = _Node(current)
                found[dag_hash] = self._nodes[dag_hash]
                to_visit.extend(found[dag_hash].children_last_first)
        return list(found.values())


class _Node:
    """What the documents of all specs have of a spec that they depend on."""

    def __init__(self, spec: "spack.spec.Spec") -> None:
        self.spliced = spec.build_spec is not spec
        self.document: Mapping[str, Any] = spec.node_dict_with_hashes(ht.dag_hash)
        edges = traverse.sort_edges(spec.edges_to_dependencies(depflag=ht.dag_hash.depflag))
        self.children_last_first = [edge.spec for edge in reversed(edges)]


class _SpecPackage(Package):
    """A record whose expensive parts are made when they are asked for: of what is skipped, nobody asks."""

    spec: "spack.spec.Spec"
    common: "_Common"

    def __init__(self, spec: "spack.spec.Spec", common: _Common) -> None:
        vars(self).update(
            spec=spec,
            common=common,
            name=spec.name,
            version=str(spec.version),
            dag_hash=spec.dag_hash(),
            layout_version=compat.OCI_LAYOUT_VERSION,
            environment=partial(_environment, common.environments, (spec,)),
            provenance=self._provenance,
            sbom=self._sbom,
            build_facts=self._build_facts,
            annotations={},
        )

    def _provenance(self) -> Mapping[str, str]:
        with recipe_errors(self.spec):
            return provenance((self.spec,))

    def _build_facts(self) -> Any:
        from .recipes import build_facts_of

        return build_facts_of(self.spec)

    def _sbom(self) -> bytes:
        from .recipes import sbom_of

        return sbom_of([self.spec], [dict(self.spec_document)])

    @cached_property
    def prefix(self) -> str:  # type: ignore[override]
        return self.common.prefixes[self.dag_hash]

    @cached_property
    def spec_document(self) -> Mapping[str, Any]:  # type: ignore[override]
        return self.common.document(self.spec)

    @cached_property
    def description(self) -> str:  # type: ignore[override]
        return self.spec.format()

    @cached_property
    def platform(self) -> Tuple[str, str]:  # type: ignore[override]
        return go_platform(self.spec)

    @cached_property
    def runtime(self) -> Sequence[Tuple[str, str]]:  # type: ignore[override]
        nodes = self.common.environments.runtime(self.spec)
        specs = runtime_closure(self.spec) if nodes is None else [node.spec for node in nodes if not node.external]
        return tuple((s.dag_hash(), self.common.label(s)) for s in specs)

    @cached_property
    def build_info(self) -> Mapping[str, Any]:  # type: ignore[override]
        return spack.binary_distribution.get_buildinfo_dict(self.spec)


def runtime_closure(*specs: "spack.spec.Spec", build: bool = False) -> List["spack.spec.Spec"]:
    """What an image needs to run ``specs``: link and run dependencies without externals, dependencies first.

    ``build``: what it takes to build them, too.
    """
    key = traverse.by_dag_hash  # specs that were concretized apart share no objects
    types = ("link", "run", "build") if build else ("link", "run")
    nodes = traverse.traverse_nodes(list(specs), order="topo", deptype=types, root=True, key=key)
    return [s for s in nodes if not s.external][::-1]


def runtime_needs(specs: Iterable["spack.spec.Spec"]) -> Dict[str, FrozenSet[str]]:
    """DAG hash -> those of all link and run dependencies, direct or not, of ``specs`` and of what they need."""
    found: Dict[str, FrozenSet[str]] = {}
    types = ("link", "run")
    for spec in traverse.traverse_nodes(list(specs), order="post", deptype=types, key=traverse.by_dag_hash):
        direct = [dependency.dag_hash() for dependency in spec.dependencies(deptype=types)]
        found[spec.dag_hash()] = frozenset(direct).union(*(found[dag_hash] for dag_hash in direct))
    return found


def runtime_externals(*specs: "spack.spec.Spec") -> List["spack.spec.Spec"]:
    """What ``specs`` need to run that Spack has not installed, by name."""
    nodes = traverse.traverse_nodes(list(specs), deptype=("link", "run"), root=True, key=traverse.by_dag_hash)
    return sorted((s for s in nodes if s.external), key=lambda s: s.name)


def run_environment(records: Sequence[Package]) -> Callable[[Dict[str, str]], Dict[str, str]]:
    """The environment callable of an image of several packages, which are from one :func:`records_of`."""
    ours = [record for record in records if isinstance(record, _SpecPackage)]
    return partial(_environment, ours[0].common.environments, [record.spec for record in ours])


def _environment(
    environments: RunEnvironments, specs: Sequence["spack.spec.Spec"], base: Dict[str, str]
) -> Dict[str, str]:
    with recipe_errors(*specs):
        return environments.apply(specs, base)


def select(roots: Sequence["spack.spec.Spec"], *, package: bool, dependencies: bool, build_dependencies: bool) -> List:
    """The specs that a push of ``roots`` means, without externals, dependencies first (as `spack buildcache push`)."""
    if not dependencies:
        deptype = dt.NONE
    elif build_dependencies:
        deptype = dt.ALL
    else:
        deptype = dt.RUN | dt.LINK | dt.TEST
    nodes = traverse.traverse_nodes(
        list(roots), root=package, deptype=deptype, order="breadth", key=traverse.by_dag_hash
    )
    return [s for s in nodes if not s.external][::-1]


def partition_installed(specs: Sequence["spack.spec.Spec"]) -> Tuple[List, List]:
    """(installed, not installed), asked in one read transaction."""
    with spack.store.STORE.db.read_transaction():
        installed = {s.dag_hash() for s in specs if s.installed}
    return (
        [s for s in specs if s.dag_hash() in installed],
        [s for s in specs if s.dag_hash() not in installed],
    )
