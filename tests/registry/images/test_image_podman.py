# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Images that were pushed to a real registry are pulled and run by podman."""

import json
import platform as machine
import shutil
import subprocess

import pytest
from spack_oci.archive.codec import Compression
from spack_oci.content.platform import Platform
from spack_oci.errors import ImageError
from spack_oci.image.contents import lock_entry
from spack_oci.image.exclusions import Exclusions
from spack_oci.image.files import FileEntry
from spack_oci.image.layers import POPULARITY, SIZE, VOLATILITY
from spack_oci.image.runtime import RuntimeSettings
from spack_oci.layout import open_layout
from spack_oci.operations.images import image_files
from spack_oci.operations.images.environment_image import ImageRequest, plan_image, push_environment_image
from spack_oci.operations.push.execute import PushSettings, execute_push, plan_push
from spack_oci.reference import LayoutDirectory, parse_image_reference, parse_url
from spack_oci.registry.store import open_repository
from support.images.base_images import prepare_base
from support.images.containers import Podman, podman, push_base, shell_root_file_system, skopeo
from support.packages.image_packages import compiled_packages, make_packages, many_packages, push_all, together
from support.registries.docker_registry import docker_registry

pytestmark = [
    pytest.mark.registry,
    pytest.mark.skipif(machine.machine() != "x86_64" or not shutil.which("gcc"), reason="needs gcc on x86_64"),
]

AMD64 = Platform("linux", "amd64")


@pytest.fixture(scope="module")
def registry():
    with docker_registry() as running:
        yield running


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    with podman(tmp_path_factory.mktemp("podman")) as running:
        yield running


@pytest.fixture(scope="module")
def store(registry):
    opened = open_repository(parse_url(registry.mirror_url("team/cache")))
    yield opened
    opened.close()


def base_of(registry, store, name="base/debian", directories=None, **kwargs):
    """A base image in another repository of the same registry."""
    source = open_repository(parse_url(registry.mirror_url(name)))
    push_base(source, "12", shell_root_file_system(directories), **kwargs)
    reference = parse_image_reference(registry.mirror_url(name) + ":12")
    return prepare_base(source, reference, store, AMD64)


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    return compiled_packages(str(tmp_path_factory.mktemp("store")))


def request(packages, *roots, **kwargs) -> ImageRequest:
    chosen = [packages[name] for name in roots]
    return ImageRequest(**{"roots": chosen, "environment": together(chosen), "title": "env", **kwargs})


def image_of(registry, tag):
    return f"{registry.host}/team/cache:{tag}"


def test_the_story_of_the_tutorial(registry, store, engine: Podman, packages, tmp_path):
    """Without a base image a program does not start, for want of a loader; with one it does, by name through PATH."""
    push_all(store, packages, str(tmp_path))
    image = image_of(registry, packages["greet"].tag)
    engine.pull(image)
    assert "no such file or directory" in engine.run(image, "greet", check=False)

    # a layer that no other test has brought to the repository of the packages
    base, moved = base_of(registry, store, "base/story", {"/story": (0o755, 0, 0)})
    assert (moved.mounted, moved.sent_bytes) == (1, 0), "one registry: mounted"
    how = PushSettings(stage=str(tmp_path), pack_jobs=1, base=base)
    result = execute_push(plan_push(store, list(packages.values()), force=True, settings=how), store, settings=how)
    assert not result.failed
    engine.pull(image)
    assert engine.run(image, "greet") == "hello from a library\n"

    plan = plan_image(store, request(packages, "greet", "other", base=base), result.layers)
    push_environment_image(store, plan, "both")
    both = image_of(registry, "both")
    engine.pull(both)
    assert engine.run(both, "greet", "you") == "hello from a library to you\n"
    assert engine.run(both, "other") == "other works\n"


