# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Ctrl-C: a push and an install end at once, leave nothing half done, run again and finish."""

import itertools
import os
import re
import signal
import time

import pytest
from support.network.holding_proxy import holding_proxy
from support.programs.terminals import REWRITTEN, on_a_terminal
from support.spacks.caches import http_cache
from support.spacks.stack_checks import STACK, check_stack

#: seconds until the request to be held must have come, and until an interrupted command must have ended; on a machine
#: that does other things. The server is silent for longer
REACHED, ENDED = 120, 120

numbers = itertools.count()


@pytest.fixture
def proxy(http_registry):
    with holding_proxy(http_registry.host) as proxy:
        yield proxy


@pytest.fixture
def cache(proxy):
    """A cache that is reached through the proxy."""
    return http_cache(proxy.host, f"interrupted/cache-{next(numbers)}")


#: what Spack's new installer prints when Python drops a Ctrl-C
DROPPED = re.compile(r"Exception ignored .*KeyboardInterrupt", re.DOTALL)


def interrupt(spack, proxy, *arguments, env=None, installer="old") -> str:
    """Run a command until it waits for the held request, press Ctrl-C, and return what it said.

    What is on its way to the registry at that moment may arrive; nothing else is begun.

    Spack's new installer forks for every package in its main process. A Ctrl-C that comes while it forks is dropped
    (see ``interrupts_wait``, which keeps us from it), the install goes on, and a user presses again. So do we, with
    that installer, and only if Python printed that it dropped the first. Vanilla Spack does the same:
    ``strace -e inject=clone:signal=SIGINT:when=2 spack install PACKAGE`` installs it, prints the same and exits with 0.
    """
    with spack.popen(*arguments, env=env) as process:
        try:
            if not proxy.reached.wait(REACHED):
                os.killpg(process.pid, signal.SIGKILL)
                pytest.fail(f"{arguments} did not come so far: {process.communicate()}")
            os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all of its processes
            time.sleep(1)
            said = said_so_far(process.stderr)
            if installer == "new" and process.poll() is None and DROPPED.search(said):
                os.killpg(process.pid, signal.SIGINT)
                time.sleep(1)
            proxy.pass_everything()
            out, err = process.communicate(timeout=ENDED)
            err = said + err
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode != 0
    assert "spack_oci" not in err, f"a traceback of ours: {err}"  # Spack's new installer shows its own
    return out + err


def said_so_far(stream) -> str:
    os.set_blocking(stream.fileno(), False)
    try:
        return os.read(stream.fileno(), 1 << 16).decode(errors="replace")
    except BlockingIOError:
        return ""
    finally:
        os.set_blocking(stream.fileno(), True)


@pytest.mark.one_spack
def test_push(source, proxy, cache, destination, built):
    """What is complete stays, and is not sent again."""
    spack = source()
    spack.use(cache)
    spack.write_config("oci", {"jobs": {"transfer": 1}})  # otherwise all of it is on its way at once
    proxy.hold(r"PUT .*/manifests/", number=3)
    interrupt(spack, proxy, "oci", "push", "cache", "oci-stack")
    complete = [tag for tag in cache.tags() if tag.endswith(".spack")]
    assert 2 <= len(complete) < 7

    again = spack.run("oci", "push", "--update-index", "cache", "oci-stack")
    assert "Pushed" in again.stdout + again.stderr
    assert len([tag for tag in cache.tags() if tag.startswith("oci-")]) == 7
    consumer = destination()
    consumer.use(cache)
    consumer.install_from_cache("oci-stack")
    check_stack(consumer, foreign=[built.tree])


@pytest.mark.parametrize("installer", ["old", "new"])
def test_install(installer, source, proxy, cache, destination, built):
    """In the middle of a layer; the second run needs no help."""
    pusher = source()
    pusher.use(cache)
    pusher.run("oci", "push", "--update-index", "cache", "oci-stack")

    spack = destination(installer=installer)
    spack.use(cache)
    assert "oci-stack" in spack.run("buildcache", "list", "--allarch").stdout  # the index is here from now on
    proxy.hold(r"GET .*/blobs/", number=3)
    interrupt(
        spack,
        proxy,
        "install",
        *spack.cache_only,
        "oci-stack",
        env={"OCITEST_NO_BUILD": "1"},
        installer=installer,
    )
    installed = set(spack.installed())
    assert not set(STACK) <= installed

    spack.install_from_cache("oci-stack")
    prefixes = check_stack(spack, foreign=[built.tree])
    for directory in {p.parent for name, p in prefixes.items() if name in STACK}:
        assert not [name for name in os.listdir(directory) if name.startswith(".")], "left by the first run"


