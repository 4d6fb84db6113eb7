# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""A package that only its owner may read is closed from the moment that its prefix is there."""

import pytest

pytestmark = pytest.mark.one_spack

#: what Spack's hooks find, before they set the permissions themselves
LOOK = """
import os, stat
import spack.hooks
from spack.main import SpackCommand

def look(spec, explicit=None):
    with open(os.environ["OCITEST_LOG"], "w") as log:
        log.write(oct(stat.S_IMODE(os.stat(spec.prefix).st_mode)))

spack.hooks.post_install = look
print(SpackCommand("oci")("install", "oci-leaf@2.0", fail_on_error=False))
"""


def test_a_restricted_package_is_never_open_to_others(built, new_cache, our_python, destination, tmp_path):
    cache = new_cache("layout")
    pusher = built.sibling(tmp_path / "pusher", python=our_python)
    pusher.use(cache)
    pusher.run("oci", "push", "--without-build-dependencies", "--update-index", "cache", "oci-leaf@2.0")
    for read, mode in (("user", "0o700"), ("world", "0o2755")):
        spack = destination(name=read)
        spack.use(cache)
        permissions = {"read": read, "write": "user"}
        config = {"all": {"require": [], "permissions": permissions}}
        spack.write_config("packages", config)
        (tmp_path / "look.py").write_text(LOOK)
        done = spack.run("python", tmp_path / "look.py", env={"OCITEST_LOG": str(tmp_path / read)})
        assert (tmp_path / read).exists(), done.stdout + done.stderr
        assert (tmp_path / read).read_text() == mode
