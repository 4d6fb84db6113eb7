# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack oci push --if-writable`, for pipelines that may not write: those of forks, and with read-only tokens."""

import json

import pytest

pytestmark = pytest.mark.one_spack
ARGUMENTS = ("oci", "push", "--if-writable", "--update-index", "cache", "oci-leaf@1.0")


def test_without_the_secret_nothing_is_pushed_and_one_line_says_why(source, guarded_registry):
    url, user, password = guarded_registry("token")
    spack = source()
    spack.mirrors(cache={"fetch": url, "push": {"url": url, "access_pair": {"id": user, "secret_variable": "TOKEN"}}})
    done = spack.run(*ARGUMENTS)
    (line,) = (done.stdout + done.stderr).splitlines()
    assert f"Nothing is pushed to {url} (--if-writable)" in line and "TOKEN, which is not set" in line
    assert spack.run(*ARGUMENTS, env={"TOKEN": "wr0ng"}).returncode == 0
    pushed = json.loads(spack.run(*ARGUMENTS, "--json", env={"TOKEN": password}).stdout)
    assert pushed["pushed"] == 1 and "not_writable" not in pushed


def test_a_registry_that_is_down_is_no_reason_to_skip(source):
    spack = source()
    spack.mirrors(cache="oci+http://127.0.0.1:1/team/cache")
    assert spack.run(*ARGUMENTS, check=False).returncode == 1
