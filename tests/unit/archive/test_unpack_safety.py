# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What a hostile or broken package must not reach: other modes, other files, other packages, other people's eyes."""

import io
import json
import os
import signal
import stat
import tarfile
import threading

import pytest
import zstandard
from spack_oci.archive.unpack.extraction import PrefixAccess
from spack_oci.archive.unpack.layer import install_layer
from spack_oci.archive.unpack.metadata import remove_metadata, write_metadata
from spack_oci.archive.unpack.staging import (
    commit,
    remove_stale,
    remove_tree,
    staging_directory,
    temporary_directory,
)
from spack_oci.errors import CorruptArchive, StorageError, UnsafeArchive
from support.packages.layers import GZIP, HASH, OLD_PREFIX, Layer, new_prefix, relocation, tar_info


@pytest.fixture
def store(tmp_path):
    return str(tmp_path)


def install(layer, store, **kwargs):
    data = layer.gzip()
    return install_layer(io.BytesIO(data), GZIP, new_prefix(store), relocation(store), dag_hash=HASH, **kwargs)


def refused(layer, store, match, error=UnsafeArchive):
    with pytest.raises(error, match=match):
        install(layer, store)
    parent = os.path.dirname(new_prefix(store))
    assert os.listdir(parent) == []


def mode_of(path):
    return stat.S_IMODE(os.lstat(path).st_mode)


# --- removing


def test_removing_a_tree_only_adds_rights_of_its_owner_to_its_own_directories(tmp_path, monkeypatch):
    """What cannot be removed (somebody else's file, one that NFS keeps) leaves the directories above as they were."""
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o2775)
    tree = shared / "tree"
    (tree / "kept").mkdir(parents=True)
    (tree / "kept" / ".nfs0").write_text("open somewhere")
    tree.chmod(0o2755)
    unlink, rmdir, chmod, changed = os.unlink, os.rmdir, os.chmod, []

    def fail(function):
        def call(path, **kwargs):
            if ".nfs0" in os.fspath(path) or function is rmdir:
                raise PermissionError(13, "not yours", path)
            return function(path, **kwargs)

        return call

    def noted(path, mode, **kwargs):
        changed.append((os.fspath(path), mode))
        chmod(path, mode, **kwargs)

    monkeypatch.setattr(os, "unlink", fail(unlink))
    monkeypatch.setattr(os, "rmdir", fail(rmdir))
    monkeypatch.setattr(os, "chmod", noted)
    remove_tree(str(tree))
    monkeypatch.undo()
    assert mode_of(shared) == 0o2775 and mode_of(tree) == 0o2755 and changed == []
    assert (tree / "kept" / ".nfs0").exists()


def test_removing_a_tree_changes_no_mode_through_a_link(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    outside.chmod(0o500)
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "link").symlink_to(outside)
    os.symlink(tree, tmp_path / "alias")
    os.symlink(outside, tmp_path / "closed")
    for name in ("alias", "closed"):
        remove_tree(str(tmp_path / name))
    assert tree.exists() and mode_of(outside) == 0o500, "a link is no tree"
    remove_tree(str(tree))
    assert not tree.exists() and mode_of(outside) == 0o500


def test_removing_a_tree_gets_into_directories_that_their_owner_has_closed(tmp_path, unprivileged):
    tree = tmp_path / "tree"
    for name in ("a/b/c", "a/d"):
        (tree / name).mkdir(parents=True)
        (tree / name / "file").write_text("")
    for name in ("a/b/c", "a/b", "a/d", "a", "."):
        (tree / name).chmod(0)
    unprivileged(lambda: remove_tree(str(tree)), tmp_path)
    assert not tree.exists()


@pytest.fixture
def unprivileged():
    """Runs a function as a user whom modes concern; root is none."""

    def run(function, *owned):
        if os.geteuid() != 0:
            return function()
        for path in owned:
            for directory, directories, files in os.walk(path):
                for name in (directory, *(os.path.join(directory, n) for n in directories + files)):
                    os.lchown(name, 65534, 65534)
        for parent in owned[0].parents:
            parent.chmod(mode_of(parent) | 0o011)
        os.seteuid(65534)
        try:
            return function()
        finally:
            os.seteuid(0)

    return run


