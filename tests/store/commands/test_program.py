# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The program itself: what it costs to start, what it says of itself, and that both programs have the same words."""

import argparse
import importlib
import os
import re
import subprocess
import sys

import pytest
from spack_oci.cli.main import main, parser
from spack_oci.commandline import definitions
from spack_oci.commandline.definitions import Program
from support.registries.fault_registry import fault_registry
from support.spacks.spack_instance import REPOSITORY

#: what takes long to import, and a command that only prints has no use for
HEAVY = {"requests", "urllib3", "zstandard", "elftools", "jsonschema", "isal", "ssl", "archspec", "cryptography"}


def imported_by(*arguments):
    return {name.partition(".")[0] for name in all_imported_by(*arguments)}


def all_imported_by(*arguments):
    code = (
        "import sys; from spack_oci.cli.main import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit:\n    pass\n"
        "print(*sorted(set(sys.modules)), file=sys.stderr)"
    )
    env = {"PYTHONPATH": str(REPOSITORY / "lib"), "PATH": "/usr/bin:/bin", "HOME": "/nonexistent"}
    env.update({k: v for k, v in os.environ.items() if k == "SPACK_OCI_CACHE"})
    done = subprocess.run([sys.executable, "-c", code, *map(str, arguments)], env=env, capture_output=True, text=True)
    return set(done.stderr.splitlines()[-1].split())


def test_help_imports_no_module_of_the_library_but_those_of_arguments():
    """The start is what each command costs at least: 100 ms are allowed, and modules can be counted anywhere."""
    slow = {"dataclasses", "inspect", "json", "threading", "subprocess"} - modules_of_argparse()
    for words in (["--help"], ["install", "--help"]):
        found = {m for m in all_imported_by(*words) if m.startswith("spack_oci.")}
        assert {m.split(".")[1] for m in found} <= {"cli", "commandline", "util"}, found
        assert len(found) <= 13, found
        assert not slow & all_imported_by(*words)


def modules_of_argparse():
    """What a program of this Python has that prints a help, which in 3.14 is more: it has colors."""
    code = "import argparse, sys; argparse.ArgumentParser().format_help(); print(*sys.modules)"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.split())


def test_a_command_makes_no_parser_of_another():
    assert list(parser("install")._subparsers._group_actions[0].choices) == ["install"]


def test_help_imports_nothing_that_takes_long():
    assert not imported_by("--help") & HEAVY
    assert not imported_by("install", "--help") & HEAVY


def test_listing_a_store_or_a_directory_needs_no_network_and_asks_no_processor(cache):
    assert not imported_by("list", cache) & {"requests", "urllib3", "ssl", "elftools", "archspec", "cryptography"}


def test_listing_a_registry_that_was_listed_before_asks_once_and_imports_little(cache, client, monkeypatch):
    """200 ms are allowed for 300 packages: a fifth of that would be the import of what has no use there."""
    with fault_registry() as registry:
        url = f"oci+http://{registry.host}/team/cache"
        client.run("copy", cache, url)
        client.run("list", url)
        before = len(registry.requests())
        monkeypatch.setenv("SPACK_OCI_CACHE", str(client.home / ".cache" / "spack-oci"))
        found = all_imported_by("list", url)
        assert [r.split()[0] for r in registry.requests()[before:]] == ["HEAD"]
        # nothing new: what it asks for, tags included, needs no session
        assert "requests" not in {name.partition(".")[0] for name in all_imported_by("update-index", url)}
    packages = {name.partition(".")[0] for name in found}
    assert "urllib3" in packages and not packages & (HEAVY - {"urllib3", "ssl", "zstandard"})
    assert not found & {"spack_oci.archive.codec", "spack_oci.content.blob_cache", "spack_oci.specs.constraints"}
    assert len([m for m in found if m.startswith("spack_oci")]) <= 90


def commands():
    return parser()._subparsers._group_actions[0].choices


