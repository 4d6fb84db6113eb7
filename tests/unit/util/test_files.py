# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Files that appear complete or not at all."""

import errno
import fcntl
import os
import stat

import pytest
from spack_oci.content.blob_cache import BlobCache
from spack_oci.errors import StorageError
from spack_oci.store.locks import FileLock
from spack_oci.util.concurrency.locks import exclusive_lock
from spack_oci.util.files import (
    atomic_write,
    is_full,
    open_foreign_lock_file,
    open_lock_file,
    set_mode,
    share,
    storage_errors,
)


@pytest.fixture
def umask():
    before = os.umask(0o027)
    yield
    os.umask(before)


def test_a_file_appears_when_it_is_complete(tmp_path):
    path = tmp_path / "file"
    path.write_text("before")
    with atomic_write(str(path), sync=True) as file:
        file.write(b"after")
        assert path.read_text() == "before"
    assert path.read_text() == "after" and os.listdir(tmp_path) == ["file"]


def test_what_was_there_stays_when_writing_fails(tmp_path):
    path = tmp_path / "file"
    path.write_text("before")
    with pytest.raises(ZeroDivisionError), atomic_write(str(path)) as file:
        file.write(b"after")
        _ = 1 / 0
    assert path.read_text() == "before" and os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("exact, expected", [(False, 0o640), (True, 0o666)])
def test_mode(tmp_path, umask, exact, expected):
    with atomic_write(str(tmp_path / "file"), exact=exact):
        pass
    assert stat.S_IMODE(os.stat(tmp_path / "file").st_mode) == expected


def test_a_link_in_the_place_is_replaced_not_followed(tmp_path):
    (tmp_path / "target").write_text("untouched")
    (tmp_path / "file").symlink_to("target")
    with atomic_write(str(tmp_path / "file")) as file:
        file.write(b"new")
    assert (tmp_path / "target").read_text() == "untouched" and not (tmp_path / "file").is_symlink()


def test_a_name_as_long_as_names_can_be(tmp_path):
    with atomic_write(str(tmp_path / ("n" * 255))):
        pass


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_an_error_without_a_name_gets_the_path(tmp_path, number):
    """write() names no file."""
    path = str(tmp_path / "file")
    with pytest.raises(StorageError) as error, storage_errors("doing it"), atomic_write(path):
        raise OSError(number, os.strerror(number))
    message = str(error.value)
    assert message.startswith("doing it") and path in message and os.strerror(number) in message
    assert is_full(error.value) == (" free of " in message) == (number != errno.EIO)


# -- in directories that others write to as well ----------------------------------------------------------------------


def lock_layout(directory):
    with exclusive_lock(str(directory / "lock")):
        pass


def lock_store(directory):
    FileLock(str(directory / "lock")).acquire()


def lock_cache(directory):
    os.close(BlobCache(str(directory)).open_lock(str(directory / "lock")))


@pytest.fixture
def private(tmp_path):
    """A file that is nobody else's."""
    path = tmp_path / "private"
    path.write_text("secret")
    path.chmod(0o600)
    return path


@pytest.fixture
def shared(tmp_path):
    directory = tmp_path / "shared"
    directory.mkdir()
    directory.chmod(0o2775)
    return directory


@pytest.mark.parametrize("lock", [lock_layout, lock_store, lock_cache])
def test_a_link_in_the_place_of_a_lock_opens_no_private_file_to_others_and_makes_none(lock, shared, private, tmp_path):
    (shared / "lock").symlink_to(private)
    with pytest.raises((OSError, StorageError)):
        lock(shared)
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    (shared / "lock").unlink()
    (shared / "lock").symlink_to(tmp_path / "nologin")
    with pytest.raises((OSError, StorageError)):
        lock(shared)
    assert not (tmp_path / "nologin").exists()


@pytest.mark.parametrize("lock", [lock_store, lock_cache])
def test_a_second_name_of_a_private_file_opens_it_to_nobody(lock, shared, private):
    """Where the system allows such links at all."""
    os.link(private, shared / "lock")
    lock(shared)
    assert stat.S_IMODE(private.stat().st_mode) == 0o600


def test_permissions_are_those_of_the_file_and_not_of_what_has_taken_its_place(shared, private):
    (shared / "file").symlink_to(private)
    with pytest.raises(OSError, match="symbolic link"):
        set_mode(str(shared / "file"), 0o666)
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    set_mode(str(private), 0o640)
    assert stat.S_IMODE(private.stat().st_mode) == 0o640


def test_a_lock_file_gets_the_permissions_of_those_who_share_it(shared):
    descriptor = open_lock_file(str(shared / "lock"), 0o600)
    share(descriptor, 0o664)
    assert stat.S_IMODE(os.fstat(descriptor).st_mode) == 0o664
    os.close(descriptor)


def test_a_pipe_in_the_place_of_a_lock_of_others_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "lock")
    other_side = os.open(tmp_path / "lock", os.O_RDWR)  # else a mistake here would wait for ever
    descriptor = open_foreign_lock_file(str(tmp_path / "lock"))
    try:
        assert fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_NONBLOCK
    finally:
        os.close(descriptor)
        os.close(other_side)
