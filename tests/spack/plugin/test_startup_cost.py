# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What the installed package adds to every start of Spack: these modules, and none of another project.

Counted, not timed; ``tests/bench/bench_startup.py`` tells what they cost.
"""

import subprocess
from typing import Set

ADDED = {
    "spack_oci.errors",
    "spack_oci.spack.dependencies",
    "spack_oci.spack.hooks",
    "spack_oci.spack.hooks.after_import",
    "spack_oci.spack.hooks.apply",
    "spack_oci.spack.hooks.table",
    "spack_oci.spack.section",
    "spack_oci.util",
    "spack_oci.util.resources",
    "spack_oci.util.url_schemes",
}
#: of the command extension: `spack help` names every command
COMMAND = {"spack.extensions.oci.cmd.subcommands", "spack.extensions.oci.cmd.subcommands.parsers"}


def modules_of(spack, *command: str) -> Set[str]:
    env = {**spack.env(), "PYTHONPROFILEIMPORTTIME": "1"}
    done = subprocess.run(
        spack.argv(*command), env=env, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL
    )
    return {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}


def added_to(source, *command: str) -> Set[str]:
    return modules_of(source(ours=True), *command) - modules_of(source(ours=False), *command)


def test_spack_help(source):
    assert added_to(source, "help") == ADDED | COMMAND


def test_a_command_that_needs_nothing_of_ours(source):
    assert added_to(source, "arch") <= ADDED