@pytest.mark.parametrize("docker", [False, True])
def test_run_time_settings(registry, store, engine: Podman, packages, tmp_path, docker):
    result = push_all(store, packages, str(tmp_path))
    base, _ = base_of(registry, store, f"base/settings{docker}".lower(), docker=docker, config={"Labels": {"a": "b"}})
    runtime = RuntimeSettings.create(
        entrypoint="greet", cmd="world", user="worker", workdir="/data", env=["X=1"], labels=["team=us"], ports=[8080]
    )
    files = {
        **lock_entry(b'{"roots": []}'),
        "/view/bin/hi": FileEntry(link=f"{packages['greet'].prefix}/bin/greet"),
        "/data/.keep": FileEntry(),
    }
    made = request(packages, "greet", base=base, runtime=runtime, files=files, path_first=["/view/bin"])
    tag = f"settings-{docker}"
    push_environment_image(store, plan_image(store, made, result.layers), tag)
    image = image_of(registry, tag)
    engine.pull(image)
    assert engine.run(image) == "hello from a library to world\n"
    assert engine.run(image, "you") == "hello from a library to you\n"
    shell = ["--entrypoint", '["/bin/sh", "-c"]']
    assert engine.run(image, "id -u; pwd; echo $X; hi", options=shell) == "1234\n/data\n1\nhello from a library\n"
    seen = json.loads(skopeo("inspect", "--config", "--tls-verify=false", f"docker://{image}"))
    labels = seen["config"]["Labels"]
    assert labels["team"] == "us" and labels["a"] == "b" and labels["org.opencontainers.image.title"] == "env"
    assert seen["config"]["ExposedPorts"] == {"8080/tcp": {}}
    raw = json.loads(skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{image}"))
    types = [raw["mediaType"], raw["config"]["mediaType"], *(layer["mediaType"] for layer in raw["layers"])]
    assert {"docker" in media_type for media_type in types} == {docker}, "Apptainer refuses a mixture"


@pytest.mark.parametrize("strategy", [SIZE, POPULARITY, VOLATILITY])
@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_joined_layers_run(registry, store, engine: Podman, packages, tmp_path, strategy, compression):
    """Concatenated gzip members and zstd frames, in several ways."""
    result = push_all(store, packages, str(tmp_path))
    # with a directory above the packages that is not as in their layers: the uppermost layer is for that
    base, _ = base_of(registry, store, "base/joined", {packages["greet"].prefix.rpartition("/")[0]: (0o750, 0, 0)})
    made = request(
        packages,
        "greet",
        "other",
        base=base,
        max_layers=3 if strategy is SIZE else 4,
        strategy=strategy,
        compression=Compression.parse(compression),
    )
    plan = plan_image(store, made, result.layers)
    assert plan.shared_layers == 1
    tag = f"joined-{strategy.name}-{compression}"
    push_environment_image(store, plan, tag)
    image = image_of(registry, tag)
    engine.pull(image)
    assert engine.run(image, "greet") == "hello from a library\n"
    assert engine.run(image, "other") == "other works\n"


@pytest.mark.slow
def test_two_hundred_packages_in_one_image(registry, store, engine: Podman, tmp_path_factory):
    """One layer a package is more than an overlay file system mounts; grouped, the same environment runs."""
    root = tmp_path_factory.mktemp("many")
    made = many_packages(str(root), 200)
    result = push_all(store, made, str(root / "stage"))
    base, _ = base_of(registry, store, "base/many", {str(root): (0o750, 0, 0)})
    for tag, limit in (("plain", 1000), ("grouped", 120)):
        plan = plan_image(store, request(made, "all", base=base, max_layers=limit), result.layers)
        push_environment_image(store, plan, tag)
        assert plan.layer_count == (203 if tag == "plain" else 120), "base, 201 packages, a mode"
    pulled = engine.pull(image_of(registry, "plain"), check=False)
    assert "max depth exceeded" in pulled.stderr + engine.run(image_of(registry, "plain"), "p199", check=False)
    engine.pull(image_of(registry, "grouped"))
    script = "for i in p000 p007 p099 p199 all; do $i; done"
    printed = engine.run(image_of(registry, "grouped"), "sh", "-c", script)
    assert printed == "".join(f"{n} works\n" for n in ("p000", "p007", "p099", "p199", "all"))


def test_small_images(registry, store, engine: Podman, packages, tmp_path):
    result = push_all(store, packages, str(tmp_path))
    base, _ = base_of(registry, store)
    made = request(packages, "greet", base=base, squash=True, exclusions=Exclusions((".spack",)))
    push_environment_image(store, plan_image(store, made, result.layers), "small")
    image = image_of(registry, "small")
    engine.pull(image)
    prefix = packages["greet"].prefix
    assert engine.run(image, "sh", "-c", f"greet; test -e {prefix}/.spack || echo gone") == (
        "hello from a library\ngone\n"
    )


@pytest.mark.parametrize("settings", [{}, {"max_layers": 3}, {"squash": True}], ids=["layers", "grouped", "squashed"])
def test_directories_of_the_base_keep_mode_and_owner(registry, store, engine: Podman, packages, tmp_path, settings):
    """The store is below /tmp, in the home of a user who is not root, and both are as the base image has them."""
    result = push_all(store, packages, str(tmp_path))
    prefix = packages["greet"].prefix
    home = prefix.rpartition("/")[0]
    base, _ = base_of(registry, store, "base/homes", {home: (0o700, 1234, 1234)})
    runtime = RuntimeSettings.create(user="worker")
    plan = plan_image(store, request(packages, "greet", base=base, runtime=runtime, **settings), result.layers)
    tag = f"homes-{len(plan.groups)}"
    push_environment_image(store, plan, tag)
    image = image_of(registry, tag)
    engine.pull(image)
    script = f"stat -c %a:%u:%g /tmp {home} {prefix}; greet; echo x > /tmp/x; echo x > {home}/x && echo written"
    printed = engine.run(image, "sh", "-c", script)
    assert printed.splitlines() == ["1777:0:0", "700:1234:1234", "755:0:0", "hello from a library", "written"]


def test_multi_arch(registry, store, engine: Podman, packages, tmp_path):
    result = push_all(store, packages, str(tmp_path))
    base, _ = base_of(registry, store)
    arm = make_packages(str(tmp_path / "arm"), {"armapp": []}, platform=("linux", "arm64"))
    arm_result = push_all(store, arm, str(tmp_path / "stage"))
    plan = plan_image(store, request(arm, "armapp"), arm_result.layers)
    push_environment_image(store, plan, "multi", multi_arch=True)
    plan = plan_image(store, request(packages, "greet", base=base, level="v3"), result.layers)
    push_environment_image(store, plan, "multi", multi_arch=True)
    image = image_of(registry, "multi")
    engine.pull(image)
    assert engine.run(image, "greet") == "hello from a library\n", "podman asks for amd64 without variant"
    raw = json.loads(skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{image}"))
    named = ["/".join(entry["platform"].get(k, "") for k in ("architecture", "variant")) for entry in raw["manifests"]]
    assert named == ["amd64/", "amd64/v3", "arm64/"]
    copied = skopeo("--override-variant", "v3", "inspect", "--tls-verify=false", f"docker://{image}")
    assert json.loads(copied)["Architecture"] == "amd64"
    engine("pull", "--quiet", "--tls-verify=false", "--arch=arm64", image)
    assert json.loads(engine("image", "inspect", image).stdout)[0]["Architecture"] == "arm64"
    # the index is a base image like any other
    reference = parse_image_reference(f"oci+http://{image}")
    with pytest.raises(ImageError, match="only for linux/amd64, linux/amd64/v3, linux/arm64"):
        prepare_base(store, reference, store, Platform("linux", "s390x"))


def test_export(registry, engine: Podman, packages, tmp_path):
    """A layout, an OCI archive and a Docker archive, without a registry."""
    layout = open_layout(LayoutDirectory(str(tmp_path / "layout")), create=True)
    result = push_all(layout, packages, str(tmp_path / "stage"))
    source = open_repository(parse_url(registry.mirror_url("base/export")))
    push_base(source, "12", shell_root_file_system())
    reference = parse_image_reference(registry.mirror_url("base/export") + ":12")
    base, moved = prepare_base(source, reference, layout, AMD64)
    assert moved.sent == 1
    push_environment_image(layout, plan_image(layout, request(packages, "greet", base=base), result.layers), "app")
    image_files.write_layout_archive(layout.path, str(tmp_path / "image.tar"))
    image_files.write_docker_archive(layout, "app", ["localhost/app:docker"], str(tmp_path / "docker.tar"))
    for name, transport in (
        ("oci", f"oci:{layout.path}:app"),
        ("oci-archive", f"oci-archive:{tmp_path / 'image.tar'}:app"),
    ):
        engine("pull", "--quiet", transport)
        image = engine("images", "--quiet").stdout.split()[0]
        assert engine.run(image, "greet") == "hello from a library\n", name
        engine("rmi", "--force", image)
    engine("load", "--quiet", "--input", str(tmp_path / "docker.tar"))
    assert engine.run("localhost/app:docker", "greet") == "hello from a library\n"
    assert json.loads(skopeo("inspect", f"oci:{layout.path}:app"))["Layers"]


@pytest.mark.skipif(not shutil.which("umoci"), reason="needs umoci")
def test_joined_layers_unpack_with_umoci(packages, tmp_path):
    layout = open_layout(LayoutDirectory(str(tmp_path / "layout")), create=True)
    result = push_all(layout, packages, str(tmp_path / "stage"))
    plan = plan_image(layout, request(packages, "greet", "other", max_layers=2), result.layers)
    push_environment_image(layout, plan, "app")
    bundle = tmp_path / "bundle"
    subprocess.run(["umoci", "unpack", "--image", f"{layout.path}:app", str(bundle)], check=True)
    done = subprocess.run([f"{bundle}/rootfs{packages['other'].prefix}/bin/other"], capture_output=True, text=True)
    assert done.stdout == "other works\n"
