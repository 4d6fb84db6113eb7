# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Checks the small documents that others write against the JSON Schemas in ``config_schema/documents``.

Not for what comes in thousands in one document (the nodes of specs, the lines of an index): they are checked by hand.
``jsonschema`` is imported with the first document that is not plainly valid.
"""

import functools
from typing import Any, Iterable, TypeVar

from ..errors import InvalidContent
from .plain_schemas import Check, plain_check
from .resources import read_schema
from .text import visible

T = TypeVar("T")

_TYPES = {
    dict: "an object",
    list: "a list",
    str: "a string",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    type(None): "null",
}
_SCHEMA_TYPES = {
    "object": "an object",
    "array": "a list",
    "string": "a string",
    "boolean": "a boolean",
    "integer": "an integer",
    "number": "a number",
    "null": "null",
}


def validate(document: T, schema: str, label: str) -> T:
    """Return ``document`` if it is as ``config_schema/documents/SCHEMA.json`` says.

    Raises :class:`~spack_oci.errors.InvalidContent` that names the document (``label``) and the key that is wrong, and
    never a value: some of these documents hold secrets.
    """
    if _plain_check(schema)(document):
        return document
    error = next(_validator(schema).iter_errors(document), None)
    if error is not None:
        raise InvalidContent(f"{label} is not valid: {_explanation(error)}")
    return document


@functools.cache
def _plain_check(schema: str) -> Check:
    return plain_check(_schema(schema))


@functools.cache
def _validator(schema: str) -> Any:
    import jsonschema

    return jsonschema.Draft202012Validator(_schema(schema))


@functools.cache
def _schema(name: str) -> Any:
    return read_schema(f"documents/{name}")


def _explanation(error: Any) -> str:
    where = _path(error.absolute_path)
    if error.validator == "required":
        missing = next((key for key in error.validator_value if key not in error.instance), "")
        return f"{_path([*error.absolute_path, missing])} is missing"
    if error.validator == "type":
        wanted = error.validator_value if isinstance(error.validator_value, list) else [error.validator_value]
        return f"{where} is {_TYPES.get(type(error.instance), 'something')}, not " + " or ".join(
            _SCHEMA_TYPES[name] for name in wanted
        )
    if error.validator in ("pattern", "format"):
        return f"{where} is not {error.schema.get('title', 'of the expected form')}"
    if error.validator in ("const", "enum"):
        known = error.validator_value if error.validator == "enum" else [error.validator_value]
        return f"{where} is none of {', '.join(map(str, known))}"
    if error.validator == "minItems" and not error.instance:
        return f"{where} is empty"
    return f"{where} does not fit ({error.validator}: {str(error.validator_value)[:80]})"


def _path(keys: Iterable[Any]) -> str:
    """``layers[0].digest``; the whole document is "it"."""
    text = "".join(f"[{key}]" if isinstance(key, int) else f".{_shown(key)}" for key in keys)
    return text.lstrip(".") or "it"


def _shown(key: Any) -> str:
    """Keys are written by others, too."""
    return visible(str(key))[:80]
