# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Installs under a policy of `oci:trust`: refused before anything is written, on every path."""

import json
import os
import shutil
import subprocess

import pytest
from support.programs.cosign import PASSWORD, cosign_key, cosign_sign
from support.spacks.caches import http_cache

ENV = {"COSIGN_PASSWORD": PASSWORD}
NAMES = ("oci-app", "oci-middle", "oci-leaf")


@pytest.fixture(params=["oci install", "old", "new"])
def how(request):
    """The command, or the installer of Spack's own one."""
    return request.param


@pytest.fixture(scope="module")
def keys(built, our_python, tmp_path_factory):
    """Paths of two pairs of keys, without .key and .pub."""
    home = tmp_path_factory.mktemp("keys")
    spack = built.sibling(home / "spack", python=our_python)
    for name in ("team", "stranger"):
        spack.run("oci", "key", "generate", str(home / name), env=ENV)
    return home


@pytest.fixture(scope="module")
def caches(built, our_python, keys, http_registry, tmp_path_factory):
    """oci-app and what it needs: signed by the team, unsigned, signed by a stranger, and all but one package."""
    spack = built.sibling(tmp_path_factory.mktemp("source") / "spack", python=our_python)
    words = {"signed": ["--sign", f"{keys}/team.key"], "stranger": ["--sign", f"{keys}/stranger.key"]}

    class Caches(dict):
        """Each is filled when it is asked for."""

        def __missing__(self, name):
            version = "".join(map(str, spack.version))
            self[name] = http_cache(http_registry.host, f"spack/policy-{version}-{name}")
            spack.use(self[name])
            spack.run("oci", "push", *words.get(name, []), "--update-index", "cache", "oci-app", env=ENV)
            if name == "partly":
                spack.run("oci", "sign", "--key", f"{keys}/team.key", "cache", "oci-app", "oci-middle", env=ENV)
            return self[name]

    return Caches()


def consumer(destination, cache, keys, how=None, mode="require", **policy):
    spack = destination(installer=None if how in (None, "oci install") else how)
    spack.use(cache)
    trust = {"keys": {"team": f"{keys}/team.pub"}, "policies": {"*": {"mode": mode, **policy}}}
    spack.write_config("oci", {"trust": trust})
    return spack


def install(how, spack, *flags, **kwargs):
    if how == "oci install":
        return spack.run("oci", "install", *flags, "oci-app", **kwargs)
    words = [word for word in spack.cache_only if word != "--no-check-signature"]
    return spack.run("install", *words, *flags, "oci-app", env={"OCITEST_NO_BUILD": "1"}, **kwargs)


def said(done):
    return " ".join((done.stdout + done.stderr).split())


def is_untouched(spack, *names):
    """Nothing of the packages is there, nor in a prefix that is being made.

    A source build that the test stops leaves a prefix with its metadata: the new installer of Spack 1.1 begins one
    where no index names a package.
    """
    prefixes = [p for p in spack.tree.glob("*/*") if p.name.lstrip(".").startswith(tuple(f"{n}-" for n in names))]
    files = [file for prefix in prefixes for file in prefix.rglob("*") if file.is_file()]
    return not [file for file in files if ".spack" not in file.relative_to(spack.tree).parts]


def test_what_the_team_has_signed_is_installed(how, caches, keys, destination):
    spack = consumer(destination, caches["signed"], keys, how)
    install(how, spack)
    assert set(NAMES) <= {node["name"] for node in spack.installed().values()}


@pytest.mark.one_spack
def test_an_install_by_hashes_under_a_policy_makes_not_one_request_more(
    caches, keys, destination, built, http_registry
):
    asked = {}
    for mode in ("off", "require"):
        spack = consumer(destination, caches["signed"], keys, mode=mode)
        if asked:  # both have the same install tree
            spack.run("uninstall", "-ay")
            spack.run("oci", "clean")
        spack.run("buildcache", "list", "--allarch")
        before = len(http_registry.requests())
        spack.run("oci", "install", *(f"/{built.hashes()[name]}" for name in ("oci-app", "oci-middle")))
        asked[mode] = http_registry.requests()[before:]
    assert 3 < len(asked["require"]) <= len(asked["off"]), asked


