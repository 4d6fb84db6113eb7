# SPDX-License-Identifier: (Apache-2.0 OR MIT)
import pytest
from spack_oci.errors import NotFound
from spack_oci.util.text import by_cause, counted, elided, wrapped_table


def test_lists_that_are_too_long():
    names = [str(number) for number in range(8)]
    assert elided(names[:6]) == "0, 1, 2, 3, 4, 5"
    assert elided(names) == "0, 1, 2, 3, 4, ... (3 more)"


@pytest.mark.parametrize("count, text", [(0, "0 packages"), (1, "1 package"), (2, "2 packages")])
def test_counts(count, text):
    assert counted(count, "package") == text


def failures(*messages):
    return [(f"p{number}@1.0/abcdefg", NotFound(text)) for number, text in enumerate(messages)]


def test_one_cause_is_said_once():
    """Although each message names another blob, size and tag."""
    digests = ["0123456789" * 6 + "abc" + end for end in "def"]
    messages = [
        f"sending sha256:{d} ({n} bytes) to h:5000/x:p-1.0-{h * 32}.spack: 401"
        for d, n, h in zip(digests, (5, 77, 3), "abc")
    ]
    lines = by_cause(failures(*messages))
    assert lines == [f"p0@1.0/abcdefg, p1@1.0/abcdefg, p2@1.0/abcdefg: {messages[0]}"]


def test_different_causes_have_a_line_each():
    lines = by_cause(failures("no space left", "wrong password", "no space left"))
    assert lines == ["p0@1.0/abcdefg, p2@1.0/abcdefg: no space left", "p1@1.0/abcdefg: wrong password"]


def test_a_package_that_its_message_names_is_not_named_twice():
    assert by_cause(failures("packing p0@1.0/abcdefg: it changed")) == ["packing p0@1.0/abcdefg: it changed"]
    assert len(by_cause(failures("packing p0@1.0/abcdefg: it changed", "packing p1@1.0/abcdefg: it changed"))) == 1


ROWS = [("ok", "url", "https://registry.example.org, repository team/cache"), ("FAIL", "push", "word " * 20 + "x" * 90)]


@pytest.mark.parametrize("columns", [40, 80, 140])
def test_a_table_on_a_terminal_is_no_wider_than_that(columns):
    lines = wrapped_table(ROWS, "    ", columns)
    assert max(map(len, lines)) < columns
    assert lines[0].startswith("    ok    url   https://reg") or columns == 40
    beside = " " * (16 if columns > 60 else 4)
    assert all(line.startswith((beside, "    ok", "    FAIL")) for line in lines)
    words = "".join(" ".join(row) for row in ROWS)
    assert "".join("".join(lines).split()) == "".join(words.split()), "nothing is lost"


def test_a_table_in_a_log_has_a_line_for_each_row():
    assert len(wrapped_table(ROWS, "    ", None)) == 2
