# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What messages for users may hold: text, and no representation of an object of ours."""

import ast
from pathlib import Path

import pytest

LIBRARY = Path(__file__).resolve().parents[3] / "lib" / "spack_oci"

#: names of values that are objects of ours; strings may be shown in quotes
OBJECTS = {
    *("credentials", "request", "settings", "source", "store", "mirror"),
    *("descriptor", "package", "outcome", "error"),
}


def represented(tree):
    """(line, expression) of `{...!r}` and `repr(...)` in the messages of errors and warnings."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FormattedValue) and node.conversion == ord("r"):
            yield node.lineno, node.value
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "repr":
            yield node.lineno, node.args[0]


def last_name(expression):
    """``credentials`` of ``request.credentials`` and of ``credentials[0]``."""
    return ast.unparse(expression).partition("[")[0].rpartition(".")[2]


@pytest.mark.parametrize("path", sorted(LIBRARY.rglob("*.py")), ids=lambda p: str(p.relative_to(LIBRARY)))
def test_no_object_is_represented_in_a_message(path):
    tree = ast.parse(path.read_text())
    found = [(line, ast.unparse(e)) for line, e in represented(tree) if last_name(e) in OBJECTS]
    assert not found, f"{path.name}: {found}"
