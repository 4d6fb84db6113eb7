# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Options may stand anywhere between the words of a command, as users know it from other commands of Spack."""

import argparse
import ast
import importlib.util
import itertools
from pathlib import Path

import pytest
from spack_oci.cli import main as program
from spack_oci.cli import output
from spack_oci.registry.http.urls import set_command

COMMON = Path(__file__).resolve().parents[3] / "cmd" / "subcommands" / "common.py"


@pytest.fixture(scope="module")
def common():
    spec = importlib.util.spec_from_file_location("spack_oci_cmd_common", COMMON)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def parser(common):
    """`spack oci`, as argparse nests it in Spack, with a command that is like push and one that is like export."""
    root = argparse.ArgumentParser()
    commands = root.add_subparsers(dest="command")
    oci = commands.add_parser("oci").add_subparsers(dest="oci_command")
    for name, first in (("push", None), ("export", "destination")):
        made = oci.add_parser(name)
        if first:
            made.add_argument(first)
        made.add_argument("words", nargs="*")
        made.add_argument("--force", action="store_true")
        made.add_argument("--tag", action="append", default=[])
        common.allow_options_anywhere(made, "words")
    return root


def orders():
    """Every way to put two options among three words that keeps the words in their order."""
    for places in itertools.product(range(4), repeat=2):
        line = [["mirror"], ["a@1.0"], ["/abcdef"]]
        for place, option in sorted(zip(places, (["--force"], ["--tag", "x"])), reverse=True):
            line.insert(place, option)
        yield [word for part in line for word in part]


@pytest.mark.parametrize("line", list(orders()), ids=" ".join)
def test_options_anywhere(parser, line):
    args = parser.parse_args(["oci", "push", *line])
    assert (args.words, args.force, args.tag) == (["mirror", "a@1.0", "/abcdef"], True, ["x"])
    args = parser.parse_args(["oci", "export", *line])
    assert (args.destination, args.words, args.force, args.tag) == ("mirror", ["a@1.0", "/abcdef"], True, ["x"])


def test_an_unknown_option_is_not_a_word(parser, capsys):
    with pytest.raises(SystemExit):
        parser.parse_args(["oci", "push", "mirror", "--forse", "a@1.0"])
    assert "unrecognized arguments: --forse" in capsys.readouterr().err


def test_what_is_left_over_is_not_kept_for_the_next_command_line(parser):
    assert parser.parse_args(["oci", "push", "a", "--force", "b"]).words == ["a", "b"]
    assert parser.parse_args(["oci", "push", "c"]).words == ["c"]


COMMANDS = [*sorted((COMMON.parent).glob("*.py")), *sorted((COMMON.parents[2] / "lib" / "spack_oci").rglob("*.py"))]


def test_a_list_of_words_that_may_be_empty_is_not_called_required():
    """argparse names it among "the following arguments are required", unless it has a default."""
    lists = [
        (path.name, call.lineno, {keyword.arg for keyword in call.keywords})
        for path in COMMANDS
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call)
        and any(k.arg == "nargs" and getattr(k.value, "value", "") == "*" for k in call.keywords)
    ]
    assert len(lists) > 10 and not [found for found in lists if "default" not in found[2]]


@pytest.mark.parametrize(
    "line, said",
    [
        ("lst", "invalid choice: 'lst': did you mean list?"),
        ("key genrate", "invalid choice: 'genrate': did you mean generate?"),
        ("du CACHE --by versoin", "invalid choice: 'versoin': did you mean version?"),
        ("list CACHE --jsn", "unrecognized arguments: --jsn: did you mean --json?"),
        ("list CACHE --stroe=DIR", "unrecognized arguments: --stroe=DIR: did you mean --store?"),
        ("unpin CACHE a b", "unrecognized arguments: b: `spack-oci unpin --help` shows what there is"),
    ],
)
def test_what_a_mistyped_word_may_have_meant_is_said(line, said, capsys):
    with pytest.raises(SystemExit) as exit:
        program.parser().parse_args(line.split())
    assert exit.value.code == 2
    assert said in capsys.readouterr().err


def test_a_word_that_is_like_none_gets_all_that_there_are(capsys):
    with pytest.raises(SystemExit):
        program.parser().parse_args(["xyzzy"])
    assert "'install'" in capsys.readouterr().err


@pytest.mark.parametrize("host", ["ghcr.io", "registry.example.org:5000"])
@pytest.mark.parametrize(
    "setting, value", [("ca_bundle:/path/to/ca.pem", '"/path/to/ca.pem"'), ("max_retry_after:9", "9")]
)
def test_a_setting_is_told_as_each_program_has_it(host, setting, value, capsys, monkeypatch):
    monkeypatch.delenv("SPACK_OCI_CONFIG", raising=False)
    output.error(f"not known: set it: {set_command(host, setting)}")
    said = capsys.readouterr().err
    key = setting.partition(":")[0]
    assert f'put `{{"registries": {{"{host}": {{"{key}": {value}}}}}}}` into ~/.config/spack-oci/config.json' in said
