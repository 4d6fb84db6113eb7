# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What long work shows: a line that is rewritten on a terminal, lines in a log, a document alone with --json."""

import json
import re

import pytest
from support.programs import terminals
from support.programs.terminals import REWRITTEN

pytestmark = pytest.mark.one_spack

COLUMNS = 80


def on_a_terminal(spack, *arguments):
    """What is written to a terminal of 80 columns."""
    code, shown = terminals.on_a_terminal(spack.argv(*arguments), spack.env(), spack.home, COLUMNS)
    assert code == 0, shown
    return shown


def bars(shown):
    """The states of the line that is rewritten."""
    return [part for part in shown.split(REWRITTEN) if re.match(r"\d+/\d+ ", part)]


@pytest.fixture
def pushed(source, new_cache):
    cache = new_cache("http")
    spack = source()
    spack.use(cache)
    spack.run("oci", "push", "--update-index", "cache", "oci-stack")
    return spack, cache


def test_installs_and_fetches(pushed, destination):
    _, cache = pushed
    spack = destination()
    spack.use(cache)
    shown = on_a_terminal(spack, "oci", "fetch", "oci-stack")
    assert re.search(r"\d+/[678] packages, .* of .* fetched", "\n".join(bars(shown))), shown
    assert "Fetched oci-leaf@" in shown

    shown = on_a_terminal(spack, "oci", "install", "oci-stack")
    assert any(re.match(r"\d+/[678] packages", bar) for bar in bars(shown)), shown
    assert f"[+] {spack.prefix('oci-stack')}" in shown
    assert all(len(bar.partition("\r")[0]) < COLUMNS for bar in bars(shown)), "it would wrap"
    assert shown.rpartition(REWRITTEN)[2].startswith("==> Installed"), "the line is gone in the end"


def test_a_log_has_lines_alone(pushed, destination):
    _, cache = pushed
    spack = destination()
    spack.use(cache)
    done = spack.run("oci", "install", "oci-stack")
    assert "\x1b[K" not in done.stdout + done.stderr and "\r" not in done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert len([line for line in lines if line.startswith("[+] ")]) == len(lines) - 1


def test_a_document_is_alone(pushed, destination):
    _, cache = pushed
    spack = destination()
    spack.use(cache)
    done = spack.run("oci", "install", "--json", "oci-stack")
    assert {p["status"] for p in json.loads(done.stdout)["packages"]} == {"installed"} and done.stderr == ""


def test_pushes_copies_and_index_updates(pushed, new_cache):
    spack, _ = pushed
    other = new_cache("http")
    shown = on_a_terminal(spack, "oci", "copy", "cache", other.url)
    assert any("tags" in bar for bar in bars(shown)) and re.search(r"\[\d+/\d+\] Copied oci-leaf-", shown), shown
    shown = on_a_terminal(spack, "oci", "update-index", "--full", "cache")
    assert any("tags read" in bar for bar in bars(shown)), shown
    shown = on_a_terminal(spack, "oci", "push", "--force", "cache", "oci-stack")
    assert any("packages" in bar for bar in bars(shown)) and "Pushed oci-leaf@" in shown, shown
