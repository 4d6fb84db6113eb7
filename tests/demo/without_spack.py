# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The story of the demo where no Spack can be had: the same packages, cache and trees, by `spack-oci` alone."""

import json
import os
import subprocess
from pathlib import Path
from typing import Optional, Sequence

from support.spacks.spack_instance import REPOSITORY
from support.spacks.stack_checks import check_prefixes
from telling import DEMO, Clock, human, indented, say, shorten, size_of, title

ROOT = "oci-stack"
#: characters of the first tree, so that a longer one is a challenge and a shorter one is possible
LENGTH = 160


def tell(python: Path, registry_url: Optional[str], reason: str) -> None:
    """``reason``: why there is no Spack; ``registry_url``: the cache, or None for a directory."""
    clock = Clock()
    run = DEMO / "run"
    tree = run / "first-tree"
    tree = tree / ("x" * max(1, LENGTH - len(str(tree)) - 1))
    client = _Client(python, run / "home")
    say(f"No Spack could be had ({reason}): this is the demo without it.")
    say("Not shown therefore: a concretization, a build by Spack, and `spack install` from the cache.")
    say(f"Everything that is written is below {DEMO}")

    title(f"Compile a chain of C packages into a Spack store, {_tree(tree)}")
    say("    by the recipes in tests/spack/repo; names, hashes and dependencies as Spack 1.1.0 recorded them for these")
    with clock.step("build"):
        builder = REPOSITORY / "tests" / "support" / "spacks" / "build_store.py"
        subprocess.run([str(python), str(builder), str(tree)], check=True, stdin=subprocess.DEVNULL)
    client.show("list", "--store", tree)
    client.show("run", "--store", tree, "oci-app", "--", "hello")
    installed = size_of(tree)

    cache = registry_url or f"oci+file://{run / 'cache'}"
    title("Push them to a registry" if registry_url else "Push them; a directory is the cache")
    with clock.step("push"):
        client.show("push", tree, cache, ROOT)
    with clock.step("push again"):
        client.show("push", tree, cache, ROOT)

    title("Update the index, and see what the cache has")
    with clock.step("update-index"):
        client.show("update-index", cache)
    with clock.step("list"):
        client.show("list", "--long", cache)

    title("Remove every install")
    client.show("uninstall", "--store", tree, "--dependents", "oci-leaf@1.0", "oci-leaf@2.0", quiet=True)

    for word, root in (
        ("longer", run / ("another-tree-" + "y" * (LENGTH + 20 - len(str(run))))),
        ("shorter", run / "t"),
    ):
        title(f"Install from the cache into a different, {word} tree: {_tree(root)}")
        with clock.step(f"install ({word})"):
            client.show("install", cache, ROOT, "--store", root, quiet=True)
        client.show("list", "--store", root)
        client.show("run", "--store", root, "oci-app", "--", "hello")
        client.show("run", "--store", root, "--", "greet-long")
        prefixes = {p["name"]: Path(p["prefix"]) for p in client.json("list", "--store", root)["packages"]}
        check_prefixes(prefixes, root, foreign=[tree])

    title("What happened")
    for step, seconds in clock.steps:
        say(f"  {step:<20}{seconds:6.1f} s")
    say(f"  {'all of it':<20}{clock.elapsed():6.1f} s")
    cached = size_of(run / "registry" if registry_url else run / "cache")
    say(f"  {human(installed)} installed are {human(cached)} in the cache")
    say("No program or library of the other trees holds a path of the first one.")
    say(f"`make clean` removes {DEMO}")


class _Client:
    def __init__(self, python: Path, home: Path) -> None:
        self._program = [str(python), "-m", "spack_oci"]
        home.mkdir(parents=True)
        self._env = {**os.environ, "HOME": str(home), "XDG_CACHE_HOME": "", "XDG_CONFIG_HOME": ""}

    def show(self, *words: object, quiet: bool = False) -> None:
        arguments = [str(word) for word in words]
        say(f"$ spack-oci {' '.join(shorten(word) for word in arguments)}")
        output = self._run(arguments)
        if output.strip() and not quiet:
            say(indented(output))

    def json(self, *words: object) -> dict:
        return json.loads(self._run([*map(str, words), "--json"]))

    def _run(self, arguments: Sequence[str]) -> str:
        done = subprocess.run(
            [*self._program, *arguments], env=self._env, capture_output=True, text=True, stdin=subprocess.DEVNULL
        )
        output = done.stdout if "--json" in arguments else done.stdout + done.stderr
        assert done.returncode == 0, (
            f"spack-oci {' '.join(arguments)}: exit code {done.returncode}\n{output}{done.stderr}"
        )
        return output


def _tree(path: Path) -> str:
    return f"{shorten(str(path))} ({len(str(path))} characters)"
