# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Spack's locks, seen from another process."""

import fcntl
import os
import stat
import subprocess
import sys

import pytest
from spack_oci.errors import StorageError, StoreLocked
from spack_oci.store.locks import FileLock, all_or_none, byte_of
from support.specs.spec_nodes import hash_of

#: holds a lock on bytes of a file until its standard input ends
HOLD = """
import fcntl, os, sys
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
fcntl.lockf(fd, fcntl.LOCK_EX if sys.argv[4] == "x" else fcntl.LOCK_SH, int(sys.argv[3]), int(sys.argv[2]))
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holder():
    """``holder(path, start, length)``: another process that holds a lock."""
    started = []

    def hold(path, start=0, length=0, kind="x"):
        argv = [sys.executable, "-c", HOLD, str(path), str(start), str(length), kind]
        process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert process.stdout.readline() == b"held\n"
        started.append(process)
        return process

    yield hold
    for process in started:
        process.communicate()


def test_the_byte_of_a_package_is_the_beginning_of_its_hash():
    # spack.util.hash.base32_prefix_bits(HASH, 63)
    assert byte_of("fwtxwgvabcdefghijklmnopqrstuvwxy") == 1644866703550858017
    assert byte_of("a" * 32) == 0
    assert byte_of("7" * 32) == 2**63 - 1


def test_a_lock_that_another_process_holds_is_waited_for_and_named(tmp_path, holder):
    path = tmp_path / "lock"
    process = holder(path)
    lock = FileLock(str(path), label="the database of /x")
    assert not lock.try_acquire() and not lock.try_acquire(exclusive=False)
    with pytest.raises(StoreLocked, match="the database of /x"):
        lock.acquire(timeout=0.01)
    process.communicate()
    with lock.held(timeout=10):
        pass


def test_readers_share_a_lock_and_writers_do_not(tmp_path, holder):
    path = tmp_path / "lock"
    holder(path, kind="s")
    lock = FileLock(str(path))
    assert lock.try_acquire(exclusive=False) and not lock.try_acquire(exclusive=True)


def test_the_bytes_of_two_packages_are_two_locks(tmp_path, holder):
    path = tmp_path / "prefix_lock"
    one, two = byte_of(hash_of("one")), byte_of(hash_of("two"))
    holder(path, one, 1)
    assert not FileLock(str(path), one, 1).try_acquire()
    assert FileLock(str(path), two, 1).try_acquire()


def test_no_lock_is_held_while_another_is_waited_for(tmp_path, holder):
    path = tmp_path / "prefix_lock"
    busy = holder(path, 5, 1)
    tries = []

    def locks():
        tries.append(1)
        if len(tries) == 3:
            # what was locked in the tries before is free for others
            free = holder(path, 4, 1)
            free.communicate()
            busy.communicate()
        return [FileLock(str(path), n, 1) for n in (4, 5)]

    with all_or_none(locks):
        assert len(tries) >= 3


def test_a_lock_file_that_was_replaced_is_opened_anew(tmp_path, holder):
    path = tmp_path / "lock"
    lock = FileLock(str(path))
    assert lock.try_acquire()
    os.unlink(path)
    holder(path)
    assert not lock.try_acquire()


def test_everybody_who_may_write_into_a_store_may_lock_it_whatever_the_umask(tmp_path):
    tmp_path.chmod(0o2775)
    before = os.umask(0o077)
    try:
        assert FileLock(str(tmp_path / "lock")).try_acquire()
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "lock").stat().st_mode) & 0o066 == 0o064


def test_a_lock_where_nothing_may_be_written_is_an_error_that_says_so(tmp_path, monkeypatch):
    path = tmp_path / "lock"
    path.touch()
    real = os.open

    def no_writing(name, flags, *rest, **more):
        if flags & os.O_RDWR:
            raise PermissionError(13, "Permission denied", name)
        return real(name, flags, *rest, **more)

    monkeypatch.setattr(os, "open", no_writing)
    lock = FileLock(str(path))
    assert lock.try_acquire(exclusive=False)
    with pytest.raises(StorageError, match="Permission denied"):
        lock.try_acquire(exclusive=True)


def test_fcntl_has_room_for_the_last_byte():
    assert fcntl.LOCK_EX and byte_of("7" * 32) < 2**63
