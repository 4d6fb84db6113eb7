# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Whether a document is plainly as a JSON Schema says, without a validator.

Nearly every document is, and to find that out with ``jsonschema`` costs a command 0.1 s (its import; `spack oci push`
with nothing to push takes 0.5 s) and 0.3 ms for each of the thousands of manifests that an index update reads. Here the
same schema is interpreted, as far as ours go. Whatever does not pass is for ``jsonschema`` to judge and to explain.
"""

import re
from typing import Any, Callable, Dict, Mapping

_TYPES: Dict[str, Callable[[Any], bool]] = {
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


def passes(document: Any, schema: Mapping[str, Any]) -> bool:
    """True: the document is valid. False says nothing: it may be valid, too."""
    return _Check(schema).passes(document, schema)


class _Check:
    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root

    def passes(self, value: Any, schema: Any) -> bool:
        if isinstance(schema, bool):
            return schema
        for keyword, wanted in schema.items():
            if keyword in _ANNOTATIONS:
                continue
            check = _KEYWORDS.get(keyword)
            if check is None or not check(self, value, wanted, schema):
                return False
        return True

    def type(self, value: Any, wanted: Any, schema: Any) -> bool:
        names = wanted if isinstance(wanted, list) else [wanted]
        return any(_TYPES[name](value) for name in names)

    def reference(self, value: Any, wanted: str, schema: Any) -> bool:
        defined = wanted.startswith(_DEFINITIONS)
        return defined and self.passes(value, self._root["$defs"][wanted[len(_DEFINITIONS) :]])

    def any_of(self, value: Any, wanted: Any, schema: Any) -> bool:
        return any(self.passes(value, each) for each in wanted)

    def const(self, value: Any, wanted: Any, schema: Any) -> bool:
        return not isinstance(value, (dict, list)) and type(value) is type(wanted) and value == wanted

    # -- of objects

    def required(self, value: Any, wanted: Any, schema: Any) -> bool:
        return not isinstance(value, dict) or all(key in value for key in wanted)

    def properties(self, value: Any, wanted: Any, schema: Any) -> bool:
        if not isinstance(value, dict):
            return True
        return all(self.passes(value[key], each) for key, each in wanted.items() if key in value)

    def additional_properties(self, value: Any, wanted: Any, schema: Any) -> bool:
        if not isinstance(value, dict):
            return True
        known = schema.get("properties", ())
        return all(self.passes(each, wanted) for key, each in value.items() if key not in known)

    def property_names(self, value: Any, wanted: Any, schema: Any) -> bool:
        return not isinstance(value, dict) or all(self.passes(key, wanted) for key in value)

    # -- of lists, strings and numbers

    def items(self, value: Any, wanted: Any, schema: Any) -> bool:
        return not isinstance(value, list) or all(self.passes(each, wanted) for each in value)

    def min_items(self, value: Any, wanted: int, schema: Any) -> bool:
        return not isinstance(value, list) or len(value) >= wanted

    def min_length(self, value: Any, wanted: int, schema: Any) -> bool:
        return not isinstance(value, str) or len(value) >= wanted

    def pattern(self, value: Any, wanted: str, schema: Any) -> bool:
        return not isinstance(value, str) or re.search(wanted, value) is not None

    def minimum(self, value: Any, wanted: float, schema: Any) -> bool:
        return type(value) not in (int, float) or value >= wanted

    def maximum(self, value: Any, wanted: float, schema: Any) -> bool:
        return type(value) not in (int, float) or value <= wanted


_KEYWORDS: Dict[str, Callable[[_Check, Any, Any, Any], bool]] = {
    "type": _Check.type,
    "$ref": _Check.reference,
    "anyOf": _Check.any_of,
    "const": _Check.const,
    "required": _Check.required,
    "properties": _Check.properties,
    "additionalProperties": _Check.additional_properties,
    "propertyNames": _Check.property_names,
    "items": _Check.items,
    "minItems": _Check.min_items,
    "minLength": _Check.min_length,
    "pattern": _Check.pattern,
    "minimum": _Check.minimum,
    "maximum": _Check.maximum,
}
