# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Mirrors with `autopush`: they get what is built from source, and one that is down takes nothing with it."""

import pytest
from support.spacks.stack_checks import check_stack

GONE = {"url": "oci+http://127.0.0.1:1/team/cache", "signed": False, "autopush": True}


@pytest.fixture(params=["old", "new"])
def builder(request, destination):
    spack = destination(name="builder", installer=request.param)
    if spack.version == (1, 1) and request.param == "new":
        pytest.skip("the new installer of Spack 1.1 builds no package that has no sources, without this package too")
    return spack


@pytest.mark.parametrize("kind", [pytest.param("layout", marks=pytest.mark.one_spack), "http"])
def test_what_is_built_is_pushed_and_installs_elsewhere(kind, builder, new_cache, destination):
    cache = new_cache(kind)
    builder.use(cache, autopush=True)
    builder.run("install", "oci-app")  # the cache is empty, so everything is built
    tags = cache.tags()
    assert any(tag.startswith("oci-app-1.0-") for tag in tags), tags
    assert any(tag.startswith("oci-leaf-") for tag in tags), tags

    builder.run("oci", "update-index", "cache")
    consumer = destination(name="consumer", installer=builder.installer, tree=builder.home / "o")
    consumer.use(cache)
    consumer.install_from_cache("oci-app")
    check_stack(consumer, ("oci-app", "oci-middle", "oci-leaf"))


def test_a_mirror_that_is_down_costs_neither_the_install_nor_the_other_mirrors(builder, new_cache, tmp_path):
    cache, plain = new_cache("layout"), tmp_path / "plain"
    builder.environment.update(cache.environment)
    others = {"here": {**cache.mirror, "autopush": True}, "plain": {"url": plain.as_uri(), "signed": False}}
    others["plain"]["autopush"] = True
    builder.write_config("mirrors", {"gone": GONE, **others})
    builder.write_config("oci", {"install": {"on_error": "source"}})
    done = builder.run("install", "oci-leaf@1.0", check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 1 and "Traceback" not in said, said
    assert "oci-leaf" in builder.installed(), "installed and registered"
    assert (builder.prefix("oci-leaf") / "lib").is_dir()
    assert any(tag.startswith("oci-leaf-1.0-") for tag in cache.tags()), "the OCI mirror that is up was served"
    assert list(plain.rglob("*oci-leaf*")), "and Spack's own kind"
    short = builder.hashes()["oci-leaf"][:12]
    assert f"spack oci push --only package gone /{short}" in " ".join(done.stderr.split()), done.stderr
    assert done.stderr.count("not in every mirror with autopush") == 1


def test_the_command_that_the_error_names_pushes_what_is_missing(builder, new_cache):
    builder.mirrors(cache=GONE)
    done = builder.run("install", "oci-leaf@1.0", check=False)
    command = next(line for line in done.stderr.splitlines() if "push with:" in line).partition("push with: spack ")[2]
    cache = new_cache("layout")
    builder.use(cache)
    builder.run(*command.split())
    assert any(tag.startswith("oci-leaf-1.0-") for tag in cache.tags())


@pytest.mark.one_spack
def test_what_is_built_is_signed_where_a_key_is_configured(builder, new_cache):
    builder.environment["COSIGN_PASSWORD"] = "correct horse"
    builder.run("oci", "key", "generate", builder.home / "team")
    cache = new_cache("layout")
    builder.use(cache, autopush=True)
    builder.write_config("oci", {"signing": {"key": str(builder.home / "team.key")}})
    builder.run("install", "oci-leaf@1.0")
    assert [tag for tag in cache.tags() if tag.endswith(".sig")]
