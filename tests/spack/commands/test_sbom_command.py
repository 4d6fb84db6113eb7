# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""SBOMs of packages and images: where scanners and oras look for them."""

import json
import shutil
import subprocess
import urllib.error
import urllib.request

import pytest
from support.programs.cosign import PASSWORD

ENV = {"COSIGN_PASSWORD": PASSWORD}
TYPE = "application/spdx+json"
MANIFEST, INDEX = (f"application/vnd.oci.image.{kind}.v1+json" for kind in ("manifest", "index"))


@pytest.fixture
def spack(source, new_cache, tmp_path):
    instance = source()
    instance.use(new_cache("http"))
    instance.run("oci", "key", "generate", str(tmp_path / "team"), env=ENV)
    return instance


def referrers(cache, digest, artifact_type=TYPE):
    """Those of the fallback tag, on a registry without the referrers API."""
    index = json.loads(cache.raw_manifest(digest.replace(":", "-")))
    return [m for m in index["manifests"] if m.get("artifactType") == artifact_type]


def get(cache, path, accept="*/*"):
    """(media type, body) of what a repository has, by plain HTTP; None: it is not there, or of another type."""
    host, _, name = cache.url.partition("://")[2].partition("/")
    request = urllib.request.Request(f"http://{host}/v2/{name}/{path}", headers={"Accept": accept})
    try:
        with urllib.request.urlopen(request) as response:
            return response.headers["Content-Type"], response.read()
    except urllib.error.HTTPError as e:
        if e.code in (400, 404, 406):
            return None
        raise


def sbom_for_trivy(cache, digest):
    """What ``trivy image --sbom-sources oci`` takes for the SBOM of an image, step by step (trivy
    ``pkg/fanal/artifact/image/remote_sbom.go``, ``pkg/oci/artifact.go``, ``pkg/sbom``; go-containerregistry
    ``pkg/v1/remote/referrers.go``)."""
    found = get(cache, f"referrers/{digest}", INDEX)
    if found is None or found[0] != INDEX:
        found = get(cache, f"manifests/{digest.replace(':', '-')}", INDEX)
    for descriptor in json.loads(found[1])["manifests"] if found else ():
        kind = descriptor.get("artifactType")
        if kind not in ("application/vnd.cyclonedx+json", TYPE):
            continue
        _, manifest = get(cache, f"manifests/{descriptor['digest']}", MANIFEST)
        layers = json.loads(manifest)["layers"]
        if len(layers) != 1 or layers[0]["mediaType"] != kind:
            continue
        document = json.loads(get(cache, f"blobs/{layers[0]['digest']}")[1])
        if document.get("SPDXID") == "SPDXRef-DOCUMENT":
            return document
    return None


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
        manifest = json.loads(get(cache, f"manifests/{found['digest']}", MANIFEST)[1])
        assert manifest["subject"]["digest"] == digest
        assert {"oci-app", "oci-leaf"} <= {p["name"] for p in sbom_for_trivy(cache, digest)["packages"]}

    assert len(referrers(cache, digests["oci-app"], "application/vnd.dsse.envelope.v1+json")) == 1

    shown = json.loads(spack.run("oci", "show", "--sbom", "cache", f"/{spack.hashes()['oci-app']}").stdout)
    names = {p["name"] for p in shown["packages"]}
    assert {"oci-app", "oci-middle", "oci-leaf"} <= names
    image = json.loads(spack.run("oci", "show", "--sbom", "cache", "app").stdout)
    assert {p["name"] for p in image["packages"]} >= {"oci-app", "oci-middle", "oci-leaf"}

    # both are what is signed, so a policy lets them be shown, and no one that is signed by nobody
    trust = {"keys": {"team": f"{tmp_path}/team.pub"}, "policies": {"*": {"mode": "require"}}}
    spack.write_config("oci", {"trust": trust})
    assert json.loads(spack.run("oci", "show", "--sbom", "cache", "app").stdout) == image
    assert json.loads(spack.run("oci", "show", "--sbom", "cache", f"/{spack.hashes()['oci-app']}").stdout) == shown
    spack.run("oci", "push", "--sbom", "--unsigned", "--tag", "other", "cache", "oci-leaf@2.0")
    done = spack.run("oci", "show", "--sbom", "cache", "other", check=False)
    assert done.returncode != 0 and "is not signed by team" in " ".join(done.stderr.split()) and not done.stdout

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
