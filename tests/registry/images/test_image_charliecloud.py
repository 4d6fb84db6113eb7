# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Charliecloud, HPC's own container tool, runs an image from a directory that it cannot write to."""

import os
import shutil
import subprocess

import pytest
from spack_oci.layout import open_layout
from spack_oci.operations.images.environment_image import ImageRequest, plan_image, push_environment_image
from spack_oci.operations.push.plan import PushSettings
from spack_oci.reference import LayoutDirectory
from support.prefixes import make_package
from support.push_cases import push

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
