# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Benchmarks and checks by hand, which no other test runs: they start, and are where the documents say."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "Makefile", ROOT / ".ci/run", *ROOT.glob("docs/*.md")]
SCRIPTS = [
    path for path in ROOT.glob("tests/**/*.py") if "ArgumentParser(" in path.read_text() and "bench" in path.parts
]

START = """
import runpy, sys
for script in sys.argv[1:]:
    sys.argv[:] = [script, "--help"]
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as e:
        if e.code:
            print(script, e.code, file=sys.stderr)
    except Exception as e:
        print(script, repr(e), file=sys.stderr)
"""


def test_benchmarks_start():
    """All in one process, as most of what each costs is to import the same libraries."""
    done = subprocess.run([sys.executable, "-c", START, *map(str, SCRIPTS)], capture_output=True, text=True)
    assert len(SCRIPTS) > 10
    assert (done.returncode, done.stderr.splitlines()) == (0, [])


def test_files_that_documents_name_are_there():
    named = {
        (document.name, path)
        for document in DOCUMENTS
        for path in re.findall(
            r"\b(?:tests|docs|lib/spack_oci|examples|config_schema|share)/[\w./-]*\w\.\w+", document.read_text()
        )
    }
    assert len(named) > 50
    assert sorted((where, path) for where, path in named if not (ROOT / path).exists()) == []
