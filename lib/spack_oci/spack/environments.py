# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The run environments of many specs, each as ``spack.user_environment.environment_modifications_for_specs`` has it.

Spack computes each from nothing: it looks into every prefix of the closure, and sets the globals of every module of a
package in it. For the packages of one push that is the same work over and over (2.5 of 3.5 ms of a small package), so
here the prefixes are looked into once, and globals are set again only where another spec of the package has set them.
"""

import contextlib
import re
import threading
from typing import Any, Dict, Sequence, Tuple

import spack.build_environment
import spack.spec
import spack.user_environment
import spack.util.environment
from spack import traverse

from .compat import Context

#: Spack imports package classes when it computes an environment; that is not safe in several threads
SPACK_LOCK = threading.Lock()

#: modules of package.py files, in repositories of Spack's package API 2 and 1
_RECIPE = re.compile(r"\.packages\.|^spack\.pkg\.")


class RunEnvironments:
    """Safe to use from many threads. What it remembers is true as long as no prefix changes."""

    def __init__(self) -> None:
        self._inspected: Dict[str, Any] = {}
        #: class of a package -> DAG hash of the spec that its module's globals are about
        self._globals: Dict[type, str] = {}
        self._recipes: Dict[type, Tuple[type, ...]] = {}

    def prepare(self, specs: Sequence["spack.spec.Spec"]) -> None:
        """Set the globals of all packages in the closures of ``specs`` in one go."""
        with SPACK_LOCK, contextlib.suppress(Exception):  # of a recipe: it comes again, for its own package
            self._set_globals(_context(specs))

    def apply(self, specs: Sequence["spack.spec.Spec"], base: Dict[str, str]) -> Dict[str, str]:
        """``base`` with the run environment of ``specs``."""
        result = dict(base)
        with SPACK_LOCK:
            self._modifications(specs).apply_modifications(result)
        return result

    def _modifications(self, specs: Sequence["spack.spec.Spec"]) -> Any:
        found = spack.util.environment.EnvironmentModifications()
        closure = traverse.traverse_nodes(list(specs), root=True, deptype=("run", "link"), order="topo")
        for spec in reversed(list(closure)):
            found.extend(self._inspect(spec))
        context = _context(specs)
        self._set_globals(context)
        found.extend(context.get_env_modifications())
        return found

    def _inspect(self, spec: "spack.spec.Spec") -> Any:
        """What the prefix itself contributes (``modules:prefix_inspections``)."""
        dag_hash = spec.dag_hash()
        if dag_hash not in self._inspected:
            self._inspected[dag_hash] = spack.util.environment.inspect_path(
                spec.prefix,
                spack.user_environment.prefix_inspections(spec.platform),
                exclude=spack.util.environment.is_system_path,
            )
        return self._inspected[dag_hash]

    def _set_globals(self, context: Any) -> None:
        """Whatever is remembered was set by a context that held the spec's whole closure, and so all that is set for
        one package on behalf of another."""
        wanted = {
            recipe: spec.dag_hash()
            for spec, _ in (*context.external, *context.nonexternal)
            for recipe in self._recipes_of(type(spec.package))
        }
        if wanted.items() <= self._globals.items():
            return
        for recipe in wanted:  # should a package raise an error, nothing is known of them
            self._globals.pop(recipe, None)
        context.set_all_package_py_globals()
        self._globals.update(wanted)

    def _recipes_of(self, package_class: type) -> Tuple[type, ...]:
        """The class, and those of other packages that it inherits from: their modules get its globals too."""
        found = self._recipes.get(package_class)
        if found is None:
            found = tuple(c for c in package_class.__mro__ if _RECIPE.search(c.__module__))
            self._recipes[package_class] = found
        return found


def _context(specs: Sequence["spack.spec.Spec"]) -> Any:
    return spack.build_environment.SetupContext(*specs, context=Context.RUN)
