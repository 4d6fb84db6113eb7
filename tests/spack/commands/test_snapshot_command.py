# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack oci snapshot`: its URL is a mirror for the concretizer, installs and lists, in a directory and a registry."""

import json

import jsonschema
import pytest
from spack_oci.util.resources import read_schema

pytestmark = pytest.mark.one_spack


def names(spack, mirror):
    document = json.loads(spack.run("oci", "list", "--allarch", "--json", mirror).stdout)
    return {f"{p['name']}@{p['version']}" for p in document["packages"]}


@pytest.mark.parametrize("kind", [pytest.param("layout", marks=pytest.mark.slow), "http"])
def test_a_snapshot_is_a_mirror_that_has_just_that(source, destination, new_cache, kind):
    spack, cache = source(), new_cache(kind)
    spack.use(cache)
    spack.run("oci", "push", "--update-index", "cache", "oci-app", "oci-leaf@1.0")
    made = json.loads(spack.run("oci", "snapshot", "--json", "cache", "paper", "oci-middle").stdout)
    assert made["packages"] == 2 and made["url"] == f"{cache.url}:paper"
    listed = json.loads(spack.run("oci", "snapshots", "--json", "cache").stdout)
    jsonschema.Draft202012Validator(read_schema("commands/snapshots")).validate(listed)
    assert names(spack, made["url"]) == {"oci-middle@1.0", "oci-leaf@2.0"}
    consumer = destination()
    consumer.run("mirror", "add", "paper", made["url"])
    consumer.run("install", "--cache-only", "oci-middle")
    assert "oci-middle" in consumer.run("find").stdout
    done = consumer.run("oci", "install", "--cache-only", "oci-app", check=False)
    assert done.returncode != 0 and "Traceback" not in done.stderr
    done = spack.run("oci", "push", made["url"], "oci-app", check=False)
    assert done.returncode != 0 and "is a snapshot, which does not change" in " ".join(done.stderr.split())
    consumer.mirrors(paper=f"{cache.url}:gone")
    done = consumer.run("oci", "list", "paper", check=False)
    assert done.returncode != 0 and "has no snapshot gone" in " ".join(done.stderr.split())
    planned = json.loads(spack.run("oci", "prune", "--dry-run", "--json", "cache").stdout)
    assert len(planned["kept"]) == 2 and planned["doomed"]
    spack.run("oci", "snapshot", "--remove", "cache", "paper")
    assert "no snapshots" in spack.run("oci", "snapshots", "cache").stdout
