# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The run environments of many specs, each as ``spack.user_environment.environment_modifications_for_specs`` has it.

Spack computes each from nothing: it looks into every prefix of the closure, sets the globals of every module of a
package in it, and calls the set-up methods of all packages. For the packages of one push that is the same work over and
over. But what a package adds to an environment is the same in each: what its prefix holds, what its
``setup_run_environment`` adds, and what its ``setup_dependent_run_environment`` adds for one dependent. So here that is
recorded once, and put together in Spack's order for each closure.

That the records are right is not taken for granted:

- What does not fit (see ``_usual``), and whatever raises an error here, is left to Spack's own function.
- Of each kind of closure (see ``_kind``) the first is computed by Spack too. Should the two differ, or should packages
  have set-up methods that are not known here, then this Spack has another way, and everything is left to it.

One assumption remains: a set-up method adds the same when it is called again, with the same globals in its module.
"""

import contextlib
import re
import threading
from collections import Counter
from functools import cache
from typing import Any, Dict, FrozenSet, Iterable, List, Optional, Sequence, Set, Tuple

import spack.build_environment
import spack.deptypes as dt
import spack.package_base
import spack.schema.environment
import spack.spec
import spack.user_environment
import spack.util.environment
from spack import traverse
from spack.util.environment import PrependPath

from ...package.runtime_graph import Closure, Node, RuntimeGraph
from ..compat import Context

#: Spack imports package classes when it computes an environment; that is not safe in several threads
SPACK_LOCK = threading.Lock()

#: modules of package.py files, in repositories of Spack's package API 2 and 1
_RECIPE = re.compile(r"\.packages\.|^spack\.pkg\.")

_SET_UP = {"setup_run_environment", "setup_dependent_run_environment", "setup_dependent_package"}


class RunEnvironments:
    """Safe to use from many threads. What it remembers is true until something is installed, or a prefix changes."""

    def __init__(self) -> None:
        self._graph = SpecGraph()
        self._added = _Records(self._graph)
        #: kinds of closures of which one came out as from Spack
        self._checked: Set[FrozenSet[str]] = set()
        #: what is prepended to a variable -> as Spack writes it there
        self._normal_paths: Dict[str, str] = {}
        self._trusted = _SET_UP.issuperset(n for n in dir(spack.package_base.PackageBase) if n.startswith("setup_"))

    def runtime(self, spec: "spack.spec.Spec") -> Optional[List[Node]]:
        """As ``packages.runtime_closure``, for one spec, with the externals. None: not all of it is one object each."""
        with SPACK_LOCK:
            nodes = self._graph.closure([spec]).topological
        return nodes if len({node.dag_hash for node in nodes}) == len(nodes) else None

    def prepare(self, specs: Sequence["spack.spec.Spec"]) -> None:
        """Record in one go what the closures of ``specs`` add: their globals are set once, and not for each spec."""
        with SPACK_LOCK, contextlib.suppress(Exception):  # of a recipe: it comes again, for its own package
            self._record(specs, self._graph.closure(specs))

    def apply(self, specs: Sequence["spack.spec.Spec"], base: Dict[str, str]) -> Dict[str, str]:
        """``base`` with the run environment of ``specs``."""
        with SPACK_LOCK:
            found, kind = self._recorded(specs)
            if found is not None and kind in self._checked:
                return self._modified(base, found)
            expected = spack.user_environment.environment_modifications_for_specs(*specs)
            result = dict(base)
            expected.apply_modifications(result)
            if found is not None:
                same = _comparable(found) == _comparable(expected)
                self._trusted = same and self._modified(base, found) == result
                self._checked.add(kind)
            return result

    def _recorded(self, specs: Sequence["spack.spec.Spec"]) -> Tuple[Optional[List], FrozenSet[str]]:
        """Modifications from records, if that is possible, and the kind of closure."""
        try:
            closure = self._graph.closure(specs)
            kind = self._kind(closure)
            found = self._from_records(specs, closure) if self._trusted and self._usual(closure) else None
            return found, kind
        except Exception:  # not lost: if it is a recipe's, Spack's function raises it again
            return None, frozenset()

    def _modified(self, base: Dict[str, str], modifications: Iterable[Any]) -> Dict[str, str]:
        """As ``apply_modifications``: each looks at its own variable only, so it takes no grouping by variable."""
        result = dict(base)
        for one in modifications:
            if type(one) is PrependPath:  # most are: in Spack's own way, the same path is made normal again and again
                behind = result.get(one.name)
                path = self._normal_path(one)
                result[one.name] = f"{path}{one.separator}{behind}" if behind else path
            else:
                one.execute(result)
        return result

    def _normal_path(self, prepend: PrependPath) -> str:
        path = self._normal_paths.get(prepend.value)
        if path is None:
            alone: Dict[str, str] = {}
            prepend.execute(alone)
            path = self._normal_paths[prepend.value] = alone[prepend.name]
        return path

    def _kind(self, closure: Closure) -> FrozenSet[str]:
        """What of Spack's algorithm a closure needs."""
        kind = {trait for node in closure.topological for trait in self._added[node].traits}
        if len(closure.topological) > 1:
            kind.add("dependencies")
        if len(closure.topological) > len(closure.runnable):
            kind.add("not run")
        return frozenset(kind)

    def _usual(self, closure: Closure) -> bool:
        """Whether a spec is one object, and each package has the globals of its modules for itself: where there is
        another version of it, or a package that inherits from it, one gets those of the other."""
        nodes = closure.topological
        recipes = [recipe for node in nodes for recipe in self._added[node].recipes]
        return len({node.dag_hash for node in nodes}) == len(nodes) and len(set(recipes)) == len(recipes)

    def _from_records(self, specs: Sequence["spack.spec.Spec"], closure: Closure) -> Optional[List]:
        """None when a record cannot be made, or not be used."""
        lists = self._lists(closure)
        if None in lists:
            self._record(specs, closure)
            lists = self._lists(closure)
        if None in lists:
            return None
        return [one for added in lists for one in added or ()]

    def _lists(self, closure: Closure) -> List[Optional[List]]:
        """What the closure adds, in the order of ``environment_modifications_for_specs``: first prefixes; then, as
        ``SetupContext.get_env_modifications`` has it, externals before others. None for what is not recorded, and for
        what a package adds that looks at what was added before: that depends on the closure."""
        lists: List[Optional[List]] = [self._added[node].prefix for node in closure.topological]
        nodes = set(closure.topological)
        for node in closure.setup:
            added = self._added[node]
            if node in closure.runnable:
                lists.append(added.programs)
            lists += [added.for_dependents.get(d) for d in added.dependents if d in nodes]
            lists.append(None if added.looked else added.own)
        return lists

    def _record(self, specs: Sequence["spack.spec.Spec"], closure: Closure) -> None:
        """Call the set-up methods that were not called yet, with the globals set as Spack sets them for ``specs``.

        Packages whose modules get the globals of others in this closure are left out; they are alone in theirs.
        """
        nodes = set(closure.topological)
        recipes = Counter(recipe for node in nodes for recipe in self._added[node].recipes)
        waiting = [
            node
            for node in closure.setup
            if self._added[node].waits(nodes) and all(recipes[r] == 1 for r in self._added[node].recipes)
        ]
        if waiting:
            context = spack.build_environment.SetupContext(*specs, context=Context.RUN)
            context.set_all_package_py_globals()
        for node in waiting:
            self._added[node].record(nodes)


