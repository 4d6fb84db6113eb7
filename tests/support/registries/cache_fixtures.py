# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Fixtures: registries that are started once, and empty caches in them. A conftest imports them."""

import itertools
import shutil
from pathlib import Path

import pytest
from support.spacks.caches import http_cache, layout_cache, tls_cache

from .docker_registry import PASSWORD, USER, docker_registry


@pytest.fixture(scope="session")
def http_registry():
    """A docker-registry that speaks plain http to everybody."""
    with docker_registry() as registry:
        yield registry


@pytest.fixture(scope="session")
def tls_registry():
    """A docker-registry with a certificate of a private CA and one user."""
    with docker_registry(auth="htpasswd", tls=True) as registry:
        yield registry


@pytest.fixture(scope="session")
def private_ca(tls_registry, tmp_path_factory) -> Path:
    """The CA's certificate, alone in a directory and named as skopeo wants it."""
    return Path(shutil.copy(tls_registry.ca, tmp_path_factory.mktemp("ca") / "ca.crt"))


@pytest.fixture(scope="session")
def new_cache(request, tmp_path_factory):
    """``new_cache("layout" | "http" | "tls")``: an empty cache that no other test knows."""
    numbers = itertools.count()

    def make(kind: str):
        if kind == "layout":
            return layout_cache(tmp_path_factory.mktemp("layout") / "cache")
        name = f"spack/cache-{next(numbers)}"
        if kind == "http":
            return http_cache(request.getfixturevalue("http_registry").host, name)
        registry = request.getfixturevalue("tls_registry")
        return tls_cache(registry.host, name, request.getfixturevalue("private_ca"), USER, PASSWORD)

    return make
