# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Images of environments: planned, made, and exported."""

import gzip
import io
import json
import os
import sys
import tarfile
from dataclasses import replace

import pytest
from spack_oci import descriptor as d
from spack_oci.archive.codec import Compression, open_decompressor
from spack_oci.content import put_bytes
from spack_oci.content.blob_cache import BlobCache
from spack_oci.content.platform import Platform
from spack_oci.errors import ConfigurationError, ImageError, InvalidReference
from spack_oci.image.exclusions import Exclusions
from spack_oci.image.files import FileEntry
from spack_oci.image.layers import POPULARITY, SIZE, VOLATILITY
from spack_oci.image.manifest import Base
from spack_oci.image.results import ResultDirectory
from spack_oci.image.runtime import RuntimeSettings
from spack_oci.operations.images.checks import check_image_tag
from spack_oci.operations.images.environment_image import (
    ImageSettings,
    plan_image,
    push_environment_image,
)
from spack_oci.operations.images.package_checks import check_base_libc
from spack_oci.util.progress import Work
from support.images import image_spec
from support.images.environment_images import GRAPH, file_system, prepare, pushed, request
from support.memory_store import MemoryStore
from support.packages.image_packages import make_packages, push_all
from support.recording_reporter import RecordingReporter


def test_the_image_has_the_closure_of_its_roots(tmp_path):
    store, packages, result = prepare(tmp_path)
    plan = plan_image(store, request(packages, "git", "htop"), result.layers)
    image = push_environment_image(store, plan, "latest")
    manifest, config = pushed(store)
    assert "spec" not in config and "buildcache_layout_version" not in config
    *own, last = manifest["layers"]
    assert {layer["digest"] for layer in own} == {result.layers[packages[n].dag_hash].descriptor.digest for n in GRAPH}
    assert image.sent == last["size"], "the other layers are those of the packages"
    assert image.manifest.digest == store.resolve("latest").digest
    tree = file_system(store, manifest)
    for name in GRAPH:
        assert f"{packages[name].prefix}/bin/{name}" in tree
    path = config["config"]["Env"][0]
    assert path.startswith("PATH=") and path.endswith(":/bin:/usr/bin") and packages["git"].prefix in path
    assert config["config"]["Labels"]["org.opencontainers.image.title"] == "my-env"
    assert manifest["annotations"]["org.opencontainers.image.title"] == "my-env"
    assert image.size == sum(layer["size"] for layer in manifest["layers"])


@pytest.mark.parametrize("squash", [False, True])
def test_an_image_without_base_has_what_container_tools_mount_over(tmp_path, squash):
    """Charliecloud, for one, runs an image from a directory that it cannot write to."""
    store, packages, result = prepare(tmp_path)
    lock = {"/opt/lock": FileEntry(b"{}"), "/etc/hosts": FileEntry(b"own")}
    plan = plan_image(store, request(packages, "git", files=lock, squash=squash), result.layers)
    push_environment_image(store, plan, "latest")
    manifest, _ = pushed(store)
    tree = file_system(store, manifest)
    assert tree["/etc/passwd"].startswith(b"root:x:0:0:") and tree["/etc/group"].startswith(b"root:x:0:")
    assert tree["/etc/hosts"] == b"own" and tree["/etc/resolv.conf"] == b""
    assert {"/dev", "/proc", "/sys", "/run", "/home", "/mnt", "/root", "/tmp", "/var/tmp"} <= set(tree)
    modes = {}
    for layer in manifest["layers"]:
        with (
            store.open_blob(d.Descriptor.from_dict(layer)) as blob,
            tarfile.open(fileobj=io.BytesIO(open_decompressor(layer["mediaType"], blob).read())) as archive,
        ):
            modes.update({"/" + member.name.rstrip("/"): member.mode for member in archive})
    assert (modes["/tmp"], modes["/root"], modes["/proc"]) == (0o1777, 0o700, 0o755)


def test_an_image_with_a_base_has_the_root_file_system_of_its_base(tmp_path):
    store, packages, result = prepare(tmp_path)
    base = base_with(store, b"GNU C Library version 2.99")
    plan = plan_image(store, request(packages, "git", base=base), result.layers)
    assert plan.request.files == {}


def test_layers_are_read_from_the_tags_when_nothing_was_pushed(tmp_path):
    store, packages, result = prepare(tmp_path)
    first = push_environment_image(store, plan_image(store, request(packages, "git"), result.layers), "a")
    second = push_environment_image(store, plan_image(store, request(packages, "git")), "b")
    assert first.manifest == second.manifest


