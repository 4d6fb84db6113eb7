# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Files that appear complete or not at all."""

import errno
import os
import stat

import pytest
from spack_oci.errors import StorageError
from spack_oci.util.files import atomic_write, is_full, storage_errors


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
