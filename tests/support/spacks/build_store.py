# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""A Spack store without Spack: the test packages, made by their own recipes, with the specs that Spack gave them.

The recipes of ``tests/spack/repo`` are run as they are. What they import from Spack are a dozen functions, which stand
in here; so this is a program of its own, and never imported:

    python build_store.py STORE [NAME...]

What Spack decides (versions, hashes, dependencies) was recorded from a real Spack into ``recorded_nodes.json``. On a
machine with another architecture or operating system, these two are changed in the nodes, and the hashes stay.
"""

import argparse
import importlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import types
from pathlib import Path
from typing import Any, Dict, List

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[2] / "lib"))

from spack_oci.archive.unpack.install_manifest import contents_of, update_manifest  # noqa: E402
from spack_oci.specs.targets import family  # noqa: E402
from spack_oci.store.layout import make_directory  # noqa: E402
from spack_oci.store.machine import this_machine  # noqa: E402
from spack_oci.store.packages import StorePackages  # noqa: E402
from spack_oci.store.sbang import is_program, shorten_first_lines  # noqa: E402
from spack_oci.store.store import Store  # noqa: E402

REPOSITORY = HERE.parents[1] / "spack" / "repo"
#: what is asked for, unless names are given
ROOTS = ("oci-stack", "oci-private", "oci-leaf@1.0")


def recorded_nodes() -> Dict[str, Dict[str, Any]]:
    """DAG hash -> node, for this machine."""
    machine = this_machine()
    nodes = json.loads((HERE / "recorded_nodes.json").read_text())["nodes"]
    for node in nodes:
        node["arch"].update(platform_os=machine.os or "unknown", target=family(machine.target))
    return {node["hash"]: node for node in nodes}


# -- what recipes import from Spack ----------------------------------------------------------------------------------


class Prefix(str):
    """``prefix.bin.hello`` is a path below it."""

    def __getattr__(self, name: str) -> "Prefix":
        if name.startswith("__"):
            raise AttributeError(name)
        return Prefix(os.path.join(self, name))

    def join(self, path: str) -> "Prefix":  # type: ignore[override]
        return Prefix(os.path.join(self, path))


class Executable:
    def __init__(self, path: str) -> None:
        self._path = path

    def __call__(self, *arguments: str, output: Any = None) -> Any:
        argv = [self._path, *map(str, arguments)]
        done = subprocess.run(argv, check=True, stdout=subprocess.PIPE if output else None, text=True)
        return done.stdout


def which(*names: str, required: bool = False) -> Executable:
    found = next((path for path in map(shutil.which, names) if path), None)
    if found is None:
        sys.exit(f"none of {', '.join(names)} is on PATH")
    return Executable(found)


class Spec:
    """What a recipe asks of its spec."""

    def __init__(self, node: Dict[str, Any], builder: "Builder") -> None:
        self._node, self._builder = node, builder
        self.name, self.version = node["name"], node["version"]

    @property
    def prefix(self) -> Prefix:
        return Prefix(self._builder.prefixes[self._node["hash"]])

    @property
    def package(self) -> Any:
        return self._builder.recipe(self._node["name"])

    def dependencies(self) -> List["Spec"]:
        nodes = self._builder.nodes
        return [Spec(nodes[e["hash"]], self._builder) for e in self._node.get("dependencies", ()) if e["hash"] in nodes]

    def __getitem__(self, name: str) -> "Spec":
        pending = self.dependencies()
        while pending:
            found = pending.pop(0)
            if found.name == name:
                return found
            pending += found.dependencies()
        raise KeyError(name)


def stand_in() -> None:
    """Modules under the names that recipes import."""

    class Package:
        pass

    def directive(*_: Any, **__: Any) -> None:
        pass

    names = {
        "Executable": Executable,
        "InstallError": RuntimeError,
        "mkdirp": lambda *paths: [os.makedirs(path, exist_ok=True) for path in paths],
        "which": which,
        "run_before": lambda _: lambda method: method,
        **dict.fromkeys(("depends_on", "license", "redistribute", "version"), directive),
    }
    for name, members in (
        ("spack", {}),
        ("spack.package", names),
        ("spack_repo", {"__path__": [str(REPOSITORY / "spack_repo")]}),
        ("spack_repo.builtin_mock", {"__path__": []}),
        ("spack_repo.builtin_mock.build_systems", {"__path__": []}),
        ("spack_repo.builtin_mock.build_systems.generic", {"Package": Package}),
    ):
        module = types.ModuleType(name)
        vars(module).update(members)
        sys.modules[name] = module


# -- building --------------------------------------------------------------------------------------------------------


class Builder:
    def __init__(self, root: str) -> None:
        self.store = Store.open_or_create(root)
        self.store.prepare()
        self.nodes = recorded_nodes()
        self.prefixes = {h: self.store.layout.prefix_of(node) for h, node in self.nodes.items()}

    def recipe(self, name: str) -> Any:
        module = importlib.import_module(f"spack_repo.ocitest.packages.{name.replace('-', '_')}.package")
        return getattr(module, "".join(part.capitalize() for part in name.split("-")))()

    def find(self, word: str) -> str:
        name, _, version = word.partition("@")
        found = [n for n in self.nodes.values() if n["name"] == name and version in ("", n["version"])]
        return max(found, key=lambda node: node["version"])["hash"]

    def install(self, roots: List[str]) -> None:
        with self.store.database.transaction() as records:
            for root in roots:
                for dag_hash in self._order(root):
                    if not records.is_installed(dag_hash):
                        self._build(self.nodes[dag_hash])
                        records.add(self.nodes, dag_hash, self.prefixes)
                records.mark_explicit(root)
        records = self.store.database.read()
        packages = StorePackages(self.store, records)
        for dag_hash in records.installed():
            if not self.nodes[dag_hash].get("external"):
                self._finish(self.nodes[dag_hash], packages.document(dag_hash))

    def _order(self, root: str) -> List[str]:
        order: List[str] = []

        def visit(dag_hash: str) -> None:
            for edge in self.nodes[dag_hash].get("dependencies", ()):
                visit(edge["hash"])
            if dag_hash not in order and not self.nodes[dag_hash].get("external"):
                order.append(dag_hash)

        visit(root)
        return order

    def _build(self, node: Dict[str, Any]) -> None:
        prefix = Prefix(self.prefixes[node["hash"]])
        make_directory(os.path.dirname(prefix))
        os.makedirs(prefix)
        recipe = self.recipe(node["name"])
        with tempfile.TemporaryDirectory() as stage:
            recipe.stage = types.SimpleNamespace(path=stage)
            recipe.install(Spec(node, self), prefix)
        directory = Path(prefix, ".spack", "repos", "spack_repo", "ocitest", "packages", node["name"].replace("-", "_"))
        directory.mkdir(parents=True)
        source = REPOSITORY / "spack_repo" / "ocitest" / "packages" / directory.name / "package.py"
        shutil.copy(source, directory)

    def _finish(self, node: Dict[str, Any], document: Dict[str, Any]) -> None:
        """As Spack's hooks after an install."""
        prefix = self.prefixes[node["hash"]]
        path = os.path.join(prefix, ".spack", "spec.json")
        if os.path.exists(path):
            return
        with open(path, "w", encoding="utf-8") as file:
            json.dump(document, file)
        programs = [path for _, path, status in contents_of(prefix) if is_program(status)]
        shorten_first_lines(prefix, programs, self.store.layout.sbang_path)
        update_manifest(prefix)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("store")
    parser.add_argument("packages", nargs="*", default=list(ROOTS))
    arguments = parser.parse_args()
    stand_in()
    builder = Builder(os.path.abspath(arguments.store))
    builder.install([builder.find(word) for word in arguments.packages])


if __name__ == "__main__":
    main()