def test_the_image_of_a_root_tells_the_layers_of_its_closure(tmp_path):
    """Not two requests a package, but two a root."""
    store, packages, result = prepare(tmp_path)
    store.reset()
    plan = plan_image(store, request(packages, "git", "htop", "curl"))
    assert store.calls["get_manifest"] == 2, "git's, which has curl's, and htop's"
    known = plan_image(store, request(packages, "git", "htop", "curl"), result.layers)
    assert plan.groups == known.groups


def test_layers_of_images_without_history(tmp_path):
    """As Spack pushes them: each package is asked for its own."""
    store, packages, result = prepare(tmp_path)
    descriptor, data = store.get_manifest(packages["git"].tag)
    manifest = json.loads(data)
    with store.open_blob(d.Descriptor.from_dict(manifest["config"])) as blob:
        config = json.loads(blob.read())
    del config["history"]
    manifest["config"] = put_bytes(store, json.dumps(config).encode(), d.OCI_CONFIG).to_dict()
    store.put_manifest(json.dumps(manifest).encode(), d.OCI_MANIFEST, packages["git"].tag)
    plan = plan_image(store, request(packages, "git"))
    digests = {member.layer.descriptor.digest for group in plan.groups for member in group}
    assert digests == {result.layers[packages[n].dag_hash].descriptor.digest for n in GRAPH if n != "htop"}


def test_a_package_that_is_not_there(tmp_path):
    store, packages, _ = prepare(tmp_path)
    store.delete_manifest(packages["git"].tag)
    with pytest.raises(ImageError, match="git@1.0/.* is not in .* and the image needs it"):
        plan_image(store, request(packages, "git"))


def test_progress_of_the_layers(tmp_path):
    store, packages, result = prepare(tmp_path)
    plan = plan_image(store, request(packages, "git", "htop", max_layers=4), result.layers)
    told = RecordingReporter()
    image = push_environment_image(store, plan, "latest", settings=ImageSettings(reporter=told))
    assert told.work == Work(len(plan.groups), "layers of the image")
    assert (told.parts, told.sent, told.ended) == (len(plan.groups), image.sent, 1) and image.sent


@pytest.mark.parametrize("strategy", [SIZE, POPULARITY, VOLATILITY])
@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_packages_share_layers(tmp_path, strategy, compression):
    store, packages, result = prepare(tmp_path)
    plan = plan_image(
        store,
        request(
            packages,
            "git",
            "htop",
            max_layers=4,
            strategy=strategy,
            compression=Compression.parse(compression),
            files={"/opt/x": FileEntry(b"x")},
        ),
        result.layers,
    )
    assert len(plan.groups) == 3 and plan.layer_count == 4 and plan.shared_layers >= 1
    assert sorted(m.name for g in plan.groups for m in g) == sorted(GRAPH)
    image = push_environment_image(store, plan, "latest")
    manifest, config = pushed(store)
    assert len(manifest["layers"]) == 4 and image.sent > 0
    tree = file_system(store, manifest)
    for name in GRAPH:
        assert tree[f"{packages[name].prefix}/bin/{name}"] == f"#!/bin/sh\necho {name}\n".encode()
    assert "zlib@1.0" in " ".join(entry["comment"] for entry in config["history"])
    again = push_environment_image(store, plan, "latest")
    assert again.manifest == image.manifest and again.sent == 0


def test_shared_layers_are_remembered(tmp_path):
    cache = BlobCache(str(tmp_path / "cache"))
    store, packages, result = prepare(tmp_path)
    plan = plan_image(store, request(packages, "git", max_layers=2), result.layers)
    settings = ImageSettings(str(tmp_path / "stage"), cache)
    first = push_environment_image(store, plan, "a", settings=settings)
    store.reset()
    second = push_environment_image(store, plan, "b", settings=settings)
    assert second.manifest == first.manifest and store.calls["open_blob"] == 0
    other = MemoryStore()
    push_all(other, packages, str(tmp_path / "stage"))
    other.reset()
    third = push_environment_image(other, plan, "c", settings=settings)
    assert third.manifest == first.manifest and other.calls["open_blob"] == 0 and third.sent == first.sent
    assert not os.listdir(tmp_path / "stage")