# --- staging and commit


@pytest.mark.parametrize("failing", [1, 3])
def test_a_replacement_that_fails_puts_the_old_prefix_back(tmp_path, monkeypatch, failing):
    prefix, directory = tmp_path / "p", tmp_path / "new"
    for path in (prefix, directory):
        path.mkdir()
        (path / path.name).write_text("")
    rename, calls = os.rename, []

    def rename_but_once(source, target):
        calls.append(source)
        if len(calls) == failing:
            raise OSError(5, "Input/output error", source)
        rename(source, target)

    monkeypatch.setattr(os, "rename", rename_but_once)
    with pytest.raises(OSError, match="Input/output"):
        commit(str(directory), str(prefix), replace=True)
    assert os.listdir(prefix) == ["p"] and not [n for n in os.listdir(tmp_path) if n.startswith(".")]


@pytest.mark.parametrize("length", [200, 234, 235, 255])
def test_names_of_any_length_that_a_file_system_takes(tmp_path, length):
    prefix = str(tmp_path / ("x" * length))
    other = str(tmp_path / ("x" * (length - 1) + "y"))
    with staging_directory(prefix) as first, staging_directory(other) as second:
        assert os.path.basename(first)[:-12] != os.path.basename(second)[:-12]
        os.mkdir(first + ".up")
        os.rmdir(first + ".up")
        assert remove_stale(prefix) == []
        commit(first, prefix, replace=False)
    assert os.path.isdir(prefix) and not os.path.exists(other)


def age(path):
    os.utime(path, (1, 1))


def test_a_temporary_directory_goes_with_its_block_and_with_it_what_killed_processes_left(tmp_path):
    pid = os.fork()
    if not pid:
        with temporary_directory("large", str(tmp_path)) as directory:
            (tmp_path / directory / "layer").write_bytes(b"gigabytes")
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    (left,) = os.listdir(tmp_path)
    with temporary_directory("large", str(tmp_path)) as mine:
        assert stat.S_IMODE(os.stat(mine).st_mode) == 0o700
        assert left in os.listdir(tmp_path), "perhaps somebody has just made it, and will lock it"
        age(tmp_path / left), age(mine)
        with temporary_directory("other", str(tmp_path)):
            assert left in os.listdir(tmp_path)
        with temporary_directory("large", str(tmp_path)) as another:
            assert set(os.listdir(tmp_path)) == {os.path.basename(mine), os.path.basename(another)}
    assert os.listdir(tmp_path) == []


def test_what_others_have_put_beside_a_temporary_directory_stays(tmp_path, monkeypatch):
    """In a directory in which everybody writes."""
    with temporary_directory("large", str(tmp_path)) as mine:
        start = os.path.basename(mine).rpartition("-")[0]
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / f"{start}-link").symlink_to("elsewhere")
    (tmp_path / f"{start}-file").write_text("")
    os.mkfifo(tmp_path / f"{start}-pipe")
    foreign = tmp_path / f"{start}-foreign"
    foreign.mkdir()
    age(foreign), age(tmp_path / "elsewhere")
    before = set(os.listdir(tmp_path))
    status = os.fstat

    def of_somebody_else(descriptor):
        found = list(status(descriptor))
        return os.stat_result([*found[:4], found[4] + 1, *found[5:]])

    with monkeypatch.context() as patch:
        patch.setattr(os, "fstat", of_somebody_else)
        with temporary_directory("large", str(tmp_path)):
            pass
    assert set(os.listdir(tmp_path)) == before
    with temporary_directory("large", str(tmp_path)):
        pass
    assert set(os.listdir(tmp_path)) == before - {foreign.name}


def test_directories_in_each_other_without_end_are_refused(store):
    refused(Layer().file("a/" * 300 + "f", b""), store, "directories")


def test_a_setgid_directory_is_refused_and_the_prefix_may_be_one(store):
    refused(Layer().directory("d", 0o2755), store, "setgid")
    group = 4711 if os.geteuid() == 0 else max(os.getgroups(), default=os.getgid())
    install(Layer(), store, access=PrefixAccess(0o2750, group))
    assert mode_of(new_prefix(store)) == 0o2750 and os.stat(new_prefix(store)).st_gid == group


