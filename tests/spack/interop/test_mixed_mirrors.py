# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""OCI mirrors beside mirrors of Spack's own kinds, and mirrors that are for some packages only."""

import pytest

SIGNED = """
import spack.mirrors.mirror as m
for url in ("oci://r.example/a", "oci+http://r.example/a", "oci+file:///a", "file:///a", "https://r.example/a"):
    print(m.Mirror({"url": url}).signed, m.Mirror({"url": url, "signed": False}).signed)
"""


def test_only_mirrors_of_spacks_own_kinds_are_signed_by_default(bare_spack):
    """Until 1.1, autopush would look for a GPG key otherwise."""
    assert bare_spack.script(SIGNED).split() == 3 * ["False", "False"] + 2 * ["True", "False"]


@pytest.fixture
def mixed(source, new_cache, tmp_path):
    """(mirrors.yaml, the OCI cache): the one has `oci-leaf`, the other one `oci-files`; neither has an index."""
    cache, plain = new_cache("layout"), (tmp_path / "plain").as_uri()
    mirrors = {"plain": {"url": plain, "signed": False}, "cache": cache.mirror}
    pusher = source()
    pusher.mirrors(**mirrors)
    pusher.run("buildcache", "push", "--unsigned", "--only", "package", "cache", "oci-leaf@2.0")
    pusher.run("buildcache", "push", "--unsigned", "--only", "package", "plain", "oci-files")
    return mirrors, cache


DIRECT = """
import spack.binary_distribution as b, spack.store
from spack_oci.spack import compat

asked = set()

class NotThere:
    def __init__(self, url, *args, **kwargs):
        asked.add(url.partition(":")[0])
    def fetch_metadata(self):
        raise b.BuildcacheEntryError("not there")
    def destroy(self):
        pass

b.get_url_buildcache_class = lambda *args, **kwargs: NotThere
for name in ("oci-leaf@2.0", "oci-files"):
    (spec,) = spack.store.STORE.db.query(name)
    print([compat.indexed_url(entry).partition(":")[0] for entry in b.try_direct_fetch(spec)], sorted(asked))
"""


def test_a_package_that_no_index_names_is_looked_for_in_both(mixed, source):
    """Spack's own code asks its own kind of mirror, and no other; ours finds what is in the OCI mirror."""
    spack = source(name="reader")
    spack.mirrors(**mixed[0])
    assert spack.script(DIRECT).splitlines() == ["['oci+file'] ['file']", "[] ['file']"]


@pytest.mark.parametrize("installer", ["old", "new"])
def test_an_install_takes_each_package_from_the_mirror_that_has_it(installer, mixed, source, destination):
    pusher = source(name="indexer")
    pusher.mirrors(**mixed[0])
    for name in mixed[0]:
        pusher.run("buildcache", "update-index", name)
    spack = destination(installer=installer)
    spack.mirrors(**mixed[0])
    spack.install_from_cache("oci-leaf@2.0", "oci-files")
    assert {"oci-leaf", "oci-files"} <= set(spack.installed())


@pytest.mark.every_spack
def test_include_and_exclude_of_a_mirror_are_obeyed(source, destination, new_cache):
    """Spack has these filters since 1.2: what a mirror excludes is neither pushed to it nor fetched from it."""
    cache = new_cache("layout")
    pusher, reader = source(), destination()
    if pusher.version < (1, 2):
        pytest.skip("mirrors have no filters in this Spack")
    pusher.use(cache, push={"url": cache.url, "exclude_binary": ["oci-codegen"]})
    pusher.run("oci", "push", "--update-index", "cache", "oci-app")
    assert not [tag for tag in cache.tags() if tag.startswith("oci-codegen")]
    assert [tag for tag in cache.tags() if tag.startswith("oci-middle")]
    reader.use(cache, fetch={"url": cache.url, "exclude_binary": ["oci-leaf"]})
    done = reader.run("oci", "install", "--reuse", "oci-app", check=False)
    assert done.returncode != 0 and "no OCI mirror is configured that oci-leaf" in done.stderr


def test_a_push_to_a_url_has_the_credentials_of_the_mirror_on_that_host(source, new_cache):
    """As vanilla Spack has it: `spack buildcache push URL`, and `spack ci rebuild`, which makes such mirrors."""
    cache = new_cache("tls")
    spack = source()
    spack.use(cache)
    spack.run("buildcache", "push", "--unsigned", "--only", "package", cache.url, "oci-leaf@2.0")
    assert cache.tags()
    other = f"{cache.url}-that-is-not-configured"
    done = spack.run("buildcache", "push", "--unsigned", "--only", "package", other, "oci-leaf@2.0")
    assert "Tagged oci-leaf@2.0" in done.stdout + done.stderr
