# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Images that were pushed to a real registry are run by a real Apptainer, and by what Apptainer asks of an image.

Apptainer is not in every distribution (Debian has it in sid only): without it, the tests that need it are skipped, and
the rules are left, which are checked on what is pushed.
"""

import json
import os
import platform as machine
import shutil
import subprocess

import pytest
from spack_oci import descriptor as d
from spack_oci.archive.codec import Compression
from spack_oci.content.copy import GraphCopy
from spack_oci.image.runtime import RuntimeSettings
from spack_oci.layout import open_layout
from spack_oci.operations.images import image_files
from spack_oci.operations.images.environment_image import ImageRequest, plan_image, push_environment_image
from spack_oci.reference import LayoutDirectory, parse_url
from spack_oci.registry.store import open_repository
from support.images.containers import shell_base
from support.packages.image_packages import compiled_packages, push_all, together
from support.registries.docker_registry import docker_registry

pytestmark = [
    pytest.mark.registry,
    pytest.mark.skipif(machine.machine() != "x86_64" or not shutil.which("gcc"), reason="needs gcc on x86_64"),
]

#: what each vocabulary has of config and gzip layer
_VOCABULARIES = {
    d.OCI_MANIFEST: (d.OCI_CONFIG, d.OCI_LAYER_GZIP),
    d.DOCKER_MANIFEST: (d.DOCKER_CONFIG, d.DOCKER_LAYER_GZIP),
}


@pytest.fixture(scope="module")
def registry():
    with docker_registry() as running:
        yield running


@pytest.fixture(scope="module")
def store(registry):
    with open_repository(parse_url(registry.mirror_url("team/cache"))) as opened:
        yield opened


@pytest.fixture(scope="module", params=["oci", "docker"])
def base(request, registry, store):
    """A base image in OCI's vocabulary, and one in Docker's."""
    return shell_base(registry, store, docker=request.param == "docker")


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    return compiled_packages(str(tmp_path_factory.mktemp("store")))


@pytest.fixture(scope="module")
def apptainer(tmp_path_factory):
    program = shutil.which("apptainer") or shutil.which("singularity")
    if not program:
        # not "needs ...": it cannot be required where no package of the distribution has it
        pytest.skip("there is no apptainer on this machine")
    # its files are as large as the images
    directory = tmp_path_factory.mktemp("apptainer")
    (directory / "tmp").mkdir()
    env = {**os.environ, "APPTAINER_CACHEDIR": str(directory / "cache"), "APPTAINER_TMPDIR": str(directory / "tmp")}

    def run(verb: str, *words: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        # without the /tmp of the host, where the packages were built: what runs is what is in the image
        done = subprocess.run(
            [program, verb, "--no-mount", "tmp", *words], env=env, capture_output=True, text=True, timeout=300
        )
        assert not check or done.returncode == 0, f"apptainer {verb} {words}: {done.stderr}"
        return done

    return run


def request_of(packages, *roots, **kwargs) -> ImageRequest:
    chosen = [packages[name] for name in roots]
    return ImageRequest(**{"roots": chosen, "environment": together(chosen), "title": "env", **kwargs})


def push_image(store, packages, base, tmp_path, tag, **kwargs):
    """Two packages above a base, in three layers at most, so that one is joined."""
    result = push_all(store, packages, str(tmp_path / "stage"), base=base, force=True)
    runtime = RuntimeSettings.create(entrypoint="greet", cmd="world", env=["COLOR=blue"])
    made = request_of(packages, "greet", "other", base=base, runtime=runtime, max_layers=3, **kwargs)
    push_environment_image(store, plan_image(store, made, result.layers), tag)


def test_one_vocabulary_and_what_apptainer_reads_of_a_config(store, packages, base, tmp_path):
    """No mixed types (they are refused), layers that are gzip tars, and a config from which the start is made.

    Of the config, Apptainer's sources (internal/pkg/build/sources, oci_unpack and its run scripts) read the platform
    and Env, Entrypoint, Cmd, Labels.
    """
    push_image(store, packages, base, tmp_path, "rules")
    for tag in ("rules", *(package.tag for package in packages.values())):
        descriptor, data = store.get_manifest(tag)
        manifest = json.loads(data)
        config_type, layer_type = _VOCABULARIES[manifest["mediaType"]]
        assert descriptor.media_type == manifest["mediaType"]
        assert (descriptor.media_type == d.DOCKER_MANIFEST) == base.is_docker
        assert manifest["config"]["mediaType"] == config_type
        assert {layer["mediaType"] for layer in manifest["layers"]} == {layer_type}
        for layer in manifest["layers"]:
            with store.open_blob(d.Descriptor.from_dict(layer)) as blob:
                assert blob.read(3) == b"\x1f\x8b\x08"
        with store.open_blob(d.Descriptor.from_dict(manifest["config"])) as blob:
            config = json.loads(blob.read())
        assert (config["os"], config["architecture"]) == ("linux", "amd64")
        assert len(config["rootfs"]["diff_ids"]) == len(manifest["layers"])
        run = config["config"]
        assert all("=" in entry for entry in run["Env"]) and any(entry.startswith("PATH=") for entry in run["Env"])
        assert all(isinstance(value, str) for value in run["Labels"].values())
        for name in ("Entrypoint", "Cmd"):
            assert all(isinstance(word, str) for word in run.get(name) or ())


@pytest.mark.slow
@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_images_run(registry, store, packages, base, apptainer, tmp_path, compression):
    """A package by its own tag, and an image of two with an entrypoint and a joined layer."""
    tag = f"both-{compression}"
    push_image(store, packages, base, tmp_path, tag, compression=Compression.parse(compression))
    package = f"docker://{registry.host}/team/cache:{packages['greet'].tag}"
    assert apptainer("exec", "--no-https", package, "greet", "you").stdout == "hello from a library to you\n"
    image = f"docker://{registry.host}/team/cache:{tag}"
    assert apptainer("run", "--no-https", image).stdout == "hello from a library to world\n"
    assert apptainer("exec", "--no-https", image, "other").stdout == "other works\n"
    assert apptainer("exec", "--no-https", image, "sh", "-c", "echo $COLOR").stdout == "blue\n"


@pytest.mark.slow
def test_exported_archives_run(registry, packages, apptainer, tmp_path):
    """Layouts and archives of one image, as `spack oci export` writes them: Apptainer 1.4 finds none by its tag."""
    layout = open_layout(LayoutDirectory(str(tmp_path / "packages")), create=True)
    base = shell_base(registry, layout, docker=False)
    push_image(layout, packages, base, tmp_path, "app")
    exported = open_layout(LayoutDirectory(str(tmp_path / "layout")), create=True)
    with GraphCopy(layout, exported) as copier:
        copier.copy("app")
    image_files.write_layout_archive(exported.path, str(tmp_path / "oci.tar"))
    image_files.write_docker_archive(layout, "app", ["greeter:1"], str(tmp_path / "docker.tar"))
    for image in (
        f"oci:{exported.path}",
        f"oci-archive:{tmp_path / 'oci.tar'}",
        f"docker-archive:{tmp_path / 'docker.tar'}",
    ):
        assert apptainer("run", image).stdout == "hello from a library to world\n", image