def test_what_it_has_not_signed_is_refused_before_anything_is_written(how, caches, keys, destination):
    spack = consumer(destination, caches["unsigned"], keys, how)
    done = install(how, spack, check=False)
    text = said(done)
    assert done.returncode != 0
    assert "oci-leaf" in text and "signed" in text and "team" in text, text
    assert "NO_BUILD" not in text
    assert is_untouched(spack, *NAMES)


@pytest.mark.one_spack
def test_what_a_stranger_has_signed_is_refused(caches, keys, destination):
    spack = consumer(destination, caches["stranger"], keys)
    done = install("oci install", spack, check=False)
    assert done.returncode != 0 and "by another key" in said(done)
    assert is_untouched(spack, *NAMES) and not spack.installed()  # no externals either


@pytest.mark.one_spack
def test_nothing_is_installed_where_one_dependency_is_not_signed(how, caches, keys, destination):
    spack = consumer(destination, caches["partly"], keys, how)
    done = install(how, spack, check=False)
    assert done.returncode != 0 and "oci-leaf" in said(done) and "not signed by team" in said(done)
    assert is_untouched(spack, *NAMES)


@pytest.mark.one_spack
@pytest.mark.slow
def test_no_check_signature_is_the_way_around_and_says_so(how, caches, keys, destination):
    spack = consumer(destination, caches["unsigned"], keys, how)
    done = install(how, spack, "--no-check-signature")
    assert set(NAMES) <= {node["name"] for node in spack.installed().values()}
    assert "not checked (--no-check-signature)" in said(done)


@pytest.mark.one_spack
def test_warn_installs_and_says_what_is_not_signed(caches, keys, destination):
    spack = consumer(destination, caches["unsigned"], keys, "old", mode="warn")
    done = install("old", spack)
    assert set(NAMES) <= {node["name"] for node in spack.installed().values()}
    assert "not signed by team" in said(done)


@pytest.mark.one_spack
def test_blobs_of_the_local_cache_are_no_way_around(caches, keys, destination):
    spack = consumer(destination, caches["unsigned"], keys, "old")
    done = spack.run("oci", "fetch", "oci-app", check=False)
    assert done.returncode != 0 and "not signed by team" in said(done)
    spack.run("oci", "fetch", "--no-check-signature", "oci-app")
    done = install("old", spack, check=False)
    assert done.returncode != 0
    assert is_untouched(spack, *NAMES)


@pytest.mark.one_spack
def test_a_layout_directory_is_held_to_the_policy(caches, keys, destination, source, new_cache):
    layout = new_cache("layout")
    pusher = source()
    pusher.use(layout)
    pusher.run("oci", "push", "--update-index", "cache", "oci-leaf@2.0")
    spack = consumer(destination, layout, keys)
    done = spack.run("oci", "install", "oci-leaf", check=False)
    assert done.returncode != 0 and "the layout directory is not signed by team" in said(done)
    pusher.run("oci", "sign", "--key", f"{keys}/team.key", "cache", env=ENV)
    spack.run("oci", "install", "oci-leaf")


@pytest.mark.one_spack
def test_a_mirror_that_says_signed_requires_any_of_the_keys(caches, keys, destination):
    spack = destination()
    spack.mirrors(cache={**caches["unsigned"].mirror, "signed": True})
    spack.write_config("oci", {"trust": {"keys": {"team": f"{keys}/team.pub"}}})
    done = spack.run("oci", "install", "oci-leaf", check=False)
    assert done.returncode != 0 and "not signed by team" in said(done)
    spack.write_config("oci", {})
    done = spack.run("oci", "install", "oci-leaf", check=False)
    assert done.returncode != 0 and "no key is known" in said(done)


