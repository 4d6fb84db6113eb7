# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Whether a document is plainly as a JSON Schema says, without a validator.

Nearly every document is, and to find that out with ``jsonschema`` costs a command 0.1 s (its import; `spack oci push`
with nothing to push takes 0.5 s) and 0.3 ms for each of the thousands of manifests that an index update reads. Here the
same schema becomes a function, as far as ours go. Whatever does not pass is for ``jsonschema`` to judge and to explain.
"""

import re
from typing import Any, Callable, Dict, List, Mapping

#: whether a value passes
Check = Callable[[Any], bool]

_TYPES: Dict[str, Check] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "integer": lambda value: type(value) is int,
    "number": lambda value: type(value) in (int, float),
}
_ANNOTATIONS = frozenset({"$schema", "$id", "$defs", "title", "description"})
_DEFINITIONS = "#/$defs/"


def plain_check(schema: Mapping[str, Any]) -> Check:
    """A function of a document. True: it is valid. False says nothing: it may be valid, too."""
    return _Compiler(schema).check(schema)


def _passes(value: Any) -> bool:
    return True


def _fails(value: Any) -> bool:
    return False


class _Compiler:
    """Each method but the first makes the check of one keyword. ``schema``: what the keyword stands in."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root
        self._defined: Dict[str, Check] = {}

    def check(self, schema: Any) -> Check:
        if isinstance(schema, bool):
            return _passes if schema else _fails
        checks: List[Check] = []
        for keyword, wanted in schema.items():
            if keyword in _ANNOTATIONS:
                continue
            compile_keyword = _KEYWORDS.get(keyword)
            if compile_keyword is None:
                return _fails
            checks.append(compile_keyword(self, wanted, schema))
        if len(checks) == 1:
            return checks[0]

        def passes(value: Any) -> bool:
            for check in checks:  # noqa: SIM110  # a generator takes longer than the checks
                if not check(value):
                    return False
            return True

        return passes

    def type(self, wanted: Any, schema: Any) -> Check:
        if isinstance(wanted, str):
            return _TYPES[wanted]
        return _any([_TYPES[name] for name in wanted])

    def reference(self, wanted: str, schema: Any) -> Check:
        if not wanted.startswith(_DEFINITIONS):
            return _fails
        name = wanted[len(_DEFINITIONS) :]
        if name not in self._defined:
            self._defined[name] = lambda value: self._defined[name](value)  # while it is made: it may refer to itself
            self._defined[name] = self.check(self._root["$defs"][name])
        return self._defined[name]

    def any_of(self, wanted: Any, schema: Any) -> Check:
        return _any([self.check(each) for each in wanted])

    def const(self, wanted: Any, schema: Any) -> Check:
        return lambda value: not isinstance(value, (dict, list)) and type(value) is type(wanted) and value == wanted

    # -- of objects

    def required(self, wanted: Any, schema: Any) -> Check:
        keys = frozenset(wanted)
        return lambda value: not isinstance(value, dict) or value.keys() >= keys

    def properties(self, wanted: Any, schema: Any) -> Check:
        checks = [(key, self.check(each)) for key, each in wanted.items()]

        def passes(value: Any) -> bool:
            if isinstance(value, dict):
                for key, check in checks:
                    if key in value and not check(value[key]):
                        return False
            return True

        return passes

    def additional_properties(self, wanted: Any, schema: Any) -> Check:
        known, check = frozenset(schema.get("properties", ())), self.check(wanted)
        return lambda value: (
            not isinstance(value, dict) or all(check(each) for key, each in value.items() if key not in known)
        )

    def property_names(self, wanted: Any, schema: Any) -> Check:
        check = self.check(wanted)
        return lambda value: not isinstance(value, dict) or all(map(check, value))

    # -- of lists, strings and numbers

    def items(self, wanted: Any, schema: Any) -> Check:
        check = self.check(wanted)
        return lambda value: not isinstance(value, list) or all(map(check, value))

    def min_items(self, wanted: int, schema: Any) -> Check:
        return lambda value: not isinstance(value, list) or len(value) >= wanted

    def min_length(self, wanted: int, schema: Any) -> Check:
        return lambda value: not isinstance(value, str) or len(value) >= wanted

    def pattern(self, wanted: str, schema: Any) -> Check:
        search = re.compile(wanted).search
        return lambda value: not isinstance(value, str) or search(value) is not None

    def minimum(self, wanted: float, schema: Any) -> Check:
        return lambda value: type(value) not in (int, float) or value >= wanted

    def maximum(self, wanted: float, schema: Any) -> Check:
        return lambda value: type(value) not in (int, float) or value <= wanted


def _any(checks: List[Check]) -> Check:
    def passes(value: Any) -> bool:
        for check in checks:  # noqa: SIM110  # the same
            if check(value):
                return True
        return False

    return passes


_KEYWORDS: Dict[str, Callable[[_Compiler, Any, Any], Check]] = {
    "type": _Compiler.type,
    "$ref": _Compiler.reference,
    "anyOf": _Compiler.any_of,
    "const": _Compiler.const,
    "required": _Compiler.required,
    "properties": _Compiler.properties,
    "additionalProperties": _Compiler.additional_properties,
    "propertyNames": _Compiler.property_names,
    "items": _Compiler.items,
    "minItems": _Compiler.min_items,
    "minLength": _Compiler.min_length,
    "pattern": _Compiler.pattern,
    "minimum": _Compiler.minimum,
    "maximum": _Compiler.maximum,
}
