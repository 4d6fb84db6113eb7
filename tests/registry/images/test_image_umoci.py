# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""A base image whose layers umoci has written: version 0.4.7 leaves the end of a layer's archive away."""

import platform
import shutil
import subprocess

import pytest
from spack_oci.content.platform import Platform
from spack_oci.image.base.layers import directories_of_base, libcs_of_base, libraries_of_base
from spack_oci.image.base.resolve import resolve_base
from spack_oci.layout import open_layout
from spack_oci.reference import LayoutDirectory, parse_image_reference

pytestmark = pytest.mark.skipif(not shutil.which("umoci"), reason="needs umoci")


def umoci(*words):
    subprocess.run(["umoci", *words], check=True)


def test_layers_that_umoci_inserted_are_read(tmp_path):
    root = tmp_path / "root"
    (root / "lib").mkdir(parents=True)
    (root / "lib/libc.so.6").write_bytes(b"\x7fELF GNU C Library (X) stable release version 2.36.\n")
    (root / "tmp").mkdir()
    (root / "tmp").chmod(0o1777)
    (root / "zz").write_bytes(b"the last member has content, and its padding is missing")
    layout = str(tmp_path / "layout")
    image = f"{layout}:base"
    for words in (
        ["init", "--layout", layout],
        ["new", "--image", image],
        ["insert", "--image", image, str(root), "/"],
    ):
        subprocess.run(["umoci", *words], check=True)
    store = open_layout(LayoutDirectory(layout))
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    reference = parse_image_reference(f"oci+file://{layout}:base")
    base = resolve_base(store, reference, Platform("linux", machine))
    assert [str(libc) for libc in libcs_of_base(store, base)] == ["glibc 2.36"]
    assert directories_of_base(store, base, ["/tmp"])["/tmp"].mode == 0o1777
    assert libraries_of_base(store, base) == {"libc.so.6"}
