# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""docs/registries.md names tests: they exist."""

import re
from pathlib import Path

TESTS = Path(__file__).resolve().parents[2]


def test_the_tests_that_the_table_of_registries_names_exist():
    text = (TESTS.parent / "docs" / "registries.md").read_text()
    named = set(re.findall(r"`(?:[a-z]+/)*(test_[a-z0-9_]+)(?:\.py)?`", text))
    sources = {path.stem: path.read_text() for path in TESTS.rglob("test_*.py")}
    known = set(sources) | set(re.findall(r"^def (test_\w+)", "\n".join(sources.values()), re.MULTILINE))
    assert len(named) > 20 and not named - known
