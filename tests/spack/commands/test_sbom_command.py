# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""SBOMs of packages and images: where scanners and oras look for them."""

import json
import shutil
import subprocess

import pytest
from support.programs.cosign import PASSWORD
from support.spacks.caches import skopeo

ENV = {"COSIGN_PASSWORD": PASSWORD}
TYPE = "application/spdx+json"


@pytest.fixture
def spack(source, new_cache, tmp_path):
    instance = source()
    instance.use(new_cache("http"))
    instance.run("oci", "key", "generate", str(tmp_path / "team"), env=ENV)
    return instance


def referrers(cache, digest, artifact_type=TYPE):
    """As trivy finds them on a registry without the referrers API: the fallback tag."""
    index = json.loads(cache.raw_manifest(digest.replace(":", "-")))
    return [m for m in index["manifests"] if m.get("artifactType") == artifact_type]


def raw(cache, digest):
    """A manifest by its digest."""
    return json.loads(skopeo("inspect", "--raw", *cache.skopeo_flags, cache.image("").rstrip(":") + f"@{digest}"))


@pytest.mark.one_spack
def test_packages_and_images_have_sboms_that_scanners_find(spack, new_cache, tmp_path):
    cache = new_cache("http")
    spack.use(cache)
    pushed = spack.run(
        *(
            "oci",
            "push",
            "--json",
            "--update-index",
            "--sbom",
            "--provenance",
            "--sign",
            f"{tmp_path}/team.key",
            "--tag",
            "app",
            "cache",
            "oci-app",
        ),
        env=ENV,
    )
    document = json.loads(pushed.stdout)
    digests = {p["name"]: p["manifest"]["digest"] for p in document["packages"]}
    for digest in (digests["oci-app"], document["images"][0]["manifest"]["digest"]):
        (found,) = referrers(cache, digest)
        manifest = raw(cache, found["digest"])
        assert manifest["subject"]["digest"] == digest
        assert manifest["layers"][0]["mediaType"] == TYPE

    assert len(referrers(cache, digests["oci-app"], "application/vnd.dsse.envelope.v1+json")) == 1

    shown = json.loads(spack.run("oci", "show", "--sbom", "cache", f"/{spack.hashes()['oci-app']}").stdout)
    names = {p["name"] for p in shown["packages"]}
    assert {"oci-app", "oci-middle", "oci-leaf"} <= names
    image = json.loads(spack.run("oci", "show", "--sbom", "cache", "app").stdout)
    assert {p["name"] for p in image["packages"]} >= {"oci-app", "oci-middle", "oci-leaf"}

    oras = shutil.which("oras")
    if oras:
        repository = cache.url.partition("://")[2]
        done = subprocess.run(
            [oras, "discover", "--plain-http", "-o", "json", f"{repository}@{digests['oci-app']}"],
            capture_output=True,
            check=True,
        )
        assert TYPE in done.stdout.decode()


@pytest.mark.one_spack
def test_export_writes_it_beside_and_into_the_image(spack, tmp_path):
    spack.run("oci", "export", "--sbom", tmp_path / "app.spdx.json", tmp_path / "image:app", "oci-app")
    document = json.loads((tmp_path / "app.spdx.json").read_text())
    assert document["spdxVersion"] == "SPDX-2.3"
    assert {"oci-app", "oci-leaf"} <= {p["name"] for p in document["packages"]}
    listed = subprocess.run(
        "for b in blobs/sha256/*; do tar -tf $b 2>/dev/null; done | grep spdx.json",
        shell=True,
        cwd=tmp_path / "image",
        capture_output=True,
        text=True,
    )
    assert "opt/spack-environment/sbom.spdx.json" in listed.stdout
