# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Pushers whose requests to one registry come in any order: in the end the index has the packages of all of them."""

from typing import Any, Callable, List

import pytest
from spack_oci.index.read import fetch_index
from spack_oci.index.update.loop import merge_pushed, update_index
from spack_oci.index.update.read_package import read_package
from spack_oci.index.update.settings import Backoff, UpdateSettings
from support.memory_store import MemoryStore
from support.packages.cache_builder import QUICK, node, push_package, tag_of
from support.turns import SEEDS, in_turns


def push_in_turns(store: MemoryStore, names: List[List[str]], seed: int) -> List[BaseException]:
    """Each writer pushes its packages and merges them."""

    def push(writer: int, own: Any, take: Callable[[], None]) -> None:
        settings = UpdateSettings(jobs=1, backoff=Backoff(sleep=lambda seconds: take()))
        packages = [node(name) for name in names[writer]]
        for package in packages:
            push_package(own, [package])
        merge_pushed(own, [read_package(store, tag_of(package)) for package in packages], settings)

    return in_turns(store, len(names), seed, push)


@pytest.mark.parametrize("base", [[], ["base"]], ids=["no index", "an index"])
@pytest.mark.parametrize("writers", [2, 3, 5])
def test_the_index_has_all_packages_in_the_end(writers, base):
    names = [[f"p{i}", f"q{i}"] for i in range(writers)]
    wanted = {node(name)["hash"] for name in [*base, *sum(names, [])]}
    for seed in range(SEEDS):
        store = MemoryStore()
        for name in base:
            push_package(store, [node(name)])
            update_index(store, QUICK)
        assert not push_in_turns(store, names, seed), seed
        assert set(fetch_index(store).entries()) == wanted, f"seed {seed}"