@pytest.mark.parametrize(
    "command", [*(pytest.param(c, marks=pytest.mark.one_spack) for c in ("oci install", "oci fetch")), "install"]
)
def test_bulk(command, source, proxy, cache, destination, built):
    """It does not wait for a server that has stopped answering; what was told to be installed is, all else is gone."""
    pusher = source()
    pusher.use(cache)
    pusher.run("oci", "push", "--update-index", "cache", "oci-stack")

    spack = destination()
    spack.use(cache)
    assert "oci-stack" in spack.run("buildcache", "list", "--allarch").stdout
    spack.write_config("oci", {"jobs": {"transfer": 2}})
    proxy.hold(r"GET .*/blobs/", number=4)
    options = spack.cache_only if command == "install" else []
    with spack.popen(*command.split(), *options, "oci-stack") as process:
        if not proxy.reached.wait(REACHED):
            os.killpg(process.pid, signal.SIGKILL)
            pytest.fail(f"{process.communicate()}")
        time.sleep(0.5)
        for _ in range(3):  # the first ends it, the others are those of an impatient user
            os.killpg(process.pid, signal.SIGINT)
            time.sleep(0.2)
        out, err = process.communicate(timeout=ENDED)
    assert not proxy.release.is_set(), "it ended while the server was silent"
    assert process.returncode != 0 and "Traceback" not in err, err
    told = {word for line in out.splitlines() if line.startswith("[+]") for word in line.split() if word[0] == "/"}
    installed = {str(prefix) for prefix in (spack.prefix(node["name"]) for node in spack.installed().values())}
    assert told <= installed
    there = {str(path.parent) for path in spack.tree.glob("*/oci-*/.spack")}
    assert there <= installed and not list(spack.tree.glob("*/.*.oci-*"))
    proxy.pass_everything()

    spack.run("oci", "install", "oci-stack")
    check_stack(spack, foreign=[built.tree])


@pytest.mark.one_spack
@pytest.mark.one_spack
@pytest.mark.parametrize(
    "command, held",
    [
        ("push --update-index {other} oci-stack", r"PUT .*/manifests/"),
        ("copy cache {other}", r"PUT .*/manifests/"),
        pytest.param("fetch oci-stack", r"GET .*/blobs/", marks=pytest.mark.slow),
    ],
    ids=["push", "copy", "fetch"],
)
def test_on_a_terminal_the_line_below_goes_and_one_says_why(command, held, source, proxy, cache, destination):
    spack = source()
    spack.use(cache)
    spack.run("oci", "push", "--update-index", "cache", "oci-stack")
    if command.startswith("fetch"):
        spack = destination()
        spack.use(cache)
        spack.run("oci", "list")  # the index is here from now on
    words = command.format(other=cache.url + "-other").split()
    proxy.hold(held)
    code, shown = on_a_terminal(
        spack.argv("oci", *words), spack.env(), spack.home, interrupt=lambda: proxy.reached.wait(REACHED)
    )
    assert code == 2, shown  # as Spack's own commands
    assert [line for line in shown.rpartition(REWRITTEN)[2].splitlines() if line] == ["==> Error: Keyboard interrupt."]
    proxy.pass_everything()
    spack.run("oci", *words)


def test_update_index(source, proxy, cache):
    """The old index or the new one, and never none."""
    spack = source()
    spack.use(cache)
    spack.run("oci", "push", "--update-index", "cache", "oci-leaf@2.0")
    spack.run("oci", "push", "cache", "oci-files")
    proxy.hold(r"PUT .*/manifests/")
    interrupt(spack, proxy, "oci", "update-index", "cache")
    assert "oci-leaf" in spack.run("oci", "list", "--allarch", "cache").stdout
    spack.run("oci", "update-index", "cache")
    assert "oci-files" in spack.run("oci", "list", "--allarch", "cache").stdout
