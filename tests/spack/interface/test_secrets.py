# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""A password is planted, and looked for in all that a push and an install say, call and leave."""

import base64
import contextlib
import os
import shutil
import threading
import time
from pathlib import Path

import pytest
from support.registries.docker_registry import USER, docker_registry
from support.spacks.caches import tls_cache

pytestmark = pytest.mark.one_spack

#: not that of other tests, which may run at the same time
PASSWORD = "pl4nted-where-spack-runs"
PAIR = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
SECRETS = [PASSWORD.encode(), PAIR.encode()]


@contextlib.contextmanager
def command_lines():
    """Of all processes of this machine, while the block runs."""
    seen, done = set(), threading.Event()

    def look():
        while not done.is_set():
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                with contextlib.suppress(OSError):
                    seen.add(path.read_bytes())
            time.sleep(0.01)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        done.set()
        thread.join()


def files_with_secrets(*directories):
    for directory in directories:
        for parent, _, names in os.walk(directory):
            for path in (Path(parent, name) for name in names):
                if path.is_file() and not path.is_symlink() and any(s in path.read_bytes() for s in SECRETS):
                    yield str(path)


@pytest.fixture(scope="module")
def guarded():
    with docker_registry(auth="htpasswd", tls=True, users={USER: PASSWORD}) as registry:
        yield registry


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="there is no /proc here")
def test_nobody_sees_the_password(source, destination, guarded, tmp_path, spack_version):
    (tmp_path / "ca").mkdir()
    ca = Path(shutil.copy(guarded.ca, tmp_path / "ca" / "ca.crt"))
    cache = tls_cache(guarded.host, f"secrets/of-{spack_version}", ca, USER, PASSWORD)
    pusher, installer = source(), destination()
    said = []
    with command_lines() as seen:
        for spack, arguments in [
            (pusher, ["-d", "oci", "push", "--update-index", "--tag", "image", "cache", "oci-leaf@2.0"]),
            (pusher, ["-d", "oci", "show", "cache", "oci-leaf@2.0"]),
            (pusher, ["-d", "oci", "doctor", "cache"]),
            (installer, ["-d", "install", *installer.cache_only, "oci-leaf@2.0"]),
        ]:
            spack.use(cache)
            # a variable with which the tests start a process of its own, whose command line is that of the command
            done = spack.run(*arguments, env={"PYTHONUNBUFFERED": "1"})
            said += [done.stdout.encode(), done.stderr.encode()]
    assert installer.prefix("oci-leaf").is_dir()
    # who looked could see something
    assert any(b"oci\0push" in line for line in seen) and len(b"".join(said)) > 1000
    for secret in SECRETS:
        assert not [line for line in seen if secret in line]
        assert not [text for text in said if secret in text]
    assert list(files_with_secrets(pusher.home, installer.home, guarded.directory / "data")) == []
