# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The layers of the library: imports point downwards, and only ``spack/`` knows Spack."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

LIBRARY = Path(__file__).resolve().parents[3] / "lib" / "spack_oci"

#: what each package or module may import of the library, besides itself and what it names may import
_BELOW = {
    "errors": [],
    "util": ["errors"],
    "descriptor": ["errors"],
    "reference": ["descriptor", "util"],
    "content": ["reference", "util"],
    "formats": ["content"],
    "registry": ["content"],
    "layout": ["content"],
    "package": ["content"],
    "relocate": ["formats", "content"],
    "archive": ["relocate"],
    "image": ["archive", "package"],
    "index": ["archive", "package"],
    "trust": ["index"],
    "operations": ["image", "index", "layout", "trust"],
    "specs": ["errors", "util"],
    "store": ["operations", "specs"],
    "catalog": ["store"],
    # what sub-commands on a cache as a whole do in both programs
    "maintenance": ["operations", "registry", "specs"],
    "configuration": ["index", "layout", "registry", "trust"],
    "commandline": ["util"],
    "cli": ["commandline", "catalog", "store", "configuration", "maintenance"],
    "__main__": ["cli"],
}


def _reachable(name):
    found = set(_BELOW[name])
    for below in _BELOW[name]:
        found |= _reachable(below)
    return found


ALLOWED = {name: _reachable(name) for name in _BELOW}


def modules():
    return sorted(LIBRARY.rglob("*.py"))


def imported_by(path):
    """(dotted name, is it ours) of every import in a module, also those in functions."""
    package = path.relative_to(LIBRARY).parent.parts
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name.split("."), alias.name.startswith("spack_oci")
        elif isinstance(node, ast.ImportFrom) and node.level:
            base = list(package[: len(package) - (node.level - 1)])
            name = base + (node.module.split(".") if node.module else [])
            for alias in node.names:
                yield (name or [alias.name]), True
        elif isinstance(node, ast.ImportFrom):
            yield node.module.split("."), node.module.startswith("spack_oci")


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(LIBRARY)))
def test_imports_point_downwards(path):
    top = path.relative_to(LIBRARY).parts[0].replace(".py", "")
    if top in ("spack", "__init__"):
        return
    assert top in ALLOWED, f"{top} has no place among the layers yet"
    for name, ours in imported_by(path):
        if ours:
            target = name[1] if name[0] == "spack_oci" else name[0]
            assert target == top or target in ALLOWED[top] | {"__version__"}, f"{path.name} imports {'.'.join(name)}"
        else:
            assert name[0] not in ("spack", "llnl"), f"{path.name} imports Spack"


def _module(path):
    parts = path.relative_to(LIBRARY).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imported_modules(path, known):
    """Modules of the library that one imports, also in functions; what is imported for types alone does not count."""
    package = path.relative_to(LIBRARY).parent.parts
    pending = [ast.parse(path.read_text())]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        pending += ast.iter_child_nodes(node)
        if isinstance(node, ast.ImportFrom) and node.level:
            base = ".".join([*package[: len(package) - (node.level - 1)], *filter(None, [node.module])])
            for alias in node.names:
                name = f"{base}.{alias.name}".strip(".")
                yield name if name in known else base


def test_no_module_needs_itself():
    """Nor by way of others, nor where an import is hidden in a function."""
    paths = {_module(path): path for path in modules()}
    needs = {name: {*_imported_modules(path, paths)} & set(paths) - {name} for name, path in paths.items()}
    while True:
        leaves = {name for name, needed in needs.items() if not needed}
        if not leaves:
            break
        needs = {name: needed - leaves for name, needed in needs.items() if name not in leaves}
    assert not needs, f"in a cycle, or above one: {sorted(needs)}"


def test_the_library_imports_without_spack():
    names = [
        ".".join(("spack_oci", *path.relative_to(LIBRARY).with_suffix("").parts))
        for path in modules()
        if path.relative_to(LIBRARY).parts[0] != "spack" and path.name != "__init__.py"
    ]
    for name in names:
        importlib.import_module(name)
    assert not [m for m in sys.modules if m == "spack" or m.startswith("spack.")]


def test_the_entry_points_import_nothing_heavy():
    """They run in every Spack command."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import spack_oci.spack.plugin, spack_oci.util.resources; "
        "heavy = {'requests', 'urllib3', 'zstandard', 'elftools', 'jsonschema', 'isal', 'ssl'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code, str(LIBRARY.parent)], check=True)
