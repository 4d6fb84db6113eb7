# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The ``oci`` section of Spack's configuration: its schema and its defaults, for the table of hooks to register."""

import copy
import functools
import os
import sys
import types
from typing import Any, Callable, Dict, List

import spack.config

from ..util.resources import SECTION, defaults_of, read_schema

_SCOPE = "oci-defaults"


@functools.lru_cache(None)
def schema() -> Dict[str, Any]:
    """Of a file with the section. One object in this process; not to be changed."""
    return read_schema(SECTION)


@functools.lru_cache(None)
def defaults() -> Dict[str, Any]:
    """All keys that have a default. Not to be changed: it is read for every package of an install."""
    return defaults_of(schema()["properties"][SECTION])


def schema_entry() -> Dict[str, Any]:
    """For tables of Spack from the name of a section to the schema of its file."""
    return {SECTION: schema()}


def property_entry() -> Dict[str, Any]:
    """For the ``properties`` of every schema that admits all sections, as ``spack.yaml``'s does."""
    return dict(schema()["properties"])


def schema_module() -> types.ModuleType:
    """``spack.schema.oci``, as every section has a module."""
    module = types.ModuleType(f"spack.schema.{SECTION}")
    module.schema = schema()  # type: ignore[attr-defined]
    module.properties = schema()["properties"]  # type: ignore[attr-defined]
    sys.modules[module.__name__] = module
    return module


def push_defaults(mark: Any) -> None:
    """Add the defaults as the lowest scope but Spack's own defaults. ``mark``: what is pickled with the scope.

    We are called in the middle of the construction of the configuration. Since 1.1 the unfinished object can be had
    from the singleton; in 1.0 it is only seen by the next call of ``push_scope``, see :func:`push_defaults_first`.
    """
    unfinished = getattr(spack.config.CONFIG, "_instance", None)
    if unfinished is not None:
        unfinished.push_scope(_defaults_scope(mark), priority=_lowest_priority())
    elif not hasattr(spack.config.Configuration, "push_scope_incremental"):
        _waiting.append(_defaults_scope(mark))


#: the scope, until a configuration has it
_waiting: "list[spack.config.InternalConfigScope]" = []


def push_defaults_first(original: Callable, self: Any, *args: Any, **kwargs: Any) -> Any:
    """Hook of ``Configuration.push_scope`` of Spack 1.0."""
    if _waiting:
        original(self, _waiting.pop(), priority=_lowest_priority())
    return original(self, *args, **kwargs)


def included_scopes(original: Callable, scope: "spack.config.ConfigScope") -> "List[spack.config.ConfigScope]":
    """Hook of ``ConfigScope.included_scopes``: a ``spack.yaml`` includes the ``oci.yaml`` beside it, if there is one.

    Before what it includes by name, so its settings are above those, and below an ``oci:`` key of the ``spack.yaml``.
    """
    found = original(scope)
    if getattr(scope, "yaml_path", None) == ["spack"]:
        file = os.path.join(os.path.dirname(os.path.abspath(scope.path)), f"{SECTION}.yaml")
        if not any(_reads(one, file) for one in found) and os.path.isfile(file):
            name = f"{scope.name}:{SECTION}.yaml"
            found.insert(0, spack.config.SingleFileScope(name, file, schema(), writable=False))
    return found


def _reads(scope: "spack.config.ConfigScope", file: str) -> bool:
    path = os.path.abspath(getattr(scope, "path", ""))
    return file in (path, os.path.join(path, os.path.basename(file)))


def _defaults_scope(mark: Any) -> "spack.config.InternalConfigScope":
    scope = spack.config.InternalConfigScope(_SCOPE, {SECTION: copy.deepcopy(defaults())})
    scope.spack_oci = mark  # type: ignore[attr-defined]
    return scope


def _lowest_priority() -> int:
    priorities = spack.config.ConfigScopePriority
    return priorities.DEFAULTS if hasattr(priorities, "DEFAULTS") else priorities.BUILTIN