def test_a_restricted_package_is_never_open_to_others(store):
    """From the moment that its files are there, not only when Spack's hooks have run."""
    seen = []

    def look(directory, summary):
        seen.append((mode_of(directory), mode_of(os.path.join(directory, "bin"))))

    install(Layer().file("bin/run", b"", 0o755), store, access=PrefixAccess(0o700), before_rename=look)
    assert seen == [(0o700, 0o755)] and mode_of(new_prefix(store)) == 0o700


# --- .spack


@pytest.mark.parametrize("name", ["install_times.json", "install_manifest.json", "spec.json", "new"])
@pytest.mark.parametrize("kind", ["symbolic", "inside", "hard", "fifo"])
def test_links_and_special_files_in_the_metadata_are_refused(store, tmp_path, name, kind):
    layer = Layer().file("first", b"")
    if kind == "symbolic":
        layer.symlink(f".spack/{name}", str(tmp_path / "victim"))
    elif kind == "inside":
        layer.file(".spack/log", b"").symlink(f".spack/{name}", "log")
    elif kind == "hard":
        layer.hard_link(f".spack/{name}", "first")
    else:
        layer.member(tar_info(layer.name(f".spack/{name}"), tarfile.FIFOTYPE, 0o644))
    with pytest.raises(UnsafeArchive, match="a named pipe" if kind == "fifo" else "where Spack writes files"):
        install(layer, store)
    assert not (tmp_path / "victim").exists() and not os.path.exists(new_prefix(store))


def test_metadata_that_is_a_link_itself_is_refused(store, tmp_path):
    layer = Layer().file("first", b"").symlink(".spack", str(tmp_path))
    with pytest.raises((UnsafeArchive, CorruptArchive)):
        install(layer, store)


@pytest.mark.parametrize(
    "target, accepted", [("../y.patch", True), ("y.patch", True), ("/etc/passwd", False), ("../../../../../x", False)]
)
def test_links_among_copies_of_recipes_may_stay_there(store, target, accepted):
    layer = Layer().file("first", b"").symlink(".spack/repos/r/packages/x/a.patch", target)
    if accepted:
        install(layer, store)
        assert os.readlink(new_prefix(store) + "/.spack/repos/r/packages/x/a.patch") == target
    else:
        refused(layer, store, "leads out of .spack")


def test_metadata_is_written_through_no_link(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / "p" / ".spack").mkdir(parents=True)
    for make in (os.symlink, os.link):
        make(victim, tmp_path / "p" / ".spack" / "times")
        write_metadata(str(tmp_path / "p"), "times", b"new")
        assert victim.read_text() == "mine" and (tmp_path / "p" / ".spack" / "times").read_text() == "new"
        remove_metadata(str(tmp_path / "p"), "times")
        remove_metadata(str(tmp_path / "p"), "times")
        assert os.listdir(tmp_path / "p" / ".spack") == []
    (tmp_path / "q").mkdir()
    os.symlink(tmp_path, tmp_path / "q" / ".spack")
    for change, more in ((write_metadata, [b""]), (remove_metadata, [])):
        with pytest.raises(StorageError, match="q/.spack/victim"):
            change(f"{tmp_path}/q", "victim", *more)
    assert victim.read_text() == "mine"


# --- the tarball is that of the package


def test_the_tarball_of_another_package_is_refused(store):
    other = {"spec": {"nodes": [{"name": "tool", "hash": "x" * 32}, {"name": "dep", "hash": HASH}]}}
    layer = Layer().file("bin/x", b"").file(".spack/spec.json", json.dumps(other))
    refused(layer, store, f"another package.*{'x' * 32}.*not {HASH}")


@pytest.mark.parametrize(
    "spec", ["", "[]", "{}", '{"spec": {"nodes": []}}', '{"spec": {"nodes": [5]}}', "\xff", "[" * 100_000]
)
def test_a_tarball_that_does_not_say_what_it_is_is_refused(store, spec):
    refused(Layer().file(".spack/spec.json", spec.encode("latin-1")), store, "no Spack package", CorruptArchive)