def test_every_command_has_help_with_examples():
    for name, sub in commands().items():
        text = sub.format_help()
        assert re.search(rf"spack-oci {name} ", text) or name in ("rebuild-index", "sync"), name
        assert len(sub.description) > 20
        for group in sub._subparsers._group_actions if sub._subparsers else ():
            for action, parser_of_it in group.choices.items():
                assert re.search(rf"spack-oci {name} {action} ", parser_of_it.format_help()), (name, action)


@pytest.mark.parametrize("words", [["list", "stack.tar"], ["install", "stack.tar", "zlib", "--store", "tree"]])
def test_a_bundle_that_is_named_without_a_directory_is_found(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "stack.tar").touch()
    assert main(words) == 2
    assert "did you mean `./stack.tar`?" in capsys.readouterr().err


#: options of a command that only one of the programs can have, with the reason
ONLY_ONE_HAS = {
    "clean": {"--store"},  # with Spack it is the configured one
    "doctor": {"--store"},
    "repair": {"--store"},
    "show": {"--sbom"},
}


def options_of_spack_oci(wanted):
    """Sub-command -> its options, of those that are ``wanted``."""
    sys.path.insert(0, str(REPOSITORY / "cmd"))
    try:
        from subcommands import parsers

        found = {}
        for module in (module for module, names in parsers.SUBCOMMANDS.items() if wanted.intersection(names)):
            subparsers = argparse.ArgumentParser().add_subparsers()
            importlib.import_module(f"subcommands.{module}").add_parser(subparsers)
            found.update({name: options_of(made) for name, made in subparsers.choices.items()})
        return found
    finally:
        sys.path.pop(0)


def options_of(made):
    return {option for action in made._actions for option in action.option_strings}


def test_commands_of_both_programs_have_the_same_options():
    without = {name: options_of(made) for name, made in commands().items()}
    of_caches = {"copy", "du", "pin", "pins", "prune", "repair", "snapshot", "snapshots", "unpin", "verify"}
    same = {"login", "logout", "clean", "doctor", "catalog", "show", "sign", "update-index", *of_caches}
    with_spack = options_of_spack_oci(same)
    assert same <= with_spack.keys() and same <= without.keys()
    for name in sorted(same):
        assert with_spack[name] ^ without[name] <= ONLY_ONE_HAS.get(name, set()), name


@pytest.mark.parametrize("add", ["add_login", "add_logout", "add_clean", "add_doctor"])
def test_examples_in_a_shared_definition_name_the_program(add):
    for program in (Program("spack oci", "MIRROR", "mine", "help"), Program("spack-oci", "CACHE", "URL", "help")):
        made = getattr(definitions, add)(argparse.ArgumentParser().add_subparsers(), program)
        assert f"{program.name} {add[4:]}" in made.format_help()


def test_a_word_that_is_no_command_is_refused(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["instal"])
    assert caught.value.code == 2 and "instal" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words, right",
    [
        ("install hdf5 oci://ghcr.io/org/cache --store sw", "install oci://ghcr.io/org/cache hdf5"),
        ("install hdf5 zlib . --store sw", "install . hdf5 zlib"),
        ("push sw hdf5 oci://ghcr.io/org/cache", "push sw oci://ghcr.io/org/cache hdf5"),
    ],
)
def test_a_cache_after_the_specs_is_told_where_it_belongs(words, right, capsys):
    assert main(words.split()) == 2
    assert f"`spack-oci {right}`" in capsys.readouterr().err


def test_it_says_its_version(capsys):
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out.startswith("spack-oci ")


def test_an_interrupted_program_says_so_in_a_line(monkeypatch, capsys):
    from spack_oci.cli import main as program

    def interrupted(arguments):
        raise KeyboardInterrupt

    words = argparse.Namespace(command="list", run=interrupted)
    monkeypatch.setattr(program, "parser", lambda only: argparse.Namespace(parse_args=lambda arguments: words))
    assert program.main(["list"]) == 130
    assert capsys.readouterr().err == "Error: interrupted\n"
