# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""A page takes the place of an older one whole or not at all, and never that of anything else."""

import os
import shutil
import signal
import subprocess
import sys

import pytest
from spack_oci.catalog import directory
from spack_oci.catalog.directory import MARK, write_directory
from spack_oci.catalog.make import heading_for, make_catalog
from spack_oci.errors import ConfigurationError, InvalidReference, StorageError
from spack_oci.index.read import fetch_index
from spack_oci.util.progress import Silent
from support.packages.showcase import Showcase


def write(path, **files):
    return write_directory(str(path), [(name, text.encode()) for name, text in files.items()], str.encode)


def tree(path):
    return {
        os.path.relpath(os.path.join(directory, name), path): open(os.path.join(directory, name), "rb").read()
        for directory, _, names in os.walk(path)
        for name in names
    }


def test_a_page_is_replaced_by_a_new_one(tmp_path):
    page = tmp_path / "deep" / "page"
    write(page, a="1")
    first = tree(page)
    directory = first["index.html"].decode()
    assert first[f"{directory}/a"] == b"1" and set(first) == {"index.html", MARK, f"{directory}/a"}
    write(page, a="2", b="3")
    second = tree(page)
    assert second["index.html"] != first["index.html"] and len(second) == 4
    assert os.listdir(page.parent) == ["page"]


def test_anybody_may_read_a_page_whom_the_umask_lets(tmp_path):
    old = os.umask(0o022)
    try:
        write(tmp_path / "page", a="1")
    finally:
        os.umask(old)
    assert (tmp_path / "page").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "page" / "index.html").stat().st_mode & 0o777 == 0o644


def test_an_empty_directory_is_taken(tmp_path):
    (tmp_path / "page").mkdir()
    write(tmp_path / "page", a="1")
    assert (tmp_path / "page" / MARK).exists()


@pytest.mark.parametrize("name", ["notes.txt", ".git", "index.html"])
def test_a_directory_that_holds_something_else_is_refused(tmp_path, name):
    (tmp_path / "page").mkdir()
    (tmp_path / "page" / name).write_text("mine")
    with pytest.raises(ConfigurationError, match=name):
        write(tmp_path / "page", a="1")
    assert tree(tmp_path) == {f"page/{name}": b"mine"}


def test_what_was_put_into_a_page_is_not_lost_with_it(tmp_path):
    write(tmp_path / "page", a="1")
    (tmp_path / "page" / "CNAME").write_text("software.example.org")
    before = tree(tmp_path)
    with pytest.raises(ConfigurationError, match="CNAME"):
        write(tmp_path / "page", a="2")
    assert tree(tmp_path) == before


def test_a_file_and_a_link_are_no_directories(tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path)
    for name in ("file", "link"):
        with pytest.raises(ConfigurationError, match="no directory"):
            write(tmp_path / name, a="1")


def test_a_failure_leaves_the_old_page(tmp_path):
    page = tmp_path / "page"
    write(page, a="1")
    before = tree(tmp_path)

    def files():
        yield "a", b"2"
        raise StorageError("the disk is full")

    with pytest.raises(StorageError):
        write_directory(str(page), files(), str.encode)
    assert tree(tmp_path) == before


def test_what_a_killed_run_has_left_of_a_first_page_goes_with_the_next_one(tmp_path):
    for name in ("page", "other"):
        (tmp_path / f".{name}.oci-0123456789ab").mkdir()
    write(tmp_path / "page", a="1")
    assert sorted(os.listdir(tmp_path)) == [".other.oci-0123456789ab", "page"]


@pytest.mark.parametrize("is_there", [False, True])
@pytest.mark.parametrize("name, code", [("SIGTERM", 143), ("SIGHUP", 129), ("SIGINT", -signal.SIGINT)])
def test_a_signal_leaves_what_was_there(tmp_path, name, code, is_there):
    if is_there:
        write(tmp_path / "page", a="1")
    before = tree(tmp_path)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    argv = [sys.executable, "-c", WRITE_AND_BE_STOPPED, tmp_path / "page", name]
    stopped = subprocess.run(argv, env=env, stderr=subprocess.PIPE)
    assert stopped.returncode == code and tree(tmp_path) == before
    assert os.listdir(tmp_path) == ["page"] * is_there


WRITE_AND_BE_STOPPED = """
import os, signal, sys, time
from spack_oci.catalog.directory import write_directory

def files():
    yield "a", b"2"
    os.kill(os.getpid(), getattr(signal, sys.argv[2]))
    time.sleep(60)

write_directory(sys.argv[1], files(), str.encode)
"""


def test_two_that_write_one_page_at_once_leave_a_page(tmp_path):
    page = tmp_path / "page"
    write(page, a="0")

    def files():
        """Another one begins, and ends, while this one writes."""
        yield "a", b"1"
        write(page, a="2")
        assert tree(page)["index.html"].decode() + "/a" in tree(page)
        yield "b", b"1"

    write_directory(str(page), files(), str.encode)
    found = tree(page)
    assert found[found["index.html"].decode() + "/b"] == b"1" and len(found) == 4


def test_whenever_it_is_killed_there_is_a_page_and_the_next_run_cleans_up(tmp_path, monkeypatch):
    page = tmp_path / "page"
    steps = {name: getattr(os, name) for name in ("mkdir", "rename", "replace")}
    monkeypatch.setattr(directory, "ABANDONED", 0.0)  # all that is there was left by the killed

    class Killed(BaseException):
        pass

    def stopping(name, patched, calls, stop):
        def step(*arguments, **options):
            calls.append(name)
            if len(calls) == stop:
                patched.setattr(shutil, "rmtree", lambda *a, **b: None)  # nobody cleans up after a kill
                raise Killed
            return steps[name](*arguments, **options)

        return step

    for stop in range(1, 20):
        write(page, a="1")
        before = tree(page)
        with monkeypatch.context() as patched:
            calls = []
            for name in steps:
                patched.setattr(os, name, stopping(name, patched, calls, stop))
            try:
                write(page, a="2")
            except Killed:
                after = tree(page)
                assert after["index.html"].decode() + "/a" in after, stop
                assert after["index.html"] == before["index.html"]
                continue
        break
    assert stop > 4 and tree(page)["index.html"] != before["index.html"] and len(tree(page)) == 3
    write(page, a="3")
    assert len(os.listdir(page)) == 3 and os.listdir(tmp_path) == ["page"]


def test_the_same_cache_gives_the_same_page_in_another_directory(tmp_path):
    showcase = Showcase().fill()
    showcase.image("tools", ["htop", "vim"], ("amd64", "arm64"))
    store = showcase.write(tmp_path / "cache")
    heading = heading_for(store.url, None, "oci://ghcr.io/org/cache")
    made = [
        make_catalog(store, store, fetch_index(store), str(tmp_path / name), heading, Silent())
        for name in ("one", "two")
    ]
    assert tree(tmp_path / "one") == tree(tmp_path / "two")
    assert (made[0].packages, made[0].images, made[0].unreadable) == (119, 1, ())
    assert made[0].bytes == sum(len(data) for data in tree(tmp_path / "one").values())
    assert made[0].files == len(tree(tmp_path / "one"))


def test_a_url_that_no_reader_could_use_is_refused():
    assert heading_for("oci+file:///x", None, None).title == "oci+file:///x"
    with pytest.raises(InvalidReference):
        heading_for("oci+file:///x", None, "https://example.org")
