# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Real Spack, twice: every test that uses ``built`` runs on each supported version.

The test packages are built once a version, by vanilla Spack; everybody pushes from that one install tree.
"""

from pathlib import Path

import pytest
from support.registries.cache_fixtures import http_registry, new_cache, private_ca, tls_registry  # noqa: F401
from support.spacks import spack_instance
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
