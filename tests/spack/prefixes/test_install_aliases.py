# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Short names of packages go with their package, however it goes, and no earlier."""

import json
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from support.spacks.stack_checks import check_app

NAMES = {"oci-app", "oci-middle", "oci-leaf"}


@pytest.fixture(scope="module")
def short(built, our_python, new_cache):
    """A cache of what was built in a tree with a very short path."""
    home = Path(tempfile.mkdtemp(prefix="s"))
    spack = built.sibling(home / "h", python=our_python, tree=home / "o", padded_length=0)
    spack.run("install", "oci-app")
    cache = new_cache("layout")
    spack.use(cache)
    spack.run("oci", "push", "--update-index", "cache", "oci-app")
    yield cache
    shutil.rmtree(home)


@pytest.fixture
def tree():
    """50 characters longer than the one of :func:`short`."""
    home = Path(tempfile.mkdtemp(prefix="s"))
    yield home / ("o" * 51)
    shutil.rmtree(home)


@pytest.fixture(params=["oci install", "old", "new"])
def installed(request, short, tree, destination):
    spack = destination(tree=tree, installer=None if request.param == "oci install" else request.param)
    spack.use(short)
    if request.param == "oci install":
        spack.run("oci", "install", "oci-app")
    else:
        spack.install_from_cache("oci-app")
    return spack


def aliases(directory):
    """Name of the package -> paths of its aliases: a shorter one where the usual one does not fit."""
    found = {}
    for name in os.listdir(directory) if directory.is_dir() else []:
        target = os.readlink(directory / name)
        assert not os.path.isabs(target), "relative in the store"
        found.setdefault(os.path.basename(target).rsplit("-", 2)[0], set()).add(directory / name)
    return found


def prefixes(spack):
    return {name: spack.prefix(name) for name in NAMES}


def test_uninstall_removes_it_and_reindex_does_not(installed):
    directory = installed.tree / ".a"
    assert set(aliases(directory)) >= {"oci-leaf", "oci-middle"}
    check_app(prefixes(installed))
    installed.run("reindex")
    check_app(prefixes(installed))
    installed.run("uninstall", "-y", "oci-app")
    assert "oci-app" not in aliases(directory)
    assert {"oci-leaf", "oci-middle"} <= set(aliases(directory)), "others still need theirs"
    installed.run("uninstall", "-y", "--all", "oci-middle")
    installed.run("uninstall", "-y", "--all", "oci-leaf")
    assert not NAMES & set(aliases(directory))


@pytest.mark.one_spack
def test_clean_removes_what_vanilla_spack_has_left(installed, destination):
    """Spack without this package knows nothing of aliases."""
    directory = installed.tree / ".a"
    leaf = aliases(directory)["oci-leaf"]
    vanilla = destination(ours=False, tree=installed.tree)
    vanilla.run("uninstall", "-y", "--force", "oci-leaf")
    assert all(os.path.lexists(path) and not path.exists() for path in leaf)
    removed = json.loads(installed.run("oci", "clean", "--json").stdout)["aliases"]
    assert set(removed) == set(map(str, leaf))
    assert "oci-middle" in aliases(directory)
    assert json.loads(installed.run("oci", "clean", "--json").stdout)["aliases"] == []


@pytest.mark.one_spack
def test_an_alias_root_elsewhere_is_kept_clean_too(short, tree, destination):
    spack = destination(tree=tree)
    spack.use(short)
    root = tree.parent / "a"
    spack.run("config", "add", f"oci:relocation:alias_root:{root}")
    spack.run("oci", "install", "oci-app")
    assert not (tree / ".a").exists()
    check_app(prefixes(spack))
    assert any("oci-leaf" in os.readlink(root / name) for name in os.listdir(root))
    spack.run("uninstall", "-y", "--force", "oci-leaf")
    left = [os.readlink(root / name) for name in os.listdir(root)]
    assert left and not any("oci-leaf" in target for target in left)


@pytest.mark.one_spack
@pytest.mark.parametrize("command", [["oci", "fetch"], ["oci", "install"], ["install", "--cache-only"]])
def test_what_cannot_fit_is_not_downloaded(command, short, tree, destination):
    """Its pusher has counted the strings that cannot grow."""
    spack = destination(tree=tree, installer="old")
    spack.use(short)
    spack.write_config("oci", {"relocation": {"alias_root": str(tree / ("a" * 100))}})
    done = spack.run(*command, "oci-leaf", check=False)
    assert done.returncode != 0
    assert "cannot be relocated" in " ".join((done.stdout + done.stderr).split()), done.stderr
    assert not list(spack.user_cache.glob("oci/blobs/blobs/*/*"))
