# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Images that were pushed to a real registry are pulled and run by a real Docker engine."""

import json
import platform as machine
import shutil

import pytest
from spack_oci.archive.codec import Compression
from spack_oci.content.platform import Platform
from spack_oci.image.layers import DEFAULT_MAX_LAYERS
from spack_oci.image.runtime import RuntimeSettings
from spack_oci.layout import open_layout
from spack_oci.operations.images import image_files
from spack_oci.operations.images.environment_image import ImageRequest, plan_image, push_environment_image
from spack_oci.reference import LayoutDirectory, parse_image_reference, parse_url
from spack_oci.registry.store import open_repository
from support.images.base_images import prepare_base
from support.images.containers import shell_base
from support.images.docker_engine import Docker, docker_engine
from support.packages.image_packages import compiled_packages, make_packages, many_packages, push_all, together
from support.registries.docker_registry import docker_registry

pytestmark = [
    pytest.mark.registry,
    pytest.mark.slow,
    pytest.mark.skipif(machine.machine() != "x86_64" or not shutil.which("gcc"), reason="needs gcc on x86_64"),
]

#: what Docker's overlay2 driver stacks, of any version
DOCKER_MAX_LAYERS = 125


@pytest.fixture(scope="module")
def registry():
    with docker_registry() as running:
        yield running


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    with docker_engine(tmp_path_factory.mktemp("docker")) as running:
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
def many(tmp_path_factory, store):
    """200 packages, pushed."""
    root = tmp_path_factory.mktemp("many")
    made = many_packages(str(root), 200)
    return made, push_all(store, made, str(root / "stage")).layers


def image_of(registry, tag):
    return f"{registry.host}/team/cache:{tag}"


def request_of(packages, *roots, **kwargs) -> ImageRequest:
    chosen = [packages[name] for name in roots]
    return ImageRequest(**{"roots": chosen, "environment": together(chosen), "title": "env", **kwargs})


def test_packages_and_environments_run(registry, store, engine: Docker, packages, base, tmp_path):
    """A package's own tag, by name through PATH; two programs under one tag with entrypoint, user and labels."""
    result = push_all(store, packages, str(tmp_path), base=base, force=True)
    image = image_of(registry, packages["greet"].tag)
    engine.pull(image)
    assert engine.run(image, "greet") == "hello from a library\n"
    runtime = RuntimeSettings.create(entrypoint="greet", cmd="world", user="worker", workdir="/tmp", labels=["a=b"])
    plan = plan_image(store, request_of(packages, "greet", "other", base=base, runtime=runtime), result.layers)
    push_environment_image(store, plan, "both")
    image = image_of(registry, "both")
    engine.pull(image)
    assert engine.run(image) == "hello from a library to world\n"
    options = ["--entrypoint", "/bin/sh"]
    assert engine.run(image, "-c", "other; id -u; pwd", options=options) == "other works\n1234\n/tmp\n"
    (seen,) = json.loads(engine("image", "inspect", image).stdout)
    assert seen["Config"]["Labels"]["a"] == "b"
    assert seen["Config"]["Labels"]["org.opencontainers.image.title"] == "env"


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_joined_layers_run(registry, store, engine: Docker, packages, base, tmp_path, compression):
    """Docker reads layers of several gzip members; zstd frames from 23.0 on, before only those whose content it has."""
    result = push_all(store, packages, str(tmp_path))
    how = Compression.parse(compression)
    made = request_of(packages, "greet", "other", base=base, max_layers=3, compression=how)
    plan = plan_image(store, made, result.layers)
    assert plan.shared_layers == 1
    push_environment_image(store, plan, f"joined-{compression}")
    image = image_of(registry, f"joined-{compression}")
    pulled = engine.pull(image, check=False)
    if compression == "zstd" and engine.version < (23, 0) and pulled.returncode:
        return
    assert not pulled.returncode, pulled.stderr
    assert engine.run(image, "greet") == "hello from a library\n"
    assert engine.run(image, "other") == "other works\n"


def test_how_many_layers_run(registry, store, engine: Docker, many, base):
    """125 layers run and 126 do not; as many packages as one likes do, as they are grouped by default."""
    packages, known = many
    for tag, settings, count in (
        ("all-it-takes", {"max_layers": DOCKER_MAX_LAYERS}, DOCKER_MAX_LAYERS),
        ("one-more", {"max_layers": DOCKER_MAX_LAYERS + 1}, DOCKER_MAX_LAYERS + 1),
        ("default", {}, DEFAULT_MAX_LAYERS),
    ):
        plan = plan_image(store, request_of(packages, "all", base=base, **settings), known)
        push_environment_image(store, plan, tag)
        assert plan.layer_count == count
        image = image_of(registry, tag)
        pulled = engine.pull(image, check=False)
        if tag == "one-more":
            printed = pulled.stderr or engine.run(image, "p199", check=False)
            assert "max depth exceeded" in printed
        else:
            printed = engine.run(image, "sh", "-c", "for i in p000 p007 p099 p199 all; do $i; done")
            assert printed == "".join(f"{n} works\n" for n in ("p000", "p007", "p099", "p199", "all"))
        engine("rmi", "--force", image, check=False)


def test_docker_load(registry, engine: Docker, packages, base, tmp_path):
    """What `spack oci export docker-archive:` writes, with the real `docker load`."""
    layout = open_layout(LayoutDirectory(str(tmp_path / "layout")), create=True)
    result = push_all(layout, packages, str(tmp_path / "stage"))
    name = base.name.rpartition(":")[0].partition("/")[2]
    with open_repository(parse_url(registry.mirror_url(name))) as source:
        reference = parse_image_reference(registry.mirror_url(name) + ":12")
        local, _ = prepare_base(source, reference, layout, Platform("linux", "amd64"))
    push_environment_image(layout, plan_image(layout, request_of(packages, "greet", base=local), result.layers), "app")
    image_files.write_docker_archive(layout, "app", ["greeter:1"], str(tmp_path / "docker.tar"))
    loaded = engine("load", "--input", str(tmp_path / "docker.tar")).stdout
    assert "Loaded image: greeter:1" in loaded
    assert engine.run("greeter:1", "greet", "you") == "hello from a library to you\n"


def test_the_image_of_this_platform_is_pulled_from_an_index(registry, store, engine: Docker, packages, base, tmp_path):
    """Docker asks for linux/amd64 without a variant, whatever level the processor has."""
    result = push_all(store, packages, str(tmp_path))
    arm = make_packages(str(tmp_path / "arm"), {"armapp": []}, platform=("linux", "arm64"))
    arm_result = push_all(store, arm, str(tmp_path / "stage"))
    push_environment_image(
        store, plan_image(store, request_of(arm, "armapp"), arm_result.layers), "multi", multi_arch=True
    )
    plan = plan_image(store, request_of(packages, "greet", base=base, level="v3"), result.layers)
    push_environment_image(store, plan, "multi", multi_arch=True)
    engine.pull(image_of(registry, "multi"))
    assert engine.run(image_of(registry, "multi"), "greet") == "hello from a library\n"
