# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Tests use what the library offers: private names of it may change without notice."""

import ast
from pathlib import Path

TESTS = Path(__file__).resolve().parents[2]

#: the regular expressions without which metadata of a package is read one scalar at a time, with the same result
PERMITTED = {"relocate/test_relocate_mapping.py: _ITEMS", "relocate/test_relocate_mapping.py: _PAIRS"}


def is_private(name):
    return name.startswith("_") and not name.startswith("__")


def private_names(tree):
    """Those of the library that are imported, replaced, or taken from what was imported of it."""
    modules = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("spack_oci"):
            modules.update(alias.asname or alias.name for alias in node.names)
            yield from (alias.name for alias in node.names if is_private(alias.name))
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "setattr":
            for argument in node.args[:2]:
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    name = argument.value.rpartition(".")[2]
                    yield from [name] if is_private(name) else []
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules:
            yield from [node.attr] if is_private(node.attr) else []


def test_tests_know_no_private_name_of_the_library():
    found = set()
    for path in TESTS.rglob("test_*.py"):
        where = "/".join(path.parts[-2:])
        found.update(f"{where}: {name}" for name in private_names(ast.parse(path.read_text())))
    assert found == PERMITTED
