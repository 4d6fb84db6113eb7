# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack install /HASH`: the package is looked up in place, and Spack does not read the index of the mirror."""

import pytest

UNREAD = """
import sys
import spack.binary_distribution as bd
import spack.spec

def refuse(*_, **__):
    raise AssertionError("the whole index is read")

for name in ("BinaryIndexCache", "BinaryCacheIndex"):
    if hasattr(bd, name):
        getattr(bd, name).regenerate_spec_cache = refuse
        getattr(bd, name).update = refuse
if hasattr(spack.spec.Spec, "lookup_hash"):
    lookup_hash = spack.spec.Spec.lookup_hash
else:
    from spack.hash_lookup import lookup_hash
for word in sys.argv[1:]:
    found = lookup_hash(spack.spec.Spec(word))
    assert found.concrete
    print(found.name, found.dag_hash(), *sorted(d.dag_hash() for d in found.traverse(root=False)))
"""


@pytest.fixture
def consumer(source, destination, new_cache):
    """What it is asked of is in the index that it fetched last."""
    cache = new_cache("http")
    pusher = source()
    pusher.use(cache)
    pusher.run("oci", "push", "--update-index", "cache", "oci-app", "oci-leaf@1.0")
    spack = destination()
    spack.use(cache)
    spack.run("buildcache", "list")
    return spack, pusher


def looked_up(spack, *words, **kwargs):
    file = spack.home / "unread.py"
    file.write_text(UNREAD)
    return spack.run("python", file, *words, **kwargs)


def test_a_hash_is_looked_up_without_reading_the_whole_index(consumer):
    spack, pusher = consumer
    app = pusher.hashes()["oci-app"]
    lines = looked_up(spack, f"/{app}", f"/{app[:7]}", f"oci-app/{app[:4]}").stdout.splitlines()
    assert len(lines) == 3
    for line in lines:
        name, dag_hash, *others = line.split()
        assert (name, dag_hash) == ("oci-app", app)
        assert pusher.hashes()["oci-codegen"] in others, "with all that it was built with"


@pytest.mark.one_spack
def test_what_a_hash_names_installs(consumer):
    spack, pusher = consumer
    app = pusher.hashes()["oci-app"]
    spack.run("install", "--cache-only", "--no-check-signature", f"/{app[:7]}")
    assert "oci-app" in spack.installed()


@pytest.mark.one_spack
def test_what_cannot_be_found_in_place_is_looked_up_by_spack(consumer):
    spack, pusher = consumer
    unknown = spack.run("spec", "/" + "z" * 7, check=False)
    assert unknown.returncode and "Traceback" not in unknown.stderr and "hash" in unknown.stderr
    leaf = pusher.hashes()["oci-codegen"]
    other = spack.run("spec", f"oci-leaf/{leaf[:7]}", check=False)
    assert other.returncode and "Traceback" not in other.stderr
    mixed = spack.home / "plain"
    spack.mirrors(cache=str(spack.home), plain=mixed.as_uri())
    assert spack.run("spec", f"/{leaf[:7]}", check=False).returncode
