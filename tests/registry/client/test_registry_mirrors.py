# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Pull-through mirrors: asked in order, passed over when they fail, and never believed about what is missing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import spack_oci
from spack_oci.content import BytesSource
from spack_oci.errors import NotFound
from spack_oci.reference import Repository
from spack_oci.registry import Mirror, open_repository
from support.registries.fault_registry import Fault, fault_registry
from support.registries.registry_cases import LARGE, MANIFEST, NAME, SMALL, Sleeps, fetch, keep, layer, settings_for


def mirrored(registry, *mirrors, **kwargs):
    settings = settings_for(registry, mirrors=[Mirror(Repository(m.host, NAME, m.scheme)) for m in mirrors], **kwargs)
    return open_repository(Repository(registry.host, NAME, registry.scheme), settings)


def test_mirrors_are_asked_in_order_and_the_origin_last():
    with fault_registry() as first, fault_registry() as second, fault_registry() as origin:
        keep(second, SMALL, manifest=MANIFEST)
        keep(origin, SMALL, LARGE)
        store = mirrored(origin, first, second)
        assert fetch(store, SMALL) == SMALL
        assert store.get_manifest("1")[1] == MANIFEST
        assert (first.methods(), second.methods(), origin.methods()) == (["GET 404"] * 2, ["GET 200"] * 2, [])
        assert fetch(store, LARGE) == LARGE
        assert origin.methods() == ["GET 200"]
        with pytest.raises(NotFound):
            store.get_manifest("2")


def test_mirror_with_a_long_retry_after_is_passed_over():
    fault = Fault("GET", "", status=429, headers={"Retry-After": "60"})
    sleeps = Sleeps()
    with fault_registry(fault) as mirror, fault_registry() as origin:
        keep(origin, SMALL)
        assert fetch(mirrored(origin, mirror, sleeps=sleeps), SMALL) == SMALL
        assert mirror.methods() == ["GET 429"] and sleeps == []


def test_download_goes_on_at_the_origin():
    faults = [Fault("GET", "", truncate=1_000_000), Fault("GET", "", status=500, times=99)]
    with fault_registry(*faults) as mirror, fault_registry() as origin:
        keep(mirror, LARGE)
        keep(origin, LARGE)
        assert fetch(mirrored(origin, mirror), LARGE) == LARGE
        assert origin.seen[0][2]["Range"] == "bytes=1000000-"
        assert mirror.methods() == ["GET 200", "GET 500", "GET 500"] and origin.methods() == ["GET 206"]


def test_damaged_mirror():
    with fault_registry(Fault("GET", "", corrupt=True, times=9)) as mirror, fault_registry() as origin:
        for registry in (mirror, origin):
            keep(registry, SMALL, LARGE, manifest=MANIFEST)
        store = mirrored(origin, mirror)
        assert fetch(store, SMALL) == SMALL
        assert store.get_manifest("1")[1] == MANIFEST
        assert mirror.methods() == ["GET 200"] * 3 and origin.methods() == ["GET 200"] * 2


def test_mirrors_get_no_credentials_of_the_origin():
    with fault_registry(auth="basic") as mirror, fault_registry(auth="basic") as origin:
        keep(origin, SMALL)
        assert fetch(mirrored(origin, mirror), SMALL) == SMALL
        assert all("Authorization" not in h for _, _, h in mirror.seen)


def test_pushes_ask_the_origin_only():
    with fault_registry() as mirror, fault_registry() as origin:
        keep(mirror, SMALL)
        assert mirrored(origin, mirror).put_blob(layer(SMALL), BytesSource(SMALL))
        assert mirror.requests() == []


def test_a_command_that_writes_reads_past_the_mirrors(tmp_path):
    """They lag behind, and what they say would be written."""
    with fault_registry() as mirror, fault_registry() as origin:
        registries = {origin.host: {"insecure_http": True, "mirrors": [f"oci+http://{mirror.host}"]}}
        (tmp_path / "config.json").write_text(json.dumps({"registries": registries}))
        library = Path(spack_oci.__file__).parents[1]
        paths = {"SPACK_OCI_CONFIG": str(tmp_path / "config.json"), "SPACK_OCI_CACHE": str(tmp_path / "cache")}
        env = {**os.environ, **paths, "PYTHONPATH": str(library)}

        def run(*arguments):
            command = [sys.executable, "-m", "spack_oci", *arguments, f"oci://{origin.host}/a/b"]
            return subprocess.run(command, env=env, capture_output=True, text=True)

        done = run("update-index", "--create")
        assert done.returncode == 0, done.stderr
        assert origin.requests() and mirror.requests() == []
        done = run("list")
        assert done.returncode == 0, done.stderr
        assert mirror.requests()
