# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Real Spack, twice: every test that uses ``built`` runs on each supported version.

The test packages are built once a version, by vanilla Spack; everybody pushes from that one install tree.
"""

import itertools
import shutil
from pathlib import Path

import pytest
from support.registries.docker_registry import PASSWORD, USER, docker_registry
from support.spacks import spack_instance
from support.spacks.caches import http_cache, layout_cache, tls_cache
from support.spacks.obtain import PADDED_LENGTH, obtain
from support.spacks.spack_instance import SpackInstance


@pytest.fixture(scope="session", params=list(spack_instance.VERSIONS))
def spack_version(request) -> str:
    return request.param


@pytest.fixture(scope="session")
def spack_checkout(spack_version) -> Path:
    return obtain(spack_instance.checkout, spack_version)


@pytest.fixture(params=list(spack_instance.SUPPORTED))
def bare_spack(request, our_python, tmp_path) -> SpackInstance:
    """Each supported version, with nothing installed: for what needs no packages."""
    return SpackInstance(
        obtain(spack_instance.checkout, request.param), our_python, tmp_path / "bare", external=tmp_path / "external"
    )


@pytest.fixture(scope="session")
def vanilla_python() -> Path:
    return obtain(spack_instance.python, False)


@pytest.fixture(scope="session")
def our_python() -> Path:
    return obtain(spack_instance.python, True)


@pytest.fixture(scope="session")
def built(spack_version) -> SpackInstance:
    """Vanilla Spack in whose padded install tree all test packages are; do not change the tree."""
    return obtain(spack_instance.built, spack_version, PADDED_LENGTH)


@pytest.fixture(autouse=True)
def _of_the_right_version(request):
    """A module with a ``spack_version`` of its own made the tests after it run on its version, whatever their names."""
    if "built" in request.fixturenames:
        expected = request.getfixturevalue("spack_checkout")
        assert request.getfixturevalue("built").checkout == expected


@pytest.fixture
def source(built, our_python, vanilla_python, tmp_path):
    """``source(ours=True)``: an instance with the install tree of ``built``, and its own configuration."""

    def make(ours: bool = True, name: str = "source", **changes) -> SpackInstance:
        return built.sibling(
            tmp_path / f"{name}-{'ours' if ours else 'vanilla'}",
            **{"python": our_python if ours else vanilla_python, **changes},
        )

    return make


@pytest.fixture
def destination(built, our_python, vanilla_python, tmp_path):
    """``destination(ours=True)``: an instance with an empty install tree of its own, not padded."""

    def make(ours: bool = True, name: str = "destination", **changes) -> SpackInstance:
        home = tmp_path / f"{name}-{'ours' if ours else 'vanilla'}"
        return built.sibling(
            home,
            **{"python": our_python if ours else vanilla_python, "tree": home / "opt", "padded_length": 0, **changes},
        )

    return make


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
