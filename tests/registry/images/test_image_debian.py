# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The C library check against real Debian releases, and what really happens when it is skipped.

``SPACK_OCI_TEST_ROOTFS``: a directory with ``bullseye`` and ``trixie`` made by ``debootstrap --variant=minbase``;
without it they are made here, which takes minutes and needs root and Debian's mirrors.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from spack_oci.content.platform import Platform
from spack_oci.errors import ImageError
from spack_oci.image.base.layers import libcs_of_base
from spack_oci.operations.images.package_checks import check_base_libc
from spack_oci.reference import parse_image_reference, parse_url
from spack_oci.registry.store import open_repository
from support.images.base_images import prepare_base
from support.images.containers import podman, push_base
from support.packages.image_packages import make_packages, push_all
from support.registries.docker_registry import docker_registry

pytestmark = [pytest.mark.registry, pytest.mark.slow]

RELEASES = {"bullseye": (2, 31), "trixie": (2, 41)}


@pytest.fixture(scope="module")
def roots(tmp_path_factory) -> Path:
    given = os.environ.get("SPACK_OCI_TEST_ROOTFS")
    if given:
        return Path(given)
    if os.geteuid() != 0 or not shutil.which("debootstrap"):
        pytest.skip("needs root and debootstrap, or SPACK_OCI_TEST_ROOTFS")
    directory = tmp_path_factory.mktemp("rootfs")
    for release in RELEASES:
        command = ["debootstrap", "--variant=minbase", release, str(directory / release)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"debootstrap {release}: {done.stdout[-300:]}")
    return directory


@pytest.fixture(scope="module")
def registry(roots):
    with docker_registry() as running:
        store = open_repository(parse_url(running.mirror_url("library/debian")))
        for release in RELEASES:
            root = subprocess.run(
                ["tar", "-C", str(roots / release), "--exclude=./dev/*", "--numeric-owner", "-c", "."],
                capture_output=True,
                check=True,
            ).stdout
            push_base(store, release, root)
        yield running


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """A program of this machine: it was linked with a C library between those two releases."""
    if not shutil.which("gcc"):
        pytest.skip("needs gcc")
    made = make_packages(str(tmp_path_factory.mktemp("store")), {"app": []}, contents=lambda name: {})["app"]
    os.makedirs(f"{made.prefix}/bin")
    source = '#include <stdio.h>\nint main(void) { puts("it runs"); return 0; }\n'
    command = ["gcc", "-x", "c", "-", "-o", f"{made.prefix}/bin/app"]
    subprocess.run(command, input=source.encode(), check=True)
    return made


@pytest.mark.parametrize("release", RELEASES)
def test_the_check_says_what_podman_finds(registry, package, release, tmp_path):
    store = open_repository(parse_url(registry.mirror_url(f"team/{release}")))
    reference = parse_image_reference(registry.mirror_url("library/debian") + f":{release}")
    source = open_repository(parse_url(registry.mirror_url("library/debian")))
    base, moved = prepare_base(source, reference, store, Platform("linux", "amd64"))
    assert moved.mounted == 1
    (libc,) = libcs_of_base(source, base)
    assert (libc.name, libc.version) == ("glibc", RELEASES[release])
    try:
        check_base_libc(source, base, [package])
        accepted = True
    except ImageError as e:
        accepted = False
        assert "bullseye has glibc 2.31, but app@1.0/" in str(e) and "(bin/app) needs glibc 2.34" in str(e)
        assert "for example Rocky Linux 9" in e.remedy
    push_all(store, {"app": package}, str(tmp_path / "stage"), base=base)
    with podman(tmp_path / "podman") as engine:
        image = f"{registry.host}/team/{release}:{package.tag}"
        engine.pull(image)
        printed = engine.run(image, "app", check=False)
    assert accepted == (printed == "it runs\n"), printed
    assert accepted == (release == "trixie")
    if not accepted:
        assert "version `GLIBC_2.34' not found" in printed
