# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Short names in the store: chosen, shared, never mixed up, and removed."""

import os

import pytest
from spack_oci.archive.unpack.leading import old_prefix_in
from spack_oci.errors import ConfigurationError, PrefixTooLong
from spack_oci.relocate.aliases import Aliases, check_directory, prune_aliases, remove_aliases
from spack_oci.relocate.mapping import PathMapping, Relocation
from spack_oci.relocate.preflight import check_lengths, check_summary, expected_old_prefixes
from support.packages.layers import OLD_PREFIX, Layer

HASH = "abcdefghijklmnopqrstuvwxyz234567"
TWIN = "zzzzzzzzzzzzzzzzzzzzzzzzz" + HASH[-7:]


def relocation(root, **changes):
    prefixes = {h: f"{root}/linux/{name}-{h}" for name, h in (("tool-1", HASH), ("twin-2", TWIN))}
    return Relocation(**{"new_prefixes": prefixes, "store_root": str(root), "sbang_path": "", **changes})


def names(aliases, dag_hash, room=200):
    return [os.fsdecode(n) for n in aliases.names_of(mapped(aliases, dag_hash, room))]


def mapped(aliases, dag_hash, room=200):
    new = aliases._prefixes[dag_hash] if dag_hash else "/x"
    return PathMapping(b"o" * room, new.encode(), dag_hash)


def test_a_name_is_the_end_of_the_hash_and_leads_to_the_prefix(tmp_path):
    (name,) = names(Aliases(relocation(tmp_path)), HASH)
    assert name == f"{tmp_path}/.a/{HASH[-7:]}"
    assert os.readlink(name) == f"../linux/tool-1-{HASH}"


def test_another_package_with_the_same_end_takes_more_of_its_hash(tmp_path):
    aliases = Aliases(relocation(tmp_path))
    first, second = names(aliases, HASH) + names(aliases, TWIN)
    assert os.path.basename(second) == TWIN[-8:] and first != second
    again = Aliases(relocation(tmp_path))
    assert names(again, TWIN) + names(again, HASH) == [second, first], "the same in the next install"


def test_little_room_takes_less_of_the_hash(tmp_path):
    directory = len(f"{tmp_path}/.a/")
    assert names(Aliases(relocation(tmp_path)), HASH, directory + 4) == [f"{tmp_path}/.a/{HASH[-4:]}"]
    assert names(Aliases(relocation(tmp_path)), TWIN, directory + 2) == []


def test_nothing_is_made_for_the_root(tmp_path):
    assert names(Aliases(relocation(tmp_path)), None) == [] and os.listdir(tmp_path) == []


def test_two_installs_at_once_agree(tmp_path, monkeypatch):
    """The link appears between the look and the making."""
    real = os.symlink

    def race(target, path):
        real(target, path)
        raise FileExistsError(path)

    monkeypatch.setattr(os, "symlink", race)
    assert len(names(Aliases(relocation(tmp_path)), HASH)) == 1


def test_an_alias_root_elsewhere_has_absolute_links(tmp_path):
    root = tmp_path / "a"
    (name,) = names(Aliases(relocation(tmp_path / "store", alias_root=str(root))), HASH)
    assert os.path.dirname(name) == str(root) and os.readlink(name) == f"{tmp_path}/store/linux/tool-1-{HASH}"


def test_an_alias_root_where_anybody_may_write_is_refused(tmp_path):
    root = tmp_path / "a"
    root.mkdir()
    root.chmod(0o1777)
    with pytest.raises(ConfigurationError, match="every user"):
        names(Aliases(relocation(tmp_path / "store", alias_root=str(root))), HASH)
    with pytest.raises(ConfigurationError):
        check_directory(str(root), "/store")


def test_aliases_go_with_their_package(tmp_path):
    aliases = Aliases(relocation(tmp_path))
    first, second = names(aliases, HASH) + names(aliases, TWIN)
    assert remove_aliases(f"{tmp_path}/.a", f"{tmp_path}/linux/tool-1-{HASH}") == [first]
    assert os.listdir(f"{tmp_path}/.a") == [os.path.basename(second)]
    os.makedirs(f"{tmp_path}/linux/twin-2-{TWIN}")
    assert prune_aliases(f"{tmp_path}/.a") == []
    os.rmdir(f"{tmp_path}/linux/twin-2-{TWIN}")
    assert prune_aliases(f"{tmp_path}/.a") == [second]
    assert not os.path.exists(f"{tmp_path}/.a") and prune_aliases(f"{tmp_path}/.a") == []