def test_squash_and_leaving_files_out(tmp_path):
    def contents(name):
        return {f"bin/{name}": name.encode(), "include/x.h": b"x" * 999, f"lib/lib{name}.a": b"!<arch>"}

    store, packages, result = prepare(tmp_path, contents=contents)
    exclusions = Exclusions(("include", "*.a", ".spack"))
    files = {"/opt/x": FileEntry(b"x")}
    made = request(packages, "git", squash=True, exclusions=exclusions, files=files)
    plan = plan_image(store, made, result.layers)
    assert plan.layer_count == 1
    push_environment_image(store, plan, "small")
    manifest, _ = pushed(store, "small")
    assert len(manifest["layers"]) == 1
    tree = file_system(store, manifest)
    assert tree["/opt/x"] == b"x"
    assert f"{packages['zlib'].prefix}/bin/zlib" in tree
    assert not [path for path in tree if path.endswith((".h", ".a")) or "/.spack" in path]
    # not squashed: still a layer a package, each without them; the package's own layer stays as it is
    plan = plan_image(store, request(packages, "git", exclusions=exclusions), result.layers)
    push_environment_image(store, plan, "less")
    manifest, _ = pushed(store, "less")
    assert len(manifest["layers"]) == 5
    assert not [path for path in file_system(store, manifest) if path.endswith((".h", ".a"))]
    package_manifest, _ = pushed(store, packages["git"].tag)
    assert [path for path in file_system(store, package_manifest) if path.endswith(".h")]


def test_base_files_and_run_time_settings(tmp_path):
    store, packages, result = prepare(tmp_path)
    layer = put_bytes(store, gzip.compress(b"\0" * 1024), d.OCI_LAYER_GZIP)
    base = Base(
        {"mediaType": d.OCI_MANIFEST, "layers": [layer.to_dict()]},
        {
            "os": "linux",
            "architecture": "amd64",
            "rootfs": {"type": "layers", "diff_ids": [d.sha256_digest(b"\0" * 1024)]},
            "config": {"Env": ["PATH=/usr/bin"], "Cmd": ["bash"], "User": "root", "Labels": {"base": "yes"}},
        },
        "registry.example/debian:12",
        d.sha256_digest(b"base"),
    )
    runtime = RuntimeSettings.create(entrypoint="git", env=["LANG=C"], labels={"a": 1}, user="1000", ports=[80])
    files = {"/view/bin/git": FileEntry(link="x"), "/opt/spack-environment/spack.lock": FileEntry(b"{}")}
    made = request(
        packages, "git", base=base, runtime=runtime, files=files, path_first=["/view/bin"], version="2",
        licenses="MIT", source="https://example.org", created="2026-01-01T00:00:00+00:00",
        platform=Platform("linux", "amd64", "v3"),
    )  # fmt: skip
    push_environment_image(store, plan_image(store, made, result.layers), "latest")
    manifest, config = pushed(store)
    assert manifest["layers"][0]["digest"] == layer.digest and len(manifest["layers"]) == 6
    assert file_system(store, manifest)["/opt/spack-environment/spack.lock"] == b"{}"
    settings = config["config"]
    assert settings["Entrypoint"] == ["git"] and "Cmd" not in settings and settings["User"] == "1000"
    assert settings["ExposedPorts"] == {"80/tcp": {}}
    assert settings["Env"][0].startswith("PATH=/view/bin:") and settings["Env"][0].endswith(":/usr/bin")
    assert "LANG=C" in settings["Env"] and settings["Labels"]["base"] == "yes" and settings["Labels"]["a"] == "1"
    assert config["variant"] == "v3" and config["created"] == "2026-01-01T00:00:00+00:00"
    for key, value in {
        "title": "my-env",
        "version": "2",
        "licenses": "MIT",
        "source": "https://example.org",
        "created": "2026-01-01T00:00:00+00:00",
        "base.name": "registry.example/debian:12",
        "base.digest": d.sha256_digest(b"base"),
    }.items():
        assert manifest["annotations"][f"org.opencontainers.image.{key}"] == value
        assert settings["Labels"][f"org.opencontainers.image.{key}"] == value


