# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""A failure that is followed by a source build is told on the terminal, before that.

The children of Spack's new installer print into the logs of packages, or nowhere; see
``spack_oci.spack.hooks.notices``.
"""

import os
import pty
import re
import select
import time

import pytest
from support.spacks.caches import SECRET_VARIABLE

WHY = r"oci-leaf@\S+ cannot be had from the mirror cache: .*401.*credentials"


@pytest.fixture(scope="module")
def filled(built, our_python, new_cache, tmp_path_factory):
    cache = new_cache("tls")
    spack = built.sibling(tmp_path_factory.mktemp("pusher"), python=our_python)
    spack.use(cache)
    spack.run("oci", "push", "--update-index", "cache", "oci-leaf@1.0")
    return cache


@pytest.fixture(params=["old", "new"])
def spack(request, destination, filled):
    """Knows the index, and has the wrong password by now."""
    spack = destination(installer=request.param)
    spack.use(filled)
    spack.run("buildcache", "list", "--allarch")
    spack.environment[SECRET_VARIABLE] = "wrong"
    return spack


def words(text):
    """Without escape sequences and the line breaks of the terminal."""
    return " ".join(re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).split())


def test_the_reason_is_printed_before_the_source_build(spack):
    done = spack.run("install", "oci-leaf@1.0", check=False, env={"OCITEST_NO_BUILD": "1"})
    assert done.returncode != 0, "it tried to build, which the test does not allow"
    assert re.search(WHY, words(done.stderr)), done.stdout + done.stderr


def test_it_stops_with_the_reason_where_that_is_asked_for(spack):
    spack.run("config", "add", "oci:install:on_error:fail")
    done = spack.run("install", "oci-leaf@1.0", check=False)
    said = words(done.stderr)
    assert done.returncode != 0 and "oci-leaf" not in spack.installed()
    assert "401" in said and "credentials" in said, done.stdout + done.stderr
    if spack.installer == "old":  # the new one of develop shows the log of what has failed
        assert "Traceback" not in done.stdout + done.stderr
    assert not re.search(r"\bstaging\b|Executing phase", done.stdout + done.stderr)


def test_with_cache_only_the_reason_is_the_last_word(spack):
    """And not Spack's "No binary found", as a failure is no missing package."""
    if "--cache-only" not in spack.cache_only:
        pytest.skip("the new installer of Spack 1.1 has no --cache-only")
    done = spack.install_from_cache("oci-leaf@1.0", check=False)
    said = words(done.stdout + done.stderr)
    assert done.returncode != 0 and "401" in said
    assert "No binary found" not in said and "no binary available" not in said, said


def on_a_terminal(spack, *arguments, **environment):
    """What a user of a terminal sees, as one stream."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(spack.home)
        os.execve(spack.argv()[0], spack.argv(*arguments), {**spack.env(), "TERM": "xterm", **environment})
    seen, end = b"", time.monotonic() + 120
    while time.monotonic() < end:
        if select.select([terminal], [], [], 1)[0]:
            try:
                data = os.read(terminal, 4096)
            except OSError:  # EIO: everybody has closed it
                break
            if not data:
                break
            seen += data
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    return os.waitstatus_to_exitcode(status), seen.decode(errors="replace")


def test_on_a_terminal_it_stays_on_the_screen(spack):
    """The new installer redraws its list of packages all the time: a state is gone when the next one comes."""
    code, seen = on_a_terminal(spack, "install", "oci-leaf@1.0", OCITEST_NO_BUILD="1")
    assert code != 0
    assert re.search(WHY, words(seen)), seen
    if spack.installer == "new":
        before, _, after = seen.partition("cannot be had")
        assert "\x1b[" in after and "oci-leaf" in after, "the list is drawn again below"


BACKGROUND = """
import sys, types
from spack_oci.spack.hooks import notices
status = types.SimpleNamespace(headless=True, is_tty=True, overview_mode=True, active_area_rows=3, dirty=False)
sys.stderr = sys.stdout
notices.update_state(lambda *a: print("state:", a[-1]), status, "id", "staging")
notices.update_state(lambda *a: print("state:", a[-1]), status, "id", notices._MARK + "the reason")
print("nothing yet")
notices.print_waiting()
"""


def test_in_the_background_it_is_printed_at_the_end(destination):
    """Spack 1.2 writes nothing to the terminal of somebody else."""
    out = destination().script(BACKGROUND)
    assert words(out) == "state: staging nothing yet ==> Warning: the reason"
