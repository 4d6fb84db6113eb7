# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What commands on a cache take in memory, in bytes a package: at a hundred thousand, all have to stay below 300 MiB.

A layout takes part of it: its table of all tags is read whole by every command (a registry has none).
"""

import contextlib
import gc
import json
import os
import shutil
import subprocess
import sys
import tracemalloc

import pytest
from spack_oci.cli import caches, settings
from spack_oci.cli.main import main
from support.packages.large_cache import large_cache

SMALL, LARGE = 200, 700
#: bytes a package; a database that is parsed as a whole takes 12,000
MOST = 2700
#: of what looks packages up in place: little more than the table of tags
IN_PLACE = 1100

COMMANDS = {
    "list": (MOST, ["list", "--allarch", "CACHE"]),
    "list NAME": (IN_PLACE, ["list", "--allarch", "CACHE", "first-of-all"]),
    "show /HASH": (IN_PLACE, ["show", "CACHE", "/HASH"]),
    "install --dry-run": (IN_PLACE, ["install", "--dry-run", "--store", "STORE", "CACHE", "first-of-all"]),
    "prune --dry-run": (MOST, ["prune", "--dry-run", "--keep-newer-than", "30d", "CACHE"]),
    "verify": (MOST, ["verify", "--level", "index", "CACHE"]),
    "copy with nothing to do": (MOST, ["copy", "CACHE", "OTHER"]),
    # with a piece of the page for the search, which is never of more than 2,000 nodes
    "catalog": (4000, ["catalog", "CACHE", "PAGE"]),
}
#: the same in other words
FURTHER = {
    "list as JSON": (MOST, ["list", "--allarch", "--json", "CACHE"]),
    "list of what has a variant": (MOST, ["list", "--allarch", "CACHE", "build_system=generic"]),
    "show NAME": (IN_PLACE, ["show", "CACHE", "first-of-all"]),
    "search": (IN_PLACE, ["search", "CACHE", "first"]),
    "prune --dry-run --keep-specs": (MOST, ["prune", "--dry-run", "--keep-specs", "first-of-all", "CACHE"]),
    "copy of one": (MOST, ["copy", "--dry-run", "CACHE", "OTHER", "first-of-all"]),
    "du": (MOST, ["du", "--quick", "CACHE"]),
}


def make(directory, packages):
    """What the words of commands stand for."""
    _, first = large_cache(directory / "cache", packages)
    shutil.copytree(directory / "cache", directory / "other")
    paths = {"CACHE": "cache", "OTHER": "other", "PAGE": "page", "STORE": "store"}
    return {**{word: str(directory / name) for word, name in paths.items()}, "/HASH": f"/{first['hash']}"}


@pytest.fixture(scope="module")
def worlds(tmp_path_factory):
    return [make(tmp_path_factory.mktemp("cache"), packages) for packages in (SMALL, LARGE)]


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    directory = tmp_path_factory.mktemp("client")
    (directory / "config.json").write_text("{}")
    return {"SPACK_OCI_CACHE": str(directory / "cache"), "SPACK_OCI_CONFIG": str(directory / "config.json")}


@pytest.fixture(autouse=True)
def own_settings(client, monkeypatch):
    for name, value in client.items():
        monkeypatch.setenv(name, value)
    settings.read.cache_clear()
    yield
    settings.read.cache_clear()


def run(words, world):
    caches.opened_once.cache_clear()
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        assert main([world.get(word, word) for word in words]) == 0


def peak(words, world):
    """Bytes that a command allocates at most: the least of two runs, as threads that earlier tests have left count."""
    found = []
    for _ in range(2):
        gc.collect()
        tracemalloc.start()
        try:
            run(words, world)
            found.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    return min(found)


@pytest.fixture(scope="module")
def fetched(worlds, client):
    """The indexes are on the disk of the client."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in client.items():
            patch.setenv(name, value)
        settings.read.cache_clear()
        for world in worlds:
            run(["search", "CACHE", "first"], world)


@pytest.mark.parametrize("command", COMMANDS)
def test_command_takes_few_bytes_a_package(command, worlds, fetched):
    bound, words = COMMANDS[command]
    run(words, worlds[0])  # what is imported once
    small, large = (peak(words, world) for world in worlds)
    taken = (large - small) / (LARGE - SMALL)
    assert taken < bound, taken


@pytest.mark.slow
def test_commands_stay_below_300_mib_at_a_hundred_thousand_packages(tmp_path):
    if sys.platform != "linux":
        pytest.skip("reads /proc/self/status")
    world = make(tmp_path, 100_000)
    program = (
        "import sys; from spack_oci.cli.main import main; status = main(sys.argv[1:]); sys.stdout.flush();"
        "print([line for line in open('/proc/self/status') if line.startswith('VmHWM')][0], file=sys.stderr);"
        "sys.exit(status)"
    )
    peaks = {}
    for command, (_, words) in {**COMMANDS, **FURTHER}.items():
        argv = [sys.executable, "-c", program, *(world.get(word, word) for word in words)]
        done = subprocess.run(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        assert done.returncode == 0, done.stderr
        peaks[command] = int(done.stderr.split("VmHWM:")[1].split()[0]) >> 10
    too_large = {c: peak for c, peak in peaks.items() if peak >= 300}
    assert not too_large, json.dumps(peaks, indent=1)