def base_of_directories(store, directories):
    """A base image with these directories: path -> (mode, uid, gid)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for path, (mode, uid, gid) in directories.items():
            member = tarfile.TarInfo("./" + path.strip("/"))
            member.type, member.mode, member.uid, member.gid = tarfile.DIRTYPE, mode, uid, gid
            archive.addfile(member)
    layer = put_bytes(store, gzip.compress(out.getvalue()), d.OCI_LAYER_GZIP)
    rootfs = {"type": "layers", "diff_ids": [d.sha256_digest(out.getvalue())]}
    config = {"os": "linux", "architecture": "amd64", "rootfs": rootfs}
    return Base({"mediaType": d.OCI_MANIFEST, "layers": [layer.to_dict()]}, config, "registry.example/base:1")


def test_a_base_with_too_many_layers(tmp_path):
    store, packages, result = prepare(tmp_path)
    (entry,) = base_of_directories(store, {"/tmp": (0o755, 0, 0), "/var/tmp": (0o755, 0, 0)}).layers
    base = Base({"mediaType": d.OCI_MANIFEST, "layers": [entry] * 119}, {})
    plan_image(store, request(packages, "git", base=base), result.layers)
    with pytest.raises(ImageError, match="the base image has 119 layers, and an image may have 120"):
        plan_image(store, request(packages, "git", base=base, files={"/x": FileEntry()}), result.layers)


def directories_of(store, manifest):
    """Directory -> (mode, uid, gid) as the uppermost layer that has it says."""
    found = {}
    for layer in manifest["layers"]:
        with store.open_blob(d.Descriptor.from_dict(layer)) as blob:
            data = open_decompressor(layer["mediaType"], blob).read()
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            found.update({"/" + m.name: (m.mode, m.uid, m.gid) for m in archive if m.isdir()})
    return found


@pytest.mark.parametrize("made", ["a layer a package", "grouped", "squashed", "squashed with files", "one package"])
@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_directories_of_the_base_keep_mode_and_owner(tmp_path, made, compression):
    """A store in the home of the image's user, which is only his, below a directory that all may write to."""
    store, packages, result = prepare(tmp_path, compression=compression)
    home = str(tmp_path)
    above = home.rpartition("/")[0]
    base = base_of_directories(store, {above: (0o1777, 0, 0), home: (0o700, 1234, 99), "/var/tmp": (0o1777, 0, 0)})
    options = {
        "a layer a package": {},
        "grouped": {"max_layers": 3},
        "squashed": {"squash": True},
        "squashed with files": {"squash": True, "files": {f"{home}/bin/sbang": FileEntry(b"#!")}},
        "one package": {"squash": True},
    }[made]
    root = "zlib" if made == "one package" else "git"
    how = Compression.parse(compression)
    wanted = request(packages, root, base=base, compression=how, **options)
    plan = plan_image(store, wanted, result.layers, {})
    push_environment_image(store, plan, "latest")
    manifest, _ = pushed(store)
    assert len(manifest["layers"]) == plan.layer_count
    there = directories_of(store, manifest)
    assert there[above] == (0o1777, 0, 0) and there[home] == (0o700, 1234, 99)
    assert there[f"{home}/store"] == (0o755, 0, 0), "the base does not have it"
    again = push_environment_image(store, plan_image(store, wanted, result.layers), "again")
    assert again.manifest == store.resolve("latest")


def test_directories_of_the_base_are_read_once(tmp_path):
    store, packages, result = prepare(tmp_path)
    base, cache = base_of_directories(store, {str(tmp_path): (0o700, 0, 0)}), {}
    first = plan_image(store, request(packages, "git", base=base), result.layers, cache)
    store.reset()
    second = plan_image(store, request(packages, "git", base=base), result.layers, cache)
    assert first.request.directories == second.request.directories != {} and store.calls["open_blob"] == 0


def test_multi_arch(tmp_path):
    store = MemoryStore()
    for architecture in ("amd64", "arm64"):
        graph = {f"{architecture}-app": []}
        packages = make_packages(str(tmp_path / architecture), graph, platform=("linux", architecture))
        result = push_all(store, packages, str(tmp_path / "stage"))
        plan = plan_image(store, request(packages, f"{architecture}-app"), result.layers)
        image = push_environment_image(store, plan, "app", multi_arch=True)
        assert image.index and store.resolve("app").digest == image.index.digest
    index = json.loads(store.get_manifest("app")[1])
    image_spec.check_index(index)
    assert [entry["platform"]["architecture"] for entry in index["manifests"]] == ["amd64", "arm64"]
    assert {"app", "app-linux-amd64", "app-linux-arm64"} <= set(store.tagged)


def test_nothing_to_make_an_image_of():
    with pytest.raises(ConfigurationError, match="nothing to make an image of"):
        plan_image(MemoryStore(), request({}))