class SpecGraph(RuntimeGraph):
    """Of Spack's objects. As in its traversals, each is a node of its own."""

    def identity(self, spec: "spack.spec.Spec") -> int:
        return id(spec)

    def hash_of(self, spec: "spack.spec.Spec") -> str:
        return spec.dag_hash()

    def is_external(self, spec: "spack.spec.Spec") -> bool:
        return spec.external

    def edges_of(self, spec: "spack.spec.Spec") -> List[Tuple["spack.spec.Spec", bool]]:
        edges = traverse.sort_edges(spec.edges_to_dependencies(depflag=dt.LINK | dt.RUN))
        return [(edge.spec, bool(edge.depflag & dt.RUN)) for edge in edges]


class _Added:
    """What a spec adds to the environments of closures that it is in: modifications, or None where a set-up method has
    yet to be called."""

    def __init__(self, node: Node, graph: RuntimeGraph) -> None:
        spec = node.spec
        self.package = spec.package
        self.recipes = _recipes_of(self.package.__class__)
        self.looked = False
        self.traits: Set[str] = {"external"} if node.external else set()
        self.prefix: List = _inspect(spec)
        self.programs: List = _programs(spec)
        self.own: Optional[List] = _of_external(spec)
        if self.own:
            self.traits.add("configured")
        if _overrides(self.package, "setup_run_environment"):
            self.traits.add("run")
            self.own = None
        #: dependents whose environments the package may add to, in Spack's order
        self.dependents: List[Node] = []
        self.for_dependents: Dict[Node, List] = {}
        if _overrides(self.package, "setup_dependent_run_environment"):
            self.traits.add("dependents")
            self.dependents = [graph.node(d) for d in spec.dependents(deptype=dt.LINK | dt.RUN)]

    def waits(self, nodes: Set[Node]) -> bool:
        unmet = (d for d in self.dependents if d in nodes and d not in self.for_dependents)
        return not self.looked and (self.own is None or any(unmet))

    def record(self, nodes: Set[Node]) -> None:
        for dependent in self.dependents:
            if dependent in nodes and dependent not in self.for_dependents:
                found = self._call(self.package.setup_dependent_run_environment, dependent.spec)
                self.for_dependents[dependent] = found
        if self.own is None:
            self.own = self._call(self.package.setup_run_environment) + _of_external(self.package.spec)

    def _call(self, method: Any, *arguments: Any) -> List:
        env = spack.util.environment.EnvironmentModifications()
        additions = env.env_modifications = _Additions()
        method(env, *arguments)
        if env.env_modifications is not additions or additions.looked:
            self.looked = True
        return list(env.env_modifications)


