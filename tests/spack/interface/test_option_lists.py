# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Options that fingers know: those of Spack's push, list and install are in ours, or the help says why not."""

import json
import re

import pytest

OPTIONS = """
import argparse, json
import spack.cmd
import spack.cmd.buildcache, spack.cmd.install

def options(parser):
    return sorted(o for a in parser._actions for o in a.option_strings)

def child(parser, name):
    return next(a.choices[name] for a in parser._actions if isinstance(a, argparse._SubParsersAction))

def parser_of(module):
    parser = argparse.ArgumentParser()
    module.setup_parser(parser)
    return parser

buildcache, install = parser_of(spack.cmd.buildcache), parser_of(spack.cmd.install)
ours = parser_of(spack.cmd.get_module("oci"))
theirs = {"push": child(buildcache, "push"), "list": child(buildcache, "list"), "install": install}
print(json.dumps({
    name: {"theirs": options(parser), "ours": options(child(ours, name)), "help": child(ours, name).format_help()}
    for name, parser in theirs.items()
}))
"""


@pytest.fixture
def found(bare_spack):
    return json.loads(bare_spack.script(OPTIONS))


@pytest.mark.every_spack
def test_every_option_of_spacks_commands_is_there_or_explained(found):
    for name, lists in found.items():
        words = set(re.split(r"[\s,.;]+", lists["help"]))
        missing = [o for o in lists["theirs"] if o not in lists["ours"] and o not in words]
        assert not missing, f"spack oci {name} --help does not mention {missing}"


@pytest.mark.one_spack
def test_every_command_that_a_message_names_exists(bare_spack):
    """In messages, remedies, help texts and documents."""
    from support.spacks.spack_instance import REPOSITORY

    commands = set(re.findall(r"^    ([a-z-]+)", bare_spack.run("oci", "--help").stdout, re.MULTILINE))
    assert {"push", "doctor"} <= commands
    places = ("lib/**/*.py", "cmd/**/*.py", "docs/*.md", "README.md", "config_schema/*.json")
    for path in (path for place in places for path in REPOSITORY.glob(place)):
        text = path.read_text()
        named = set(re.findall(r"`(?:\$ )?spack oci ([a-z][a-z-]*)", text))
        assert named <= commands | {"commands"}, f"{path.name}: {named - commands}"


SUBCOMMANDS = """
import argparse, json, sys
import spack.cmd
import spack.cmd.buildcache

parser = argparse.ArgumentParser(prog="spack oci")
spack.cmd.get_module("oci").setup_parser(parser)
action = next(a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
table = sys.modules[type(action).__module__].SUBCOMMANDS

def loaded():
    return sorted(set(table) & {name.rpartition(".")[2] for name in sys.modules if ".subcommands." in name})

at_first = loaded()
assert action.choices["sync"] is action.choices["copy"] and action.choices["sync"].prog == "spack oci copy"
print(json.dumps({
    "at first": at_first,
    "for one": loaded(),
    "table": table,
    "made": {module: list(action.made([module])._name_parser_map) for module in table},
    "listed": [choice.dest for choice in action._choices_actions],
}))
"""


@pytest.mark.one_spack
def test_only_the_parser_of_the_subcommand_is_made(bare_spack):
    """All of them would cost each command 0.1 s; a help text has all of them, in the order of the table."""
    found = json.loads(bare_spack.script(SUBCOMMANDS))
    assert found["at first"] == [] and found["for one"] == ["copy"]
    assert found["made"] == found["table"]
    aliases = {"create", "rebuild-index", "sync"}
    assert found["listed"] == [name for names in found["table"].values() for name in names if name not in aliases]
