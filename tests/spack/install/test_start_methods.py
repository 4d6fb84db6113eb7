# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Installs run in child processes; those that are not forked have the hooks too (macOS, Python 3.14).

A layout directory proves it: Spack alone cannot read one.
"""

import pytest
from support.spacks.stack_checks import check_stack


@pytest.fixture(scope="module")
def filled(built, our_python, new_cache, tmp_path_factory):
    cache = new_cache("layout")
    spack = built.sibling(tmp_path_factory.mktemp("pusher"), python=our_python)
    spack.use(cache)
    spack.run("oci", "push", "--update-index", "cache", "oci-app")
    return cache


@pytest.mark.parametrize("installer", ["old", "new"])
@pytest.mark.parametrize("method", [pytest.param("fork", marks=pytest.mark.one_spack), "spawn", "forkserver"])
def test_install_from_a_layout(method, installer, filled, destination):
    spack = destination(installer=installer)
    if spack.version == (1, 1) and (installer, method) == ("new", "forkserver"):
        pytest.skip("the new installer of Spack 1.1 hangs with forkserver, without this package too")
    directory = spack.home / "site"
    directory.mkdir()
    (directory / "sitecustomize.py").write_text(
        f"import multiprocessing\nmultiprocessing.set_start_method({method!r}, force=True)\n"
    )
    spack.environment["PYTHONPATH"] = str(directory)
    assert spack.script("import multiprocessing as m; print(m.get_start_method())").strip() == method
    spack.use(filled)
    spack.install_from_cache("oci-app")
    check_stack(spack, ("oci-app", "oci-middle", "oci-leaf"))


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_autopush_to_a_layout(method, new_cache, destination):
    """The push happens in the child as well."""
    cache = new_cache("layout")
    spack = destination()
    directory = spack.home / "site"
    directory.mkdir()
    (directory / "sitecustomize.py").write_text(
        f"import multiprocessing\nmultiprocessing.set_start_method({method!r}, force=True)\n"
    )
    spack.environment["PYTHONPATH"] = str(directory)
    spack.use(cache, autopush=True)
    spack.run("install", "--no-cache", "oci-leaf@1.0")
    assert any(tag.startswith("oci-leaf-1.0-") for tag in cache.tags())
