# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What an operation is run in: a home, a store, a layout, a registry, each in a state copied from a template."""

import contextlib
import copy
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Dict, Iterator, Optional

from support.registries.fault_registry import FaultRegistry, fault_registry
from support.registries.fault_state import Repository
from support.spacks.client import build_store

from faults.machine import Machine, Run

PACKAGES = ("oci-leaf@1.0", "oci-codegen")
NAME = "team/cache"


@dataclass
class World:
    """``built``: a store that is read only; ``store``: where is installed."""

    root: Path
    built: Path
    machine: Machine
    registry: FaultRegistry

    @property
    def home(self) -> Path:
        return self.root / "home"

    @property
    def cache(self) -> Path:
        return self.home / "cache"

    @property
    def store(self) -> Path:
        return self.root / "sw"

    @property
    def layout(self) -> Path:
        return self.root / "layout"

    @property
    def url(self) -> str:
        return f"oci+http://{self.registry.host}/{NAME}"

    def run(self, *words: object, **more: object) -> Run:
        return self.machine.run(self.home, *words, **more)  # type: ignore[arg-type]


@dataclass
class Templates:
    """States by name: ``empty``, ``packages`` (no index yet), ``indexed``."""

    built: Path
    layouts: Dict[str, Path] = field(default_factory=dict)
    repositories: Dict[str, Optional[Repository]] = field(default_factory=lambda: {"empty": None})

    def put_layout(self, name: str, target: Path) -> None:
        if name != "empty":
            shutil.copytree(self.layouts[name], target, symlinks=True)

    def put_repository(self, name: str, registry: FaultRegistry) -> None:
        found = self.repositories[name]
        if found is not None:
            registry.repositories[NAME] = copy.deepcopy(found)


def make_templates(machine: Machine, directory: Path) -> Templates:
    """Pushes the packages once to each kind of store."""
    templates = Templates(build_store(directory / "built", *PACKAGES))
    for name, words in (("packages", ()), ("indexed", ("--update-index",))):
        layout = directory / name
        with fault_registry() as registry:
            for target in (layout, f"oci+http://{registry.host}/{NAME}"):
                done = machine.run(directory / "home", "push", *words, templates.built, target)
                assert done.code == 0, done.said
            templates.repositories[name] = copy.deepcopy(registry.repositories[NAME])
        templates.layouts[name] = layout
    return templates


@contextlib.contextmanager
def world(machine: Machine, templates: Templates, root: Path) -> Iterator[World]:
    """A new one below ``root``, which goes at the end."""
    root.mkdir(parents=True)
    os.makedirs(root / "home")
    try:
        with fault_registry() as registry:
            yield World(root, templates.built, machine, registry)
    finally:
        shutil.rmtree(root, ignore_errors=True)