def test_roots_of_several_platforms(tmp_path):
    store, packages, result = prepare(tmp_path)
    packages["htop"] = replace(packages["htop"], platform=("linux", "arm64"))
    with pytest.raises(ImageError, match="several platforms: linux/amd64, linux/arm64"):
        plan_image(store, request(packages, "git", "htop"), result.layers)


def test_conflicting_variables(tmp_path):
    store, packages, result = prepare(tmp_path, environment=lambda name: {"CC": name, "SAME": "1"})
    with pytest.raises(ImageError) as e:
        plan_image(store, request(packages, "git", "htop"), result.layers)
    assert "CC (git@1.0/" in str(e.value) and "SAME" not in str(e.value) and "--env CC=git" in e.value.remedy
    settled = RuntimeSettings.create(env=["CC=gcc"])
    plan = plan_image(store, request(packages, "git", "htop", runtime=settled), result.layers)
    push_environment_image(store, plan, "latest")
    assert "CC=gcc" in pushed(store)[1]["config"]["Env"]


def test_tags():
    assert check_image_tag("v1.0") == "v1.0"
    for tag in ("app.spack", "index.spack", "-x", "a b", ""):
        with pytest.raises(InvalidReference):
            check_image_tag(tag)


def test_the_tag_is_checked_before_anything_is_stored(tmp_path):
    store, packages, result = prepare(tmp_path)
    plan = plan_image(store, request(packages, "git"), result.layers)
    store.reset()
    with pytest.raises(InvalidReference):
        push_environment_image(store, plan, "x.spack")
    assert store.requests == 0


def test_the_plan_as_data(tmp_path):
    store, packages, result = prepare(tmp_path)
    plan = plan_image(store, request(packages, "git", max_layers=3), result.layers)
    document = json.loads(json.dumps(plan.to_dict()))
    assert document["platform"] == "linux/amd64" and len(document["layers"]) == 2
    assert document == plan_image(store, request(packages, "git", max_layers=3)).to_dict()


# libc of a push


def base_with(store, banner: bytes) -> Base:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        member = tarfile.TarInfo("lib/libc.so.6")
        member.size = len(banner)
        archive.addfile(member, io.BytesIO(banner))
    layer = put_bytes(store, out.getvalue(), d.OCI_LAYER_GZIP)
    diff_id = d.sha256_digest(gzip.decompress(out.getvalue()))
    return Base({"mediaType": d.OCI_MANIFEST, "layers": [layer.to_dict()]}, {"rootfs": {"diff_ids": [diff_id]}}, "b:1")


def test_the_c_library_of_a_base_is_checked(tmp_path):
    with open(os.path.realpath(sys.executable), "rb") as f:
        program = f.read()
    store, packages, _ = prepare(tmp_path, contents=lambda name: {"bin/python": program} if name == "htop" else {})
    cache = ResultDirectory(str(tmp_path / "results"))
    base = base_with(store, b"GNU C Library version 2.99")
    check_base_libc(store, base, list(packages.values()), cache=cache)
    store.reset()
    check_base_libc(store, base, list(packages.values()), cache=cache)
    assert store.requests == 0 and os.listdir(tmp_path / "results")
    with pytest.raises(ImageError, match=r"b:1 has glibc 2.2, but htop@1.0/\w+ \(bin/python\) needs glibc 2"):
        check_base_libc(store, base_with(store, b"GNU C Library version 2.2"), list(packages.values()), cache=cache)
    check_base_libc(store, Base(), list(packages.values()))


def test_a_c_library_that_spack_has_built_counts(tmp_path):
    with open(os.path.realpath(sys.executable), "rb") as f:
        program = f.read()
    graph = {"glibc": [], "htop": ["glibc"]}
    store, packages, _ = prepare(tmp_path, graph=graph, contents=lambda name: {"bin/python": program})
    with pytest.raises(ImageError, match="glibc 1.0"):
        check_base_libc(store, base_with(store, b"nothing"), [packages["htop"]])


def test_results_that_cannot_be_read_or_written(tmp_path):
    results = ResultDirectory(str(tmp_path / "results"))
    results["a"] = {"x": [1]}
    assert results.get("a") == {"x": [1]} and results.get("b") is None
    for name in os.listdir(tmp_path / "results"):
        (tmp_path / "results" / name).write_text("{")
    assert results.get("a") is None
    (tmp_path / "file").write_text("")
    ResultDirectory(str(tmp_path / "file" / "below"))["a"] = 1