OLD_ROOT = "/o"


@pytest.mark.parametrize("longer, fits", [(1, True), (25, True), (38, True), (46, False)])
def test_what_cannot_work_is_known_from_the_old_prefix_alone(longer, fits, monkeypatch):
    monkeypatch.setattr("spack_oci.relocate.preflight.find_patchelf", lambda: None)
    where = relocation("/o" + "n" * longer)
    old = f"{OLD_ROOT}/linux/tool-1-{HASH}"
    assert set(expected_old_prefixes(old, HASH, where).values()) == {old, f"{OLD_ROOT}/linux/twin-2-{TWIN}"}
    if fits:
        check_lengths(old, HASH, where, "tool@1")
        return
    with pytest.raises(PrefixTooLong) as error:
        check_lengths(old, HASH, where, "tool@1")
    text = str(error.value)
    assert "tool@1" in text and str(len(old)) in text and "alias_root" in text and "source" in text
    assert "characters shorter" in text


def test_an_alias_root_helps():
    where = relocation("/o" + "n" * 90, alias_root="/a")
    check_lengths(f"{OLD_ROOT}/linux/tool-1-{HASH}", HASH, where, "tool@1")


@pytest.mark.parametrize(
    "summary, fits",
    [
        ({}, True),
        ({"prefix_length": 51, "fixed_strings": 0, "shortest_fixed": 0}, True),
        ({"prefix_length": 51, "fixed_strings": 3, "shortest_fixed": 49}, False),
        ({"prefix_length": 51, "fixed_strings": 3, "shortest_fixed": 60}, True),
        ({"prefix_length": 51, "fixed_strings": 3, "shortest_fixed": 2}, True),
        ({"prefix_length": 200, "fixed_strings": 3, "shortest_fixed": 49}, True),
    ],
)
def test_what_the_pusher_counted_decides_without_a_download(summary, fits):
    """Strings of the old root alone (2 characters here) are dead, and a package without strings always fits."""
    where = relocation("/o" + "n" * 46)
    if fits:
        check_summary(summary, HASH, where, "tool@1")
    else:
        with pytest.raises(PrefixTooLong, match="49 characters"):
            check_summary(summary, HASH, where, "tool@1")


def test_the_old_prefix_in_the_first_bytes_of_a_tarball():
    old = f"/opt/store/linux/tool-1-{HASH}"
    layer = Layer(old_prefix=old).file(".spack/spec.json", b"").file("lib/x", os.urandom(200_000))
    assert old_prefix_in(layer.gzip()[:5000]) == old
    assert old_prefix_in(Layer(old_prefix=old).file(".spack/spec.json", b"").gzip()) == old
    assert old_prefix_in(Layer().gzip()) == OLD_PREFIX, "a name in an extended header"
    assert old_prefix_in(b"no gzip") is None and old_prefix_in(b"") is None


def test_an_alias_root_of_a_stranger_is_refused(tmp_path, monkeypatch):
    """One in /tmp that somebody else has made could be filled by him."""
    root, store = tmp_path / "a", tmp_path / "store"
    root.mkdir()
    store.mkdir()
    os.symlink(root, tmp_path / "link")
    check_directory(str(root), str(store))
    stat, lstat = os.stat, os.lstat
    owners = {str(root): 4711}

    def owned(function):
        def call(path, **kwargs):
            found = function(path, **kwargs)
            return os.stat_result((*found[:4], owners.get(os.fspath(path), found.st_uid), *found[5:10]))

        return call

    monkeypatch.setattr(os, "stat", owned(stat))
    monkeypatch.setattr(os, "lstat", owned(lstat))
    with pytest.raises(ConfigurationError, match="another user"):
        names(Aliases(relocation(store, alias_root=str(root))), HASH)
    assert os.listdir(root) == []
    owners[str(store)] = 4711
    check_directory(str(root), str(store))
    owners.clear()
    owners[str(tmp_path / "link")] = 4711
    with pytest.raises(ConfigurationError, match="another user"):
        check_directory(str(tmp_path / "link"), str(store))


def test_an_alias_is_made_again_after_its_package_came_back(tmp_path):
    (first,) = names(Aliases(relocation(tmp_path)), HASH)
    remove_aliases(f"{tmp_path}/.a", f"{tmp_path}/linux/tool-1-{HASH}")
    assert not os.path.lexists(first)
    assert names(Aliases(relocation(tmp_path)), HASH) == [first] and os.path.islink(first)
