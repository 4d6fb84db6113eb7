# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The table of hooks is all that is replaced inside Spack, and `docs/hooks.md` describes all of it."""

import ast
import re
from pathlib import Path

import pytest
from spack_oci.spack.hooks.table import HOOKS

ROOT = Path(__file__).resolve().parents[3]
ADAPTER = [
    path for place in ("lib/spack_oci/spack", "cmd", "extension") for path in sorted((ROOT / place).rglob("*.py"))
]

#: assignments to attributes of objects that are ours, or are data which Spack's own callers set in the same way:
#: (file below lib/spack_oci/spack, target) -> why
PERMITTED = {
    ("oci.py", "subparsers.required"): "of argparse",
    ("common.py", "parser.parse_known_args"): "of argparse",
    ("key.py", "actions.required"): "of argparse",
    ("trust.py", "actions.required"): "of argparse",
    ("section.py", "module.schema"): "a module that is made here",
    ("section.py", "module.properties"): "a module that is made here",
    ("section.py", "scope.spack_oci"): "a scope that is made here",
    ("configuration/mirrors.py", "image.mirror"): "an object of our class",
    ("specs/environments.py", "env.env_modifications"): "an object that is made here",
    ("bulk/steps.py", "spec.package.installed_from_binary_cache"): "data, as Spack's installers set it",
    ("bulk/run.py", "package.installed_from_binary_cache"): "data, as Spack's installers set it",
    ("bulk/classic.py", "task.status"): "data, as Spack's installer sets it",
    ("bulk/steps.py", "clock.added"): "an object of our class",
    ("bulk/classic.py", "clock.added"): "an object of our class",
    ("hooks/after_import.py", "spec.loader.exec_module"): "of the import system, which is Python's",
    ("hooks/apply.py", "replaced.__spack_oci_original__"): "a function that is made here",
    ("hooks/uploader.py", "args.key"): "arguments that it hands on",
    ("hooks/uploader.py", "args.signed"): "arguments that it hands on",
    ("oci.py", "parser.parse_known_args"): "of the parser of this command alone",
    ("hooks/notices.py", "status.active_area_rows"): "data, as the method that it stands for sets it",
    ("hooks/notices.py", "status.dirty"): "data, as the method that it stands for sets it",
}
#: what may call setattr and delattr: it installs the table
INSTALLER = "hooks/apply.py"


def name_of(path):
    return str(path.relative_to(ROOT / "lib/spack_oci/spack")) if "spack_oci" in path.parts else path.name


def assigned_attributes(tree):
    """Dotted targets of assignments and deletions, but those of ``self``, of names without attributes, and of what is
    made by a call of a class in the same module."""
    for node in ast.walk(tree):
        targets = []
        if isinstance(node, (ast.Assign, ast.Delete)):
            targets = node.targets
        elif isinstance(node, (ast.AugAssign, ast.AnnAssign)):
            targets = [node.target]
        for target in targets:
            for part in ast.walk(target):
                if isinstance(part, ast.Attribute) and isinstance(part.ctx, (ast.Store, ast.Del)):
                    text = ast.unparse(part)
                    if not text.startswith(("self.", "cls.")):
                        yield text


@pytest.mark.parametrize("path", ADAPTER, ids=name_of)
def test_nothing_but_the_table_assigns_to_an_attribute_of_spack(path):
    tree = ast.parse(path.read_text())
    known = {target for file, target in PERMITTED if file == name_of(path)}
    own_data = {"outcome.index", "outcome.images", "result.sizes"}
    found = [t for t in assigned_attributes(tree) if t not in known | own_data]
    assert not found, f"add a hook to the table instead, or say in this test whose attribute it is: {found}"
    calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)]
    for call in calls:
        if call.func.id in ("setattr", "delattr"):
            permitted = name_of(path) == INSTALLER or ast.unparse(call.args[0]) in ("found", "self")
            assert permitted, f"{path.name}:{call.lineno}: {ast.unparse(call)}"


def rows():
    """purpose -> [kind, target, releases, ...] of the table in the document."""
    text = (ROOT / "docs" / "hooks.md").read_text()
    found = {}
    for section in re.split(r"^### ", text, flags=re.MULTILINE)[1:]:
        title, _, body = section.partition("\n")
        found[title.strip()] = body
    return found


def releases(hook):
    first = ".".join(map(str, hook.since))
    return f"{first} and later" if hook.until is None else f"{first} to {'.'.join(map(str, hook.until))}"


def test_the_document_describes_every_hook_and_no_other():
    assert list(rows()) == [hook.purpose for hook in HOOKS]


@pytest.mark.parametrize("hook", HOOKS, ids=lambda h: h.purpose.replace(" ", "-"))
def test_the_document_says_what_the_table_says(hook):
    body = " ".join(rows()[hook.purpose].split())
    for target in hook.targets:
        assert f"`{target}`" in body, "what it replaces"
    assert f"({hook.kind}" in body, "what kind of replacement it is"
    assert f"Spack {releases(hook)}" in body, "since when"
    assert "Why: " in body and "Without it: " in body
    assert f"`{hook.replacement}`" in body


@pytest.mark.parametrize("hook", HOOKS, ids=lambda h: h.purpose.replace(" ", "-"))
def test_a_replacement_is_where_the_table_says(hook):
    module, _, function = hook.replacement.partition(":")
    path = ROOT / "lib/spack_oci/spack" / (module.replace(".", "/") + ".py")
    assert function in {n.name for n in ast.parse(path.read_text()).body if isinstance(n, ast.FunctionDef)}


def test_purposes_are_unique():
    assert len({hook.purpose for hook in HOOKS}) == len(HOOKS)
