# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The ``oci`` section of Spack's configuration: its schema, its defaults, and where both are registered."""

import sys
import types
from typing import Any, Dict, Iterator

import spack.config
import spack.schema
import spack.schema.env
import spack.schema.merged

from ..util.resources import SECTION, defaults_of, read_schema
from .hooks.subprocess_hooks import ActivateOnUnpickling

_SCOPE = "oci-defaults"


def register() -> None:
    """Make ``oci`` a section like any other, in every scope and in ``spack.yaml``. Harmless when repeated."""
    if SECTION in spack.config.SECTION_SCHEMAS:
        return
    schema = read_schema(SECTION)
    module = types.ModuleType(f"spack.schema.{SECTION}")
    module.schema = schema  # type: ignore[attr-defined]
    module.properties = schema["properties"]  # type: ignore[attr-defined]
    section = schema["properties"][SECTION]
    tables = [*_property_tables()]  # first find everything, so that a Spack of another shape is left as it is
    for table in (spack.config.SECTION_SCHEMAS, spack.config._ALL_SCHEMAS):
        table[SECTION] = schema
    for properties in tables:
        properties[SECTION] = section
    sys.modules[module.__name__] = module
    setattr(spack.schema, SECTION, module)
    push_defaults(defaults_of(section))


def _property_tables() -> Iterator[Dict[str, Any]]:
    """The ``properties`` of every schema that admits all sections: ``spack.yaml``'s and that of merged sections."""
    environment = spack.schema.env.TOP_LEVEL_KEY
    yield spack.schema.env.properties[environment]["properties"]
    yield spack.config._ALL_SCHEMAS[environment]["properties"][environment]["properties"]
    merged = getattr(spack.schema.merged, "properties", None)  # until 1.1
    if merged is None:
        merged = spack.schema.merged.schema["properties"]
    yield merged


def push_defaults(defaults: Dict[str, Any]) -> None:
    """Add the defaults as the lowest scope but Spack's own defaults.

    We are called in the middle of the construction of the configuration. Since 1.1 the unfinished object can be had
    from the singleton; in 1.0 it is only seen by the next call of ``push_scope``.
    """
    scope = spack.config.InternalConfigScope(_SCOPE, {SECTION: defaults})
    scope.spack_oci = ActivateOnUnpickling()  # type: ignore[attr-defined]
    unfinished = getattr(spack.config.CONFIG, "_instance", None)
    if unfinished is not None:
        unfinished.push_scope(scope, priority=_lowest_priority())
        return

    original = spack.config.Configuration.push_scope

    def push_defaults_first(self: Any, *args: Any, **kwargs: Any) -> Any:
        spack.config.Configuration.push_scope = original
        self.push_scope(scope, priority=_lowest_priority())
        return self.push_scope(*args, **kwargs)

    spack.config.Configuration.push_scope = push_defaults_first


def _lowest_priority() -> int:
    priorities = spack.config.ConfigScopePriority
    return priorities.DEFAULTS if hasattr(priorities, "DEFAULTS") else priorities.BUILTIN
