# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Options of `spack oci install` that mean what they mean in `spack install`."""

import pytest

pytestmark = pytest.mark.one_spack


@pytest.fixture(scope="module")
def cache(built, our_python, new_cache, tmp_path_factory):
    cache = new_cache("layout")
    spack = built.sibling(tmp_path_factory.mktemp("pusher"), python=our_python)
    spack.use(cache)
    spack.run("oci", "push", "--update-index", "cache", "oci-app")
    return cache


@pytest.fixture
def spack(destination, cache):
    instance = destination()
    instance.use(cache)
    return instance


def install(spack, *words, **kwargs):
    return spack.run("oci", "install", "--reuse", *words, **kwargs)


def explicit(spack):
    return set(spack.run("find", "-x", "--format", "{name}").stdout.split())


def names(spack):
    return set(spack.installed()) - {"oci-external"}


def test_only_dependencies_and_then_only_the_package(spack):
    done = install(spack, "--only", "package", "oci-app", check=False)
    assert done.returncode == 1 and "these dependencies are not installed: oci-" in done.stderr
    install(spack, "--only", "dependencies", "oci-app")
    assert names(spack) == {"oci-middle", "oci-leaf"} and explicit(spack) == set()
    install(spack, "--only", "package", "oci-app")
    assert names(spack) == {"oci-app", "oci-middle", "oci-leaf"} and explicit(spack) == {"oci-app"}


def test_what_was_a_dependency_and_is_named_now_is_explicit(spack):
    install(spack, "oci-middle")
    assert explicit(spack) == {"oci-middle"}
    install(spack, "oci-leaf")
    assert explicit(spack) == {"oci-middle", "oci-leaf"}


def test_build_dependencies_are_installed_when_that_is_asked_for(spack):
    install(spack, "--include-build-deps", "oci-app")
    assert "oci-codegen" in names(spack)


def test_overwrite_installs_again_and_asks_first(spack):
    install(spack, "oci-leaf")
    library = spack.prefix("oci-leaf") / "lib" / "libleaf.so.1"
    content = library.read_bytes()
    library.unlink()
    install(spack, "oci-leaf")
    assert not library.exists(), "what is installed stays"
    done = install(spack, "--overwrite", "oci-leaf", check=False)
    assert done.returncode == 1 and "--yes-to-all" in done.stderr and not library.exists()
    install(spack, "--overwrite", "-y", "oci-leaf")
    assert library.read_bytes() == content and explicit(spack) == {"oci-leaf"}


def test_a_failed_overwrite_leaves_the_old_package(spack, cache):
    install(spack, "oci-leaf")
    spack.mirrors(cache="oci+http://127.0.0.1:1/team/cache")
    spack.run("oci", "clean")
    dag_hash = spack.hashes()["oci-leaf"]
    done = spack.run("oci", "install", "--overwrite", "-y", f"/{dag_hash}", check=False)
    assert done.returncode == 1
    assert (spack.prefix("oci-leaf") / "lib" / "libleaf.so.1").is_file() and "oci-leaf" in spack.installed()


def test_specs_are_added_to_the_environment_when_that_is_asked_for(spack):
    directory = spack.home / "env"
    directory.mkdir()
    (directory / "spack.yaml").write_text("spack:\n  specs: [oci-leaf]\n  view: false\n")
    done = spack.run("-e", directory, "oci", "install", "--reuse", "oci-middle", check=False)
    assert done.returncode == 1 and "has no oci-middle" in done.stderr
    spack.run("-e", directory, "oci", "install", "--reuse", "--add", "oci-middle")
    assert "oci-middle" in (directory / "spack.yaml").read_text()
    assert names(spack) == {"oci-middle", "oci-leaf"}


def test_only_what_is_concrete_is_installed_when_that_is_asked_for(spack):
    directory = spack.home / "env"
    directory.mkdir()
    (directory / "spack.yaml").write_text("spack:\n  specs: [oci-leaf]\n  view: false\n")
    spack.run("-e", directory, "oci", "install", "--only-concrete")
    assert names(spack) == set()


def test_verbose_says_where_each_package_comes_from(spack, cache):
    done = install(spack, "-v", "oci-leaf")
    assert f"Fetching {cache.image('oci-leaf-2.0-')}" in done.stdout + done.stderr


def test_fail_fast_stops_with_the_reason(spack, cache, new_cache):
    spack.run("oci", "list")
    spack.mirrors(cache="oci+http://127.0.0.1:1/team/cache")
    directory = spack.home / "env"
    done = install(spack, "--fail-fast", "oci-leaf", "oci-middle", check=False)
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    assert names(spack) == set() and not directory.exists()


def test_a_package_whose_repository_is_not_here_names_it_before_anything_is_fetched(spack, built):
    mock = built.checkout / "var" / "spack" / "test_repos" / "spack_repo" / "builtin_mock"
    spack.write_config("repos:", {"builtin_mock": str(mock)}, spack.base_scope)
    done = spack.run("oci", "install", f"/{built.hashes()['oci-app']}", check=False)
    assert done.returncode == 1 and "no package repository here is called ocitest" in done.stderr
    assert "spack repo add" in done.stderr and not names(spack)
    done = spack.run("oci", "install", "oci-app", check=False)
    assert "no package repository has oci-app" in done.stderr
