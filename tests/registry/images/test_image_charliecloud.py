# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Charliecloud, HPC's own container tool: pulls and converts images, and runs them where it cannot write to them."""

import os
import shutil
import subprocess
import tempfile

import pytest
from spack_oci.image.runtime import RuntimeSettings
from spack_oci.layout import open_layout
from spack_oci.operations.images.environment_image import ImageRequest, plan_image, push_environment_image
from spack_oci.operations.push.plan import PushSettings
from spack_oci.reference import LayoutDirectory, parse_url
from spack_oci.registry.settings import RegistrySettings
from spack_oci.registry.store import open_repository
from support.images.containers import shell_base
from support.packages.image_packages import compiled_packages, push_all, together
from support.packages.prefixes import make_package
from support.packages.push_cases import push
from support.registries.docker_registry import docker_registry

pytestmark = pytest.mark.skipif(
    not all(map(shutil.which, ("ch-run", "umoci", "gcc", "unshare")))
    or subprocess.run(["unshare", "--user", "true"], capture_output=True).returncode != 0,
    reason="needs ch-run, umoci, gcc and user namespaces",
)


@pytest.fixture
def root_file_system(tmp_path):
    """An image without a base, unpacked; and the path of its program."""
    program = tmp_path / "program"
    source = '#include <stdio.h>\nint main(void) { puts("it runs"); return 0; }\n'
    subprocess.run(["gcc", "-static", "-x", "c", "-", "-o", program], input=source.encode(), check=True)
    package = make_package(tmp_path / "store", "greet", files={"bin/static": program.read_bytes()})
    os.chmod(f"{package.prefix}/bin/static", 0o755)
    layout = open_layout(LayoutDirectory(str(tmp_path / "layout")), create=True)
    result = push(layout, [package], PushSettings(stage=str(tmp_path / "stage")))
    request = ImageRequest([package], package.environment, "greet")
    push_environment_image(layout, plan_image(layout, request, result.layers), "app")
    subprocess.run(["umoci", "unpack", "--image", f"{layout.path}:app", str(tmp_path / "bundle")], check=True)
    return tmp_path / "bundle/rootfs", f"{package.prefix}/bin/static"


def test_an_image_without_base_runs(root_file_system):
    root, program = root_file_system
    environment = {**os.environ, "USER": "root"}
    done = subprocess.run(["ch-run", root, "--", program], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "it runs\n"), done.stderr
    (root / "etc/passwd").unlink()
    done = subprocess.run(["ch-run", root, "--", program], env=environment, capture_output=True, text=True)
    assert done.returncode and "/etc/passwd" in done.stderr


def has_builders():
    """ch-image is a Python program that Debian runs with Debian's Python, whatever comes first in PATH."""
    needed = ["/usr/bin/python3", "-c", "import lark, requests"]
    return (
        all(map(shutil.which, ("ch-image", "ch-convert", "mksquashfs", needed[0])))
        and subprocess.run(needed, capture_output=True).returncode == 0
    )


@pytest.fixture
def elsewhere():
    """ch-run mounts /tmp over that of the image: packages are in another place."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
        yield directory


@pytest.mark.skipif(not has_builders(), reason="needs ch-image (with lark and requests), ch-convert and mksquashfs")
def test_an_image_is_pulled_converted_and_run_as_the_documents_say(tmp_path, elsewhere):
    """`ch-image pull`, `ch-run --set-env`, `ch-convert` to a squashfs; what runs is what is in the image."""
    with docker_registry(tls=True) as registry:
        settings = RegistrySettings(ca_bundle=registry.ca)
        with open_repository(parse_url(registry.mirror_url("team/cache")), settings) as store:
            base = shell_base(registry, store, docker=False)
            packages = compiled_packages(f"{elsewhere}/store")
            result = push_all(store, packages, str(tmp_path / "stage"), base=base)
            chosen = [packages["greet"], packages["other"]]
            runtime = RuntimeSettings.create(env=["COLOR=blue"])
            request = ImageRequest(chosen, together(chosen), "tools", base=base, runtime=runtime)
            push_environment_image(store, plan_image(store, request, result.layers), "tools")
        os.rename(f"{elsewhere}/store", f"{elsewhere}/no-store")
        image = f"{registry.host}/team/cache:tools"
        environment = {
            **{"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "USER": "root", "REQUESTS_CA_BUNDLE": registry.ca},
            **{"CH_IMAGE_STORAGE": str(tmp_path / "images"), "CH_IMAGE_CACHE": "disabled"},
        }

        def run(*words):
            done = subprocess.run(list(map(str, words)), env=environment, capture_output=True, text=True)
            assert done.returncode == 0, f"{words}: {done.stderr}"
            return done.stdout

        run("ch-image", "pull", image)
        assert run("ch-run", "--set-env", image, "--", "greet", "you") == "hello from a library to you\n"
        assert run("ch-run", "--set-env", image, "--", "sh", "-c", "echo $COLOR; other") == "blue\nother works\n"
        run("ch-convert", image, tmp_path / "tools.sqfs")
        run("ch-convert", tmp_path / "tools.sqfs", tmp_path / "tools")
        greeted = run("ch-run", f"--set-env={tmp_path}/tools/ch/environment", tmp_path / "tools", "--", "greet")
        assert greeted == "hello from a library\n"
        if os.access("/dev/fuse", os.W_OK):
            assert run("ch-run", "--set-env", tmp_path / "tools.sqfs", "--", "greet") == "hello from a library\n"
