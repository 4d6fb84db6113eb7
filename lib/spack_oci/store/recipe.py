# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What the recipe of an installed package says, read and not run: Spack keeps a copy of it in ``.spack/repos``.

Of a class body, only plain values and the ``license`` directive are taken; what a recipe computes stays unknown.
"""

import ast
import os
from dataclasses import dataclass
from typing import Any, Dict, Iterator, List, Mapping, Optional, Tuple

from ..errors import InvalidSpec
from ..package.provenance import is_text, without_credentials
from ..specs.constraints import Constraint, Graph
from .layout import metadata_path

#: characters; the largest recipe has half of it. Of what is nested deeper than fits, Python 3.9 does not raise an
#: error but crash
_MAX_SIZE = 128 << 10
#: methods with which a recipe adds to a run environment
_SET_UP = frozenset(("setup_run_environment", "setup_dependent_run_environment"))


@dataclass(frozen=True)
class Recipe:
    """``values``: attributes of the class that are text; ``licenses``: (expression, when)."""

    values: Mapping[str, str]
    licenses: Tuple[Tuple[str, str], ...] = ()
    #: it adds something to run environments, of its own package or of others
    sets_environment: bool = False

    def provenance(self, node: Mapping[str, Any], graph: Graph) -> Dict[str, str]:
        """See :attr:`spack_oci.package.record.Package.provenance`."""
        found = {text for text, when in self.licenses if _applies(when, node, graph)}
        source = next((self.values[key] for key in ("git", "homepage", "url") if key in self.values), "")
        licenses = (f"({one})" if " OR " in one and len(found) > 1 else one for one in sorted(found))
        return {"licenses": " AND ".join(licenses), "source": without_credentials(source)}


NO_RECIPE = Recipe({})


def recipe_of(prefix: str, name: str) -> Recipe:
    """:data:`NO_RECIPE` where there is none, or none that can be read."""
    path = _find(prefix, name)
    if path is None:
        return NO_RECIPE
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read(_MAX_SIZE + 1)
        tree = ast.parse(text if len(text) <= _MAX_SIZE else "")
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        # the last two are how Python says that too much is within each other, whatever memory there is
        return NO_RECIPE
    classes = [statement for statement in tree.body if isinstance(statement, ast.ClassDef)]
    wanted = name.replace("-", "").replace("_", "").lower()
    for one in classes:
        if one.name.lower().lstrip("_") == wanted:
            return _read(one)
    return _read(classes[0]) if classes else NO_RECIPE


def _find(prefix: str, name: str) -> Optional[str]:
    """Of the package itself: the repositories of its dependencies are beside it."""
    directories = {name, name.replace("-", "_")}
    for directory, _, files in os.walk(metadata_path(prefix, "repos")):
        path = os.path.join(directory, "package.py")
        # a pipe would be waited for
        if "package.py" in files and os.path.basename(directory).lstrip("_") in directories and os.path.isfile(path):
            return path
    return None


def _read(recipe: ast.ClassDef) -> Recipe:
    values: Dict[str, str] = {}
    licenses: List[Tuple[str, str]] = []
    methods = set()
    for statement in recipe.body:
        if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Constant):
            for target in statement.targets:
                if isinstance(target, ast.Name) and is_text(statement.value.value):
                    values[target.id] = str(statement.value.value)
        elif isinstance(statement, ast.Expr):
            licenses += _licenses(statement.value)
        elif isinstance(statement, ast.FunctionDef):
            methods.add(statement.name)
    return Recipe(values, tuple(licenses), bool(methods & _SET_UP))


def _licenses(call: ast.expr) -> Iterator[Tuple[str, str]]:
    if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "license" and call.args):
        return
    when = next((keyword.value for keyword in call.keywords if keyword.arg == "when"), ast.Constant(""))
    if isinstance(call.args[0], ast.Constant) and isinstance(when, ast.Constant):
        license, condition = call.args[0].value, when.value or ""
        if is_text(license) and is_text(condition):
            yield str(license), str(condition)


def _applies(when: str, node: Mapping[str, Any], graph: Graph) -> bool:
    if not when.strip():
        return True
    try:
        return Constraint.parse(when).matches(node, graph)
    except InvalidSpec:
        return False
