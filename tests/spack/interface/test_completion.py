# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Completion of `spack oci`: what is shipped is current, and works in the shells behind Spack's own; and man pages."""

import os
import re
import shutil
import subprocess

import pytest
from support.spacks.spack_instance import REPOSITORY, SpackFailed

BASH = r"""
spack() { :; }
. "$SPACK_ROOT/share/spack/spack-completion.bash"
. "$1"; . "$1"
try() {
    COMP_LINE="$1"; COMP_POINT=${#COMP_LINE}; COMP_WORDS=($1); COMP_CWORD=$((${#COMP_WORDS[@]}-1)); COMPREPLY=()
    _bash_completion_spack
    echo "${COMPREPLY[*]}"
}
try "spack oc"
try "spack oci up"
try "spack oci push --comp"
try "spack buildcache pus"
"""
EXPECTED = ["oci", "update-index", "--compression", "push"]
FISH = """
source $SPACK_ROOT/share/spack/spack-completion.fish; source $argv[1]
for line in "spack oc" "spack oci up" "spack oci push --comp" "spack buildcache pus"
    complete -C $line
end
"""


@pytest.mark.parametrize("bare_spack", ["1.0.2", "1.1.0"], indirect=True)
def test_what_is_shipped_is_what_is_generated(bare_spack):
    """By the releases of Spack; what develop's generators make may change any day."""
    for shell in ("bash", "fish"):
        shipped = REPOSITORY / "share" / "completion" / f"spack-oci.{shell}"
        made = bare_spack.run("oci", "completion", shell).stdout
        if os.environ.get("WRITE_COMPLETION"):
            shipped.write_text(made)
        assert without_descriptions(shipped.read_text()) == without_descriptions(made), "run `make completion`"


def without_descriptions(script):
    """Those that fish shows are the help texts, whose words change more often than what can be typed."""
    return re.sub(r" -d '(?:[^'\\]|\\.)*'", "", script)


def run_in(shell, spack, script, *arguments):
    """Run ``script`` in a real shell with the file that is shipped for it."""
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed")
    file = spack.run("oci", "completion", "--path", shell).stdout.strip()
    done = subprocess.run(
        [shell, *arguments, "-c", script, *(["x"] if shell != "fish" else []), file],
        env={**spack.env(), "SPACK_ROOT": str(spack.checkout)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and not done.stderr, done.stderr
    return done.stdout


def test_bash(bare_spack):
    """Loaded twice, as happens; Spack's own completion stays."""
    assert run_in("bash", bare_spack, BASH, "--norc").split() == EXPECTED


ZSH = r"""
autoload -U +X compinit; compinit -u -D; autoload -U +X bashcompinit; bashcompinit
spack() { :; }
. "$SPACK_ROOT/share/spack/spack-completion.bash"
. "$1"
try() {
    COMP_LINE="$1"; COMP_POINT=${#COMP_LINE}; COMP_WORDS=(${(z)1}); COMP_CWORD=$((${#COMP_WORDS}-1)); COMPREPLY=()
    _bash_completion_spack
    echo "${COMPREPLY[*]}"
}
try "spack oc"
try "spack oci up"
try "spack oci push --comp"
try "spack buildcache pus"
"""


@pytest.mark.one_spack
def test_zsh(bare_spack):
    """As Spack's setup-env does: zsh runs what is made for bash."""
    assert run_in("zsh", bare_spack, ZSH, "-f").split() == EXPECTED


def test_fish(bare_spack):
    found = [line.partition("\t")[0] for line in run_in("fish", bare_spack, FISH).splitlines()]
    assert found == EXPECTED


@pytest.mark.one_spack
def test_man_pages(bare_spack, tmp_path):
    """One for each sub-command, with its options; what takes man pages finds nothing odd in them."""
    directory = tmp_path / "man1"
    bare_spack.run("oci", "completion", "man", "--output", directory)
    pages = {page.name: page.read_text() for page in directory.iterdir()}
    assert {"spack-oci.1", "spack-oci-push.1", "spack-oci-update-index.1"} <= set(pages)
    assert r"\-\-compression ALGORITHM[:LEVEL]" in pages["spack-oci-push.1"]
    assert all(page.startswith('.TH "SPACK-OCI') and ".SH SYNOPSIS" in page for page in pages.values())
    if shutil.which("mandoc"):
        done = subprocess.run(
            ["mandoc", "-T", "lint", "-W", "error", *sorted(directory.iterdir())], capture_output=True
        )
        assert done.returncode == 0, done.stdout


@pytest.mark.one_spack
def test_a_reader_that_has_enough_is_no_error(bare_spack):
    with bare_spack.popen("oci", "completion", "bash") as process:
        process.stdout.close()  # as `| head` does
        _, said = process.communicate()
    assert process.returncode == 1 and said == ""


@pytest.mark.one_spack
def test_a_man_page_needs_a_directory(bare_spack):
    with pytest.raises(SpackFailed, match="--output"):
        bare_spack.run("oci", "completion", "man")


@pytest.mark.one_spack
def test_the_version(bare_spack):
    assert bare_spack.run("oci", "--version").stdout.startswith("spack-oci 0.")
