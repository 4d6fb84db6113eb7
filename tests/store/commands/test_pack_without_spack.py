# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack-oci pack`: the packages of a cache in one file or directory, for a machine without a network."""

import io
import shutil
import tarfile

import pytest
from spack_oci.layout import open_layout
from spack_oci.reference import LayoutDirectory
from support.spacks.client import ClientFailed


def test_a_bundle_in_one_file_installs_without_its_cache(client, cache, store, tmp_path):
    client.run("pack", cache, tmp_path / "b.tar", "oci-app")
    client.run("install", tmp_path / "b.tar", "oci-app", "--store", store)
    assert "greeting: hello" in client.run("run", "--store", store, "oci-app", "--", "hello").stdout
    with pytest.raises(ClientFailed, match="oci-stack is not in"):
        client.run("install", tmp_path / "b.tar", "oci-stack", "--store", store)


@pytest.mark.parametrize("name", ["stack.tgz", "stack.tar.gz"])
def test_a_name_of_a_compressed_archive_becomes_no_directory(client, cache, tmp_path, name):
    for command in ("pack", "copy"):
        done = client.run(command, cache, tmp_path / name, "oci-leaf", check=False)
        assert done.returncode == 2 and "give it a name that ends in .tar" in done.stderr, done.stderr
    assert not (tmp_path / name).exists()


def test_a_bundle_is_called_by_its_file_and_its_index_is_kept_once(client, cache, tmp_path):
    """Not by the directory that it is unpacked to, which is another one each time."""
    bundle = tmp_path / "b.tar"
    client.run("copy", cache, bundle, "oci-leaf")
    (package,) = client.packages("--allarch", bundle, "oci-leaf@1.0")
    shown = client.json("show", bundle, "oci-leaf@1.0")
    assert shown["mirror"] == f"oci+file://{bundle}"
    assert shown["image"] == package["image"] == f"oci-archive:{bundle}:{package['tag']}"
    said = [
        client.run("show", bundle, "oci-leaf@1.0").stdout,
        client.run("doctor", bundle).stdout,
        client.run("show", bundle, "none", check=False).stderr,
        client.run("copy", "--dry-run", bundle, tmp_path / "directory").stderr,
        client.run("verify", bundle).stderr,
    ]
    assert "no pins" in client.run("pins", bundle).stderr
    assert all(str(bundle) in text and ".bundle." not in text for text in said), said
    assert len(list((client.home / ".cache" / "spack-oci" / "indexes").iterdir())) == 1
    assert "cannot be copied to itself" in client.run("copy", bundle, bundle, check=False).stderr


def test_a_bundle_that_is_replaced_is_read_anew(client, cache, tmp_path):
    bundle = tmp_path / "b.tar"
    for spec in ("oci-leaf@1.0", "oci-middle"):
        client.run("copy", cache, tmp_path / f"{spec}.tar", spec)
        (tmp_path / f"{spec}.tar").replace(bundle)
        assert spec.partition("@")[0] in {p["name"] for p in client.packages("--allarch", bundle)}


def test_a_bundle_that_is_cut_or_hostile_is_refused(client, cache, store, tmp_path):
    whole = tmp_path / "b.tar"
    client.run("pack", cache, whole, "oci-app")
    for size in (100, 4000, whole.stat().st_size // 2):
        (tmp_path / "cut.tar").write_bytes(whole.read_bytes()[:size])
        done = client.run("install", tmp_path / "cut.tar", "oci-app", "--store", store, check=False)
        assert done.returncode == 1 and "copy it again" in done.stderr and "Traceback" not in done.stderr
    for name in ("../evil", "/tmp/evil", "blobs/sha256/../../../evil", "index.json.sh"):
        with tarfile.open(tmp_path / "bad.tar", "w") as tar:
            info = tarfile.TarInfo(name)
            info.size = 4
            tar.addfile(info, io.BytesIO(b"evil"))
        done = client.run("install", tmp_path / "bad.tar", "oci-app", "--store", store, check=False)
        assert done.returncode == 1 and "not safe" in done.stderr
    with tarfile.open(tmp_path / "bad.tar", "w") as tar:
        link = tarfile.TarInfo("index.json")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    assert "not safe" in client.run("list", tmp_path / "bad.tar", check=False).stderr
    assert not store.exists() or not list(store.glob("linux-*"))


def test_a_signature_in_a_bundle_is_not_counted_as_a_package(client, cache, tmp_path):
    own = shutil.copytree(cache, tmp_path / "cache")
    layout = open_layout(LayoutDirectory(str(own)))
    (leaf,) = (p["digest"] for p in client.packages("--allarch", own, "oci-leaf@1.0"))
    descriptor, manifest = layout.get_manifest(leaf)
    layout.put_manifest(manifest, descriptor.media_type, f"{leaf.replace(':', '-')}.sig")
    said = client.run("pack", own, tmp_path / "b.tar", "oci-leaf@1.0").stderr
    assert f"Copied {leaf.replace(':', '-')}.sig" in said and "Packed 1 package into" in said


def test_a_directory_is_packed_into_again_and_grows(client, cache, tmp_path):
    client.run("pack", cache, tmp_path / "usb", "oci-leaf@1.0")
    client.run("pack", cache, tmp_path / "usb", "oci-app")
    names = {f"{p['name']}@{p['version']}" for p in client.packages("--allarch", tmp_path / "usb")}
    assert names == {"oci-leaf@1.0", "oci-leaf@2.0", "oci-middle@1.0", "oci-app@1.0"}
