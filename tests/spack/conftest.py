# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Real Spack, twice: every test that uses ``built`` runs on each supported version.

The test packages are built once a version, by vanilla Spack; everybody pushes from that one install tree.
"""

import os
from pathlib import Path

import pytest
from support import spack_instance
from support.spack_instance import SpackInstance, Unavailable

#: long enough for every tree that a test installs into, as Spack's documentation advises for build caches
PADDED_LENGTH = 160


def obtain(function, *arguments):
    """What ``function`` returns; when it cannot be had: skip, or fail where Spack is required."""
    try:
        return function(*arguments)
    except Unavailable as e:
        if os.environ.get("SPACK_OCI_REQUIRE_SPACK") == "1":
            pytest.fail(f"SPACK_OCI_REQUIRE_SPACK=1, and {e}")
        pytest.skip(f"no Spack: {e}")


@pytest.fixture(scope="session", params=list(spack_instance.VERSIONS))
def spack_version(request) -> str:
    return request.param


@pytest.fixture(scope="session")
def spack_checkout(spack_version) -> Path:
    return obtain(spack_instance.checkout, spack_version)


@pytest.fixture(scope="session")
def vanilla_python() -> Path:
    return obtain(spack_instance.python, False)


@pytest.fixture(scope="session")
def our_python() -> Path:
    return obtain(spack_instance.python, True)


@pytest.fixture(scope="session")
def external_prefix(tmp_path_factory) -> Path:
    """One place for all, because the prefix of an external is part of a spec's hash."""
    return tmp_path_factory.mktemp("external")


@pytest.fixture(scope="session")
def built(spack_version, spack_checkout, vanilla_python, external_prefix, tmp_path_factory) -> SpackInstance:
    """Vanilla Spack in whose padded install tree all test packages are; do not change the tree."""
    home = tmp_path_factory.mktemp(f"built-{spack_version}-")
    spack = SpackInstance(spack_checkout, vanilla_python, home, external=external_prefix, padded_length=PADDED_LENGTH)
    spack.run("install", "oci-stack", "oci-private")
    spack.run("install", "oci-leaf@1.0")
    # Spack sets the modes of what it installs; other programs do not ask Spack
    odd = spack.prefix("oci-files") / "share" / "files" / "mode-0711"
    odd.chmod(0o711)
    return spack


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
