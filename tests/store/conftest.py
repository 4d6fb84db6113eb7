# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Stores and caches without Spack: the test packages are built once, and pushed once."""

import shutil

import pytest
from support.registries.cache_fixtures import http_registry, new_cache, private_ca, tls_registry  # noqa: F401
from support.spacks.client import Client, build_store


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """A Spack store with all test packages, in a path of 130 characters and more; do not change it."""
    if not (shutil.which("gcc") or shutil.which("cc")):
        pytest.skip("needs gcc")
    return build_store(tmp_path_factory.mktemp("built") / ("long-" * 20) / "store")


@pytest.fixture(scope="session")
def cache(built, tmp_path_factory):
    """A layout with all of them, and an index; do not change it."""
    directory = tmp_path_factory.mktemp("cache") / "cache"
    Client(tmp_path_factory.mktemp("pusher")).run("push", "--update-index", built, directory)
    return directory


@pytest.fixture
def client(tmp_path):
    return Client(tmp_path / "home")


@pytest.fixture
def store(tmp_path):
    """A path for a store that is not there yet."""
    return tmp_path / "sw"
