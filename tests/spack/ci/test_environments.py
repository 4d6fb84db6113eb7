# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What CI does with environments: reuse from some mirrors only, install what is concretized, push to one of several
mirrors; and `spack bootstrap` from an OCI mirror."""

import json

import pytest
from support.registries.docker_registry import PASSWORD, USER

pytestmark = pytest.mark.one_spack


def environment(spack, name, **sections):
    directory = spack.home / name
    directory.mkdir()
    (directory / "spack.yaml").write_text(json.dumps({"spack": {"specs": ["oci-leaf"], "view": False, **sections}}))
    return directory


def version_of(directory):
    specs = json.loads((directory / "spack.lock").read_text())["concrete_specs"].values()
    return {spec["version"] for spec in specs if spec["name"] == "oci-leaf"}


def test_an_environment_reuses_from_the_mirrors_it_names_installs_and_is_pushed_to_one_mirror(
    source, destination, new_cache
):
    caches = {"old": new_cache("layout"), "other": new_cache("layout"), "target": new_cache("layout")}
    pusher = source()
    pusher.mirrors(**{name: cache.mirror for name, cache in caches.items()})
    pusher.run("oci", "push", "--update-index", "old", "oci-leaf@1.0")
    pusher.run("oci", "push", "--update-index", "other", "oci-leaf@2.0")
    spack = destination()
    spack.mirrors(**{name: cache.mirror for name, cache in caches.items()})

    def reuse(mirror):
        from_mirror = {"type": "buildcache", "include": ["oci-leaf@1.0"] if mirror == "old" else ["oci-leaf@2.0"]}
        return {"concretizer": {"reuse": {"from": [from_mirror]}}}

    for mirror, version in (("old", "1.0"), ("other", "2.0")):
        directory = environment(spack, mirror, **reuse(mirror))
        spack.run("-e", directory, "concretize")
        assert version_of(directory) == {version}
    directory = spack.home / "old"
    spack.run("-e", directory, "install", "--only-concrete", "--use-buildcache=only", "--no-check-signature")
    assert list(spack.installed()) == ["oci-leaf"], "from the cache, and nothing was concretized again"

    spack.run("-e", directory, "buildcache", "push", "--unsigned", "--update-index", "target")
    pushed = {name: len(cache.tags()) for name, cache in caches.items()}
    assert any(tag.startswith("oci-leaf-1.0-") for tag in caches["target"].tags()), pushed
    again = spack.run("-e", directory, "oci", "push", "target")
    assert "Nothing to push" in again.stdout + again.stderr


BOOTSTRAP = """
import json, os, sys
import spack.platforms
from spack.bootstrap.core import BuildcacheBootstrapper
import spack.config
import spack.store

url, dag_hash, digest, directory = sys.argv[1:]
with open(os.path.join(directory, "metadata.yaml"), "w") as f:
    json.dump({"type": "buildcache", "description": "a test", "info": {"url": url}}, f)
conf = {"name": "team", "metadata": directory, "type": "buildcache", "info": {"url": url}}
bootstrapper = BuildcacheBootstrapper(conf)
with spack.config.override(bootstrapper.mirror_scope):
    bootstrapper._install_by_hash(dag_hash, digest, spack.platforms.real_host())
print(spack.store.STORE.db.query_one("/" + dag_hash).prefix)
"""


def test_a_source_of_spack_bootstrap_may_be_an_oci_mirror(source, destination, new_cache):
    """As far as this can be had without the packages that Spack bootstraps: the part that looks up and installs. Its
    mirrors are those of the source alone, so credentials are the user's own."""
    cache = new_cache("tls")
    pusher = source()
    pusher.use(cache)
    pusher.run("oci", "push", "--update-index", "cache", "oci-leaf@1.0")
    (tag,) = [tag for tag in cache.tags() if tag.startswith("oci-leaf")]
    digest = json.loads(cache.raw_manifest(tag))["layers"][0]["digest"].partition(":")[2]
    spack = destination()
    spack.environment.update(SSL_CERT_FILE=cache.environment["SSL_CERT_FILE"])
    spack.run("oci", "login", "-u", USER, "--password-stdin", cache.url, input=PASSWORD)
    script = spack.home / "bootstrap.py"
    script.write_text(BOOTSTRAP)
    done = spack.run("python", script, cache.url, tag.rpartition("-")[2].partition(".")[0], digest, str(spack.home))
    assert "oci-leaf" in done.stdout.splitlines()[-1]
