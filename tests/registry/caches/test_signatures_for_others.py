# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Who has no Spack verifies what we signed: cosign, and skopeo by the policies that podman has, too."""

import json
import subprocess

import pytest
from spack_oci.operations.install.fetch import find_package
from spack_oci.operations.trust.attach import attach
from spack_oci.operations.trust.guard import subject_of
from spack_oci.operations.trust.sign import sign_packages
from spack_oci.reference import parse_url
from spack_oci.registry import open_repository
from spack_oci.trust.provenance import MEDIA_TYPE, BuildFacts, envelope, statement
from support.images.containers import podman
from support.packages.cache_builder import node, push_package, tag_of
from support.packages.readable_packages import layer_of
from support.programs.cosign import cosign_verify
from support.registries.docker_registry import docker_registry
from support.spacks.caches import skopeo
from unit.trust.cases import signer

pytestmark = pytest.mark.registry
NODE = node("zlib")


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """``HOST/NAME@DIGEST`` of a signed package with a statement of provenance."""
    with docker_registry() as registry:
        store = open_repository(parse_url(registry.mirror_url("team/cache")))
        # a tarball that podman unpacks; as it is not compressed, the config has the digest of its content
        digest = push_package(store, [NODE], layer=layer_of([NODE]).tar()).digest
        (outcome,) = sign_packages(store, [tag_of(NODE)], signer("team"))
        assert outcome.error is None
        remote = find_package(store, tag_of(NODE))
        made = statement(subject_of(remote), tag_of(NODE), NODE, BuildFacts(), [])
        attach(store, remote.manifest, envelope(made, signer("team")), MEDIA_TYPE)
        yield f"{registry.host}/team/cache@{digest}"


@pytest.fixture
def keys(tmp_path):
    """A function that gives the path of a key without .pub."""

    def write(name):
        (tmp_path / f"{name}.pub").write_bytes(signer(name).public.pem)
        return tmp_path / name

    return write


def test_cosign_accepts_the_signature_beside_a_statement_of_provenance(image, keys):
    """cosign 3 falls back to such a signature only where it finds no bundle."""
    (payload,) = cosign_verify(keys("team"), image)
    assert payload["optional"]["org.spack-oci.package.hash"] == NODE["hash"]


@pytest.fixture
def home(image, keys, tmp_path, monkeypatch):
    """A function that has skopeo and podman ask for the signature of a key; docs/trust.md has the same files."""
    directory = tmp_path / ".config" / "containers"
    (directory / "registries.d").mkdir(parents=True)
    host = image.partition("/")[0]
    attachments = {"docker": {host: {"use-sigstore-attachments": True}}}
    (directory / "registries.d" / "own.yaml").write_text(json.dumps(attachments))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)

    def require(name):
        required = {
            "type": "sigstoreSigned",
            "keyPath": f"{keys(name)}.pub",
            "signedIdentity": {"type": "matchRepository"},
        }
        policy = {"default": [{"type": "reject"}], "transports": {"docker": {f"{host}/team": [required]}}}
        (directory / "policy.json").write_text(json.dumps(policy))

    return require


def check_policies(require, fetch):
    """``fetch``: what brings the image, and says why it does not."""
    require("team")
    done = fetch()
    if "sigstore disabled" in done.stderr or "sigstoreSigned" in done.stderr:
        pytest.skip("skopeo or podman is built without sigstore (those of Debian 12 are)")
    assert done.returncode == 0, done.stderr
    require("stranger")
    done = fetch()
    assert done.returncode != 0 and "signature verification failed" in done.stderr


def test_skopeo_copies_what_the_key_of_its_policy_has_signed_and_nothing_else(image, home, tmp_path):
    skopeo("--version")  # or the test is skipped
    words = ["skopeo", "copy", "--src-tls-verify=false", f"docker://{image}", f"dir:{tmp_path / 'image'}"]
    check_policies(home, lambda: subprocess.run(words, capture_output=True, text=True, stdin=subprocess.DEVNULL))


def test_podman_pulls_what_the_key_of_its_policy_has_signed_and_nothing_else(image, home, tmp_path):
    with podman(tmp_path / "podman") as engine:
        check_policies(home, lambda: engine.pull(image, check=False))
