# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack oci verify` and `repair` of a directory, as a user sees them."""

import json

import jsonschema
import pytest
from spack_oci.util.resources import read_schema

pytestmark = pytest.mark.one_spack


def document(done, schema):
    found = json.loads(done.stdout)
    jsonschema.Draft202012Validator(read_schema(f"commands/{schema}")).validate(found)
    return found


def test_what_is_gone_is_found_and_comes_back_from_the_blob_cache_or_the_store(source, new_cache):
    spack, cache = source(), new_cache("layout")
    spack.use(cache)
    spack.run("oci", "push", "--update-index", "cache", "oci-app")
    said = spack.run("oci", "verify", "--level", "content", "cache").stdout
    assert "Verified 4 packages" in said and "nothing is wrong" in said
    listed = json.loads(spack.run("oci", "list", "--json", "--allarch", "cache", "oci-leaf").stdout)["packages"]
    blob = cache.url[len("oci+file://") :] + "/blobs/sha256/" + listed[0]["layer"].partition(":")[2]

    def lose():
        spack.home.joinpath(blob).unlink()

    lose()
    assert spack.run("oci", "verify", "--level", "index", "cache").returncode == 0
    done = spack.run("oci", "verify", "cache", "--json", check=False)
    found = document(done, "verify")
    assert done.returncode == 1 and {f["kind"] for f in found["findings"]} >= {"layer-missing"}
    assert "send       sha256:" in spack.run("oci", "repair", "--dry-run", "cache").stdout
    repaired = document(spack.run("oci", "repair", "--json", "cache"), "repair")
    assert len(repaired["result"]["sent"]) == 1 and not repaired["remaining"]
    lose()
    spack.run("oci", "clean")
    said = spack.run("oci", "repair", "cache").stdout
    assert "pushed 1 package again" in said
    assert spack.run("oci", "verify", "cache").returncode == 0


def test_an_index_that_a_plain_spack_has_overwritten_is_found_and_made_again(source, new_cache):
    spack, cache = source(), new_cache("http")
    spack.use(cache)
    spack.run("oci", "push", "--update-index", "cache", "oci-leaf@2.0")
    plain = source(ours=False, name="plain")
    plain.use(cache)
    # it pushes one more package, and the index that it writes is not ours any more
    plain.run("buildcache", "push", "--unsigned", "--update-index", "cache", "oci-leaf@1.0")
    done = spack.run("oci", "verify", "--level", "index", "cache", check=False)
    assert done.returncode == 1 and "index-unusable" in done.stderr
    assert "updated the index" in spack.run("oci", "repair", "--level", "index", "cache").stdout
    assert "the index of 2 packages" in spack.run("oci", "verify", "--level", "index", "cache").stdout