@pytest.mark.one_spack
@pytest.mark.parametrize("policy", [{"mode": "requir"}, {"mode": "require", "treshold": 2}])
def test_a_policy_with_a_typo_stops_every_install(policy, caches, keys, destination):
    spack = destination()
    spack.use(caches["signed"])
    spack.write_config("oci", {"trust": {"keys": {"team": f"{keys}/team.pub"}, "policies": {"*": policy}}})
    assert spack.run("oci", "install", "oci-leaf", check=False).returncode != 0
    assert is_untouched(spack, *NAMES)


@pytest.mark.one_spack
def test_what_plain_cosign_signed_is_installed(built, source, destination, new_cache, keys, tmp_path):
    """A cache that another Spack has filled, without an index of ours, signed with cosign alone."""
    cache = new_cache("http")
    pusher = source()
    pusher.use(cache)
    pusher.run("oci", "push", "--update-index", "--only", "package", "cache", "oci-leaf@2.0")
    theirs = cosign_key(tmp_path)
    (line,) = pusher.run("oci", "sign", "--digests", "-", "cache").stdout.split()
    cosign_sign(theirs, line)
    shutil.copy(f"{theirs}.pub", tmp_path / "team.pub")
    spack = consumer(destination, cache, tmp_path)
    spack.run("oci", "install", "oci-leaf")
    assert "oci-leaf" in {node["name"] for node in spack.installed().values()}


@pytest.mark.one_spack
def test_manifests_that_were_swapped_are_refused(source, destination, new_cache, keys):
    """Both are signed, each under the other's tag. With an index, whose entries name digests, nobody asks the tags."""
    layout = new_cache("layout")
    pusher = source()
    pusher.use(layout)
    pusher.run("oci", "push", "--sign", f"{keys}/team.key", "cache", "oci-app", env=ENV)
    from pathlib import Path

    index = Path(layout.url.partition("://")[2]) / "index.json"
    document = json.loads(index.read_text())
    name = "org.opencontainers.image.ref.name"
    pair = [m for m in document["manifests"] if m["annotations"].get(name, "").startswith(("oci-leaf", "oci-middle"))]
    for first, second in ((pair[0]["annotations"], pair[1]["annotations"]),):
        first[name], second[name] = second[name], first[name]
    index.write_text(json.dumps(document))
    spack = consumer(destination, layout, keys)
    done = spack.run("oci", "install", "oci-leaf", check=False)
    assert done.returncode != 0 and "another package" in said(done)
    assert is_untouched(spack, "oci-leaf")


@pytest.mark.one_spack
def test_the_client_without_spack_is_held_to_its_policies(caches, keys, our_python, tmp_path):
    section = {"trust": {"keys": {"team": f"{keys}/team.pub"}, "policies": {"*": {"mode": "require"}}}}
    (tmp_path / "config.json").write_text(json.dumps(section))
    environment = {
        **os.environ,
        "SPACK_OCI_CONFIG": str(tmp_path / "config.json"),
        "SPACK_OCI_CACHE": str(tmp_path / "cache"),
        "SPACK_OCI_STORE": str(tmp_path / "store"),
    }

    def run(cache, *flags, package="oci-leaf"):
        words = [our_python.parent / "spack-oci", "install", *flags, caches[cache].url, package]
        return subprocess.run(words, env=environment, capture_output=True, text=True)

    done = run("unsigned")
    assert done.returncode != 0 and "not signed by team" in said(done)
    assert not list((tmp_path / "store").glob("*/oci-leaf*"))
    done = run("partly", package="oci-app")
    assert done.returncode != 0 and "not signed by team" in said(done)
    assert "lacks what oci-app" in said(done) and "counts as absent" in said(done)
    assert not list((tmp_path / "store").glob("*/oci-*"))
    done = run("unsigned", "--no-check-signature")
    assert done.returncode == 0 and "are not checked" in said(done)
    shutil.rmtree(tmp_path / "store")
    assert run("signed").returncode == 0
    assert list((tmp_path / "store").glob("*/oci-leaf*"))
