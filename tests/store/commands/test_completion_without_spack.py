# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Completion of `spack-oci`, in real shells."""

import shutil
import subprocess

import pytest

LINES = ["spack-oci up", "spack-oci push --comp", "spack-oci export x --format oci-", "spack-oci completion fi"]
EXPECTED = ["update-index", "--compression", "oci-archive", "fish"]

#: what bash and zsh do when the tabulator is pressed
TRY = r"""
. "$1"; . "$1"
try() {
    COMP_LINE="$1"; COMP_POINT=${#COMP_LINE}; COMP_WORDS=(WORDS); COMP_CWORD=$((${#COMP_WORDS[@]}-1)); COMPREPLY=()
    FUNCTION
    echo "${COMPREPLY[*]}"
}
"""
BASH = TRY.replace("WORDS)", "$1)").replace("FUNCTION", "_spack_oci")
#: bashcompinit runs functions as a sh would; what does not begin with the word, zsh itself leaves out
ZSH = "autoload -U compinit; compinit -u -D\n" + TRY.replace("WORDS)", "${(z)1})").replace(
    "FUNCTION", "emulate sh -c _spack_oci"
)
FISH = "source $argv[1]\n" + "".join(f"complete -C '{line}'\n" for line in LINES)


@pytest.mark.parametrize("shell, code", [("bash", BASH), ("zsh", ZSH), ("fish", FISH)])
def test_commands_options_and_their_values_are_completed(shell, code, client, tmp_path):
    """Loaded twice, as happens."""
    if not shutil.which(shell):
        pytest.skip(f"needs {shell}")
    file = tmp_path / "script"
    file.write_text(client.run("completion", shell).stdout)
    if shell != "fish":
        code += "\n".join(f'try "{line}"' for line in LINES)
    words = {"bash": ["--norc", "-c", code, "x"], "zsh": ["-f", "-c", code, "x"], "fish": ["-N", "-c", code]}[shell]
    done = subprocess.run(
        [shell, *words, str(file)],
        env=client.env(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and not done.stderr, done.stderr
    found = [line.partition("\t")[0].split() for line in done.stdout.splitlines()]
    if shell == "zsh":
        found = [[w for w in words if w.startswith(line.split()[-1])] for words, line in zip(found, LINES)]
    assert found == [[word] for word in EXPECTED]


def test_another_shell_is_refused_with_those_that_are_known(client):
    done = client.run("completion", "ksh", check=False)
    assert done.returncode == 2 and "zsh" in done.stderr