def test_a_tarball_without_a_spec_is_refused(store):
    info = tar_info(f"{OLD_PREFIX[1:]}/.spack/spec.json", tarfile.DIRTYPE, 0o755)
    with pytest.raises((CorruptArchive, StorageError)):
        install(Layer().member(info), store)
    assert not os.path.exists(new_prefix(store))


# --- sparse files


@pytest.mark.parametrize(
    "content",
    [
        bytes(3 << 20),
        b"x" + bytes(5 << 20) + b"END",
        bytes(1 << 20) + b"x" * 4096 + bytes(1 << 20),
        bytes((1 << 16) - 1),
        b"A" * 70_000,
        bytes(9 << 20) + OLD_PREFIX.encode() + b"/x" + bytes(1 << 20),
        b"",
    ],
    ids=range(7),
)
def test_runs_of_zeros_become_holes_and_content_stays_the_same(store, content):
    install(Layer().file("f", content), store)
    path = new_prefix(store) + "/f"
    with open(path, "rb") as f:
        found = f.read()
    new = new_prefix(store).encode().rjust(len(OLD_PREFIX), b"/")
    expected = content.replace(OLD_PREFIX.encode(), new)
    assert found == expected
    assert os.stat(path).st_blocks * 512 <= len(content.replace(b"\0", b"")) + 4 * (1 << 16)


# --- few threads


def test_a_large_layer_is_installed_where_no_thread_can_be_started(store, monkeypatch):
    def none_left(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", none_left)
    install(Layer().file("f", os.urandom(2 << 20)), store)
    assert os.path.getsize(new_prefix(store) + "/f") == 2 << 20


def test_an_8_kilobyte_layer_does_not_fill_the_disk(store):
    layer = Layer().file("f", b"/a/b " * 1_500_000, listed="text")
    layer.info["hash_to_prefix"] = {HASH: "/a/b"}
    refused(layer, store, "longer by over")


# --- bombs, and packages that only look like one


@pytest.fixture(scope="module")
def zeros():
    """A package with a file of 1.1 GiB of zeros, in 40 kB: (zstd, size of the tar)."""
    layer = Layer()
    info = tar_info(layer.name("zeros"), tarfile.REGTYPE, 0o644)
    info.size = 1126 << 20
    start, end = layer.tar(with_info=False).rstrip(b"\0"), layer.tar()
    members = start + bytes(-len(start) % 512)
    sink = io.BytesIO()
    with zstandard.ZstdCompressor().stream_writer(sink, closefd=False) as writer:
        writer.write(members + info.tobuf(tarfile.PAX_FORMAT))
        for _ in range(1126):
            writer.write(bytes(1 << 20))
        writer.write(end[len(members) :])
    data = sink.getvalue()
    return data, len(end) + len(info.tobuf(tarfile.PAX_FORMAT)) + info.size


def install_zeros(data, store, announced):
    media_type = GZIP.replace("gzip", "zstd")
    size = len(data)
    return install_layer(
        io.BytesIO(data), media_type, new_prefix(store), relocation(store), dag_hash=HASH, compressed_size=size,
        announced=announced,
    )  # fmt: skip


def test_what_a_push_has_announced_is_unpacked_and_takes_no_space_for_zeros(store, zeros):
    data, size = zeros
    install_zeros(data, store, {"unpacked_size": size})
    found = os.stat(new_prefix(store) + "/zeros")
    assert found.st_size == 1126 << 20 and found.st_blocks * 512 < 1 << 20


@pytest.mark.parametrize("announced", [{}, {"unpacked_size": 1000}, {"unpacked_size": "99999999999"}])
def test_what_nobody_has_announced_is_a_bomb(store, zeros, announced):
    with pytest.raises(UnsafeArchive, match="unpacks to more than"):
        install_zeros(zeros[0], store, announced)
    assert os.listdir(os.path.dirname(new_prefix(store))) == []


def test_space_is_asked_for_before_anything_is_written(store, zeros):
    with pytest.raises(StorageError, match=r"needs 1152921.5 TB; .* are free in"):
        install_zeros(zeros[0], store, {"unpacked_size": 1 << 60})
    assert os.listdir(store) == []
