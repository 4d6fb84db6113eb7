# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Benchmarks and checks by hand, which no other test runs: they start, and are where the documents say."""

import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "Makefile", ROOT / ".ci/run", *ROOT.glob("docs/*.md")]
SCRIPTS = [
    path for path in ROOT.glob("tests/**/*.py") if "ArgumentParser(" in path.read_text() and "bench" in path.parts
]


def test_benchmarks_start():
    def start(script):
        return subprocess.run([sys.executable, script, "--help"], capture_output=True, text=True)

    with ThreadPoolExecutor(2) as pool:
        ended = dict(zip(SCRIPTS, pool.map(start, SCRIPTS)))
    assert len(ended) > 10
    assert {script.name: process.stderr for script, process in ended.items() if process.returncode} == {}


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