class _Records(Dict[Node, _Added]):
    def __init__(self, graph: RuntimeGraph) -> None:
        super().__init__()
        self._graph = graph

    def __missing__(self, node: Node) -> _Added:
        self[node] = _Added(node, self._graph)
        return self[node]


class _Additions(list):
    """A list that notices when somebody does not only add to it."""

    looked = False

    def __iter__(self) -> Any:
        self.looked = True
        return super().__iter__()

    def __len__(self) -> int:
        self.looked = True
        return super().__len__()


def _inspect(spec: "spack.spec.Spec") -> List:
    """What a prefix itself contributes (``modules:prefix_inspections``)."""
    inspections = spack.user_environment.prefix_inspections(spec.platform)
    exclude = spack.util.environment.is_system_path
    return spack.util.environment.inspect_path(spec.prefix, inspections, exclude=exclude).env_modifications


def _programs(spec: "spack.spec.Spec") -> List:
    """What a prefix contributes when its programs are to be found."""
    found = spack.util.environment.EnvironmentModifications()
    spack.build_environment.SetupContext._make_runnable(None, spec, found)  # does not ask for what is set up
    return found.env_modifications


def _of_external(spec: "spack.spec.Spec") -> List:
    """What the configuration says of an external (``extra_attributes:environment``)."""
    environment = (spec.extra_attributes or {}).get("environment", {})
    return spack.schema.environment.parse(environment).env_modifications if environment else []


def _overrides(package: Any, method: str) -> bool:
    return getattr(type(package), method) is not getattr(spack.package_base.PackageBase, method)


@cache
def _recipes_of(package_class: type) -> Tuple[type, ...]:
    """The class, and those of other packages that it inherits from: their modules get its globals too."""
    return tuple(c for c in package_class.__mro__ if _RECIPE.search(c.__module__))


def _comparable(modifications: Iterable[Any]) -> List[Tuple[type, Any]]:
    return [(type(one), one) for one in modifications]
