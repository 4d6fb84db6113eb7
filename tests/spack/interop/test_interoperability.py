# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Whoever pushed, whoever installs: ours and vanilla Spack, both installers, one wire format."""

import pytest
from support.spacks.stack_checks import STACK, check_stack, listed


@pytest.fixture(params=["old", "new"])
def installer(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def filled(built, our_python, new_cache, tmp_path_factory):
    """``filled("ours", "tls")``: a cache with the stack in it, pushed and indexed once for the whole module."""
    caches = {}

    def get(pusher: str, kind: str):
        if (pusher, kind) not in caches:
            cache = new_cache(kind)
            home = tmp_path_factory.mktemp("pusher")
            spack = built.sibling(home, **({"python": our_python} if pusher == "ours" else {}))
            spack.use(cache)
            if pusher == "ours":
                spack.run("oci", "push", "cache", "oci-stack")
                spack.run("oci", "update-index", "cache")
            else:
                spack.run("buildcache", "push", "--unsigned", "--update-index", "cache", "oci-stack")
            caches[pusher, kind] = cache
        return caches[pusher, kind]

    return get


def install_and_check(consumer, cache, built):
    consumer.use(cache)
    consumer.install_from_cache("oci-stack")
    check_stack(consumer, foreign=[built.tree])


@pytest.mark.one_spack
@pytest.mark.parametrize("kind", ["layout", "http", "tls"])
def test_we_push_and_we_install(kind, installer, filled, destination, built):
    install_and_check(destination(installer=installer), filled("ours", kind), built)


@pytest.mark.one_spack
def test_zstd_is_for_ours_only_and_that_is_said(installer, source, new_cache, destination, built):
    """Layers of zstd install through us; what Spack alone cannot install is named by the push and by doctor."""
    cache = new_cache("http")
    pusher = source()
    pusher.use(cache)
    said = pusher.run("oci", "push", "--compression", "zstd", "--update-index", "cache", "oci-stack").stdout
    assert "7 packages with zstd: Spack without spack-oci cannot install them" in said
    assert "7 packages with zstd" in pusher.run("oci", "doctor", "cache").stdout
    install_and_check(destination(installer=installer), cache, built)
    again = pusher.run("oci", "push", "--compression", "zstd", "cache", "oci-stack").stdout
    assert "zstd" not in again


@pytest.mark.parametrize("ours", [True, False])
def test_the_tests_tell_ours_from_vanilla(ours, filled, destination, tls_registry):
    """The registry's log knows who asked: an install of ours uses our client for every request, vanilla never does."""
    cache = filled("ours", "tls")
    before = len(tls_registry.log_lines())
    spack = destination(ours=ours)
    spack.use(cache)
    done = spack.install_from_cache("oci-leaf")
    assert "Warning" not in done.stderr
    requests = [line for line in tls_registry.log_lines()[before:] if '"GET /v2/' in line]
    assert requests and all(("spack-oci/" in line) == ours for line in requests), requests


def test_we_push_and_vanilla_installs(installer, filled, destination, built):
    install_and_check(destination(ours=False, installer=installer), filled("ours", "tls"), built)


def test_vanilla_pushes_and_we_install(installer, filled, destination, built):
    install_and_check(destination(installer=installer), filled("vanilla", "tls"), built)


@pytest.mark.parametrize("pusher, reader", [("ours", "vanilla"), ("vanilla", "ours"), ("ours", "ours")])
def test_both_list_what_either_pushed(pusher, reader, filled, destination, built):
    consumer = destination(ours=reader == "ours")
    consumer.use(filled(pusher, "tls"))
    expected = {name: short[:7] for name, short in built.hashes().items()}
    found = listed(consumer)
    assert set(STACK) <= set(found)
    assert all(found[name] == expected[name] for name in STACK if name != "oci-leaf")


@pytest.mark.one_spack
@pytest.mark.parametrize("last", ["ours", "vanilla"])
def test_both_push_into_one_repository_with_one_index(last, new_cache, source, destination, built):
    """Neither side's index drops what the other side pushed, and either installs the sum."""
    cache = new_cache("tls")
    ours, vanilla = source(ours=True), source(ours=False)
    for spack in (ours, vanilla):
        spack.use(cache)

    def push_with_ours():
        ours.run("oci", "push", "--update-index", "cache", "oci-app")

    def push_with_vanilla():
        vanilla.run("buildcache", "push", "--unsigned", "--update-index", "cache", "oci-files")
        vanilla.run("buildcache", "push", "--unsigned", "--only", "package", "cache", "oci-script", "oci-stack")
        vanilla.run("buildcache", "update-index", "cache")

    first, second = (push_with_vanilla, push_with_ours) if last == "ours" else (push_with_ours, push_with_vanilla)
    first()
    second()

    for reader_is_ours in (True, False):
        consumer = destination(ours=reader_is_ours)
        consumer.use(cache)
        assert set(STACK) <= set(listed(consumer))
        consumer.install_from_cache("oci-stack")
        check_stack(consumer, foreign=[built.tree])


@pytest.mark.parametrize("kind", [pytest.param("layout", marks=pytest.mark.one_spack), "http"])
def test_the_concretizer_sees_what_a_cache_has(kind, new_cache, source, destination):
    """It takes the old version that the index has, and not the newest one; the index is all that tells it."""
    cache = new_cache(kind)
    pusher = source()
    pusher.use(cache)
    consumer = destination()
    consumer.use(cache)
    pusher.run("oci", "push", "--only", "package", "cache", "oci-leaf@1.0")
    assert "oci-leaf@2.0" in consumer.run("spec", "oci-leaf").stdout
    pusher.run("oci", "update-index", "cache")
    assert "oci-leaf@1.0" in consumer.run("spec", "oci-leaf").stdout


def test_commands_of_spack_work_on_our_mirrors(new_cache, source, destination, built):
    """`spack buildcache push|update-index|list|install` on a directory, which Spack alone cannot do."""
    cache = new_cache("layout")
    pusher = source()
    pusher.use(cache)
    pusher.run("buildcache", "push", "--unsigned", "cache", "oci-app")
    pusher.run("buildcache", "update-index", "cache")

    consumer = destination()
    consumer.use(cache)
    assert {"oci-app", "oci-middle", "oci-leaf"} <= set(listed(consumer))
    # --otherarch: like vanilla Spack, it looks for the very microarchitecture of this machine otherwise
    consumer.run("buildcache", "install", "--unsigned", "--otherarch", f"/{built.hashes()['oci-app']}")
    check_stack(consumer, ("oci-app", "oci-middle", "oci-leaf"), foreign=[built.tree])


def test_other_mirrors_behave_as_before(source, destination, tmp_path, built):
    """A file mirror, with the package installed: Spack's own path, Spack's own format."""
    mirror = tmp_path / "plain-mirror"
    pusher = source()
    pusher.mirrors(cache=mirror.as_uri())
    pusher.run("buildcache", "push", "--unsigned", "--update-index", "cache", "oci-app")
    consumer = destination()
    consumer.mirrors(cache=mirror.as_uri())
    consumer.install_from_cache("oci-app")
    check_stack(consumer, ("oci-app", "oci-middle", "oci-leaf"), foreign=[built.tree])


def test_without_hooks_spack_is_alone(filled, destination):
    """`oci:hooks:enabled:false`: a directory is no mirror for Spack then, a registry is read by Spack itself."""
    consumer = destination(name="off")
    consumer.use(filled("ours", "layout"))
    consumer.write_config("oci", {"hooks": {"enabled": False}})
    assert consumer.install_from_cache("oci-app", check=False).returncode != 0

    consumer.use(filled("ours", "tls"))
    traced = consumer.script("import spack.binary_distribution as b; print(b.download_tarball.__module__)")
    assert traced.strip() == "spack.binary_distribution"
    consumer.install_from_cache("oci-app")
