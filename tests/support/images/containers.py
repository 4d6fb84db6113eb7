# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""podman with a storage of its own, and small base images made of this machine's shell and C library."""

import contextlib
import gzip
import io
import json
import os
import shlex
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

import pytest
from spack_oci import descriptor as d
from spack_oci.content import ContentStore, put_bytes
from spack_oci.content.platform import Platform
from spack_oci.image.manifest import Base
from spack_oci.reference import parse_image_reference, parse_url
from spack_oci.registry.settings import RegistrySettings
from spack_oci.registry.store import open_repository
from support.images.base_images import prepare_base
from support.registries.docker_registry import DockerRegistry


class Podman:
    def __init__(self, directory: Path, runroot: str) -> None:
        config = directory / "containers.conf"
        config.write_text(
            '[engine]\nruntime="runc"\ncgroup_manager="cgroupfs"\nevents_logger="file"\n'
            '[containers]\ndefault_ulimits=["nofile=20000:20000","nproc=30000:30000"]\n'
        )
        self._environment = {**os.environ, "CONTAINERS_CONF": str(config)}
        # --tmpdir: `podman system reset` of one test removes /run/libpod under the podman of another
        self._base = ["podman", "--tmpdir", f"{runroot}/libpod", "--root", str(directory / "root")]
        self._base += ["--runroot", f"{runroot}/run"]

    def __call__(self, *arguments: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        done = subprocess.run(
            [*self._base, *arguments], capture_output=True, text=True, env=self._environment, timeout=600
        )
        if check and done.returncode:
            raise AssertionError(f"podman {' '.join(arguments)}: {done.stderr}")
        return done

    def write_program(self, path: Path) -> None:
        """A ``podman`` for a PATH, whose containers have no network."""
        config = Path(self._environment["CONTAINERS_CONF"])
        own = config.with_name("program.conf")
        own.write_text(config.read_text() + 'netns="none"\n')
        path.write_text(
            f'#!/bin/sh\nCONTAINERS_CONF={own} exec {shutil.which("podman")} {shlex.join(self._base[1:])} "$@"\n'
        )
        path.chmod(0o755)

    def pull(self, image: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        return self("pull", "--quiet", "--tls-verify=false", image, check=check)

    def run(self, image: str, *command: str, check: bool = True, options: Sequence[str] = ()) -> str:
        """What the container prints, standard output and errors."""
        done = self("run", "--rm", "--network=none", "--pull=never", *options, image, *command, check=check)
        return done.stdout + done.stderr


@contextlib.contextmanager
def podman(directory: Path) -> Iterator[Podman]:
    """A podman that can run containers here, or a skipped test."""
    if os.geteuid() != 0 or not shutil.which("podman") or not shutil.which("runc"):
        pytest.skip("needs root, podman and runc")
    directory.mkdir(parents=True, exist_ok=True)
    # podman wants a path of at most 50 characters
    with tempfile.TemporaryDirectory(prefix="podman-") as runroot:
        engine = Podman(directory, runroot)
        info = engine("info", check=False)
        if info.returncode:
            pytest.skip(f"needs a podman that works: {info.stderr}")
        try:
            yield engine
        finally:
            engine("rmi", "--all", "--force", check=False)
            engine("system", "reset", "--force", check=False)


def skopeo(*arguments: str) -> str:
    if not shutil.which("skopeo"):
        pytest.skip("needs skopeo")
    done = subprocess.run(["skopeo", *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def libraries_of(program: str) -> List[str]:
    """Files that ``program`` needs to start, as ldd finds them."""
    listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    words = [word for line in listed.splitlines() for word in line.split() if word.startswith("/")]
    return sorted(set(words))


def shell_root_file_system(directories: Optional[Mapping[str, Tuple[int, int, int]]] = None) -> bytes:
    """A tar with this machine's ``/bin/sh``, ``env``, ``id`` and ``stat``, their libraries, and two users.

    ``directories``: more of them, path -> mode, uid, gid.
    """
    files: Dict[str, str] = {path: path for path in ("/bin/sh", "/usr/bin/env", "/usr/bin/id", "/usr/bin/stat")}
    for program in list(files.values()):
        files.update({path: path for path in libraries_of(program)})
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        there = {"/tmp": (0o1777, 0, 0), "/etc": (0o755, 0, 0), **(directories or {})}
        for name, (mode, uid, gid) in there.items():
            member = tarfile.TarInfo(name.strip("/"))
            member.type, member.mode, member.uid, member.gid = tarfile.DIRTYPE, mode, uid, gid
            archive.addfile(member)
        passwd = b"root:x:0:0:root:/:/bin/sh\nworker:x:1234:1234::/tmp:/bin/sh\n"
        for name, data in [("etc/passwd", passwd), ("etc/group", b"root:x:0:\nworker:x:1234:\n")]:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        for name, path in sorted(files.items()):
            with open(os.path.realpath(path), "rb") as f:
                data = f.read()
            member = tarfile.TarInfo(name.lstrip("/"))
            member.size, member.mode = len(data), 0o755
            archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


def push_base(
    store: ContentStore,
    tag: str,
    root: bytes,
    *,
    docker: bool = False,
    config: Optional[dict] = None,
    architecture: str = "amd64",
) -> d.Descriptor:
    """A base image of one layer."""
    layer = put_bytes(store, gzip.compress(root, 1, mtime=0), d.DOCKER_LAYER_GZIP if docker else d.OCI_LAYER_GZIP)
    document = {
        "architecture": architecture,
        "os": "linux",
        "config": {"Env": ["PATH=/usr/local/bin:/usr/bin:/bin"], "Cmd": ["sh"], **(config or {})},
        "rootfs": {"type": "layers", "diff_ids": [d.sha256_digest(root)]},
        "history": [{"created_by": "a test"}],
    }
    blob = put_bytes(store, json.dumps(document).encode(), d.DOCKER_CONFIG if docker else d.OCI_CONFIG)
    media_type = d.DOCKER_MANIFEST if docker else d.OCI_MANIFEST
    manifest = {"schemaVersion": 2, "mediaType": media_type, "config": blob.to_dict(), "layers": [layer.to_dict()]}
    return store.put_manifest(d.canonical_json(manifest), media_type, tag)


def shell_base(registry: DockerRegistry, store: ContentStore, docker: bool) -> Base:
    """A base image with a shell, in OCI's or Docker's vocabulary, in another repository of ``store``'s registry."""
    url = registry.mirror_url("base/docker" if docker else "base/oci")
    with open_repository(parse_url(url), RegistrySettings(ca_bundle=registry.ca)) as source:
        push_base(source, "12", shell_root_file_system(), docker=docker)
        return prepare_base(source, parse_image_reference(f"{url}:12"), store, Platform("linux", "amd64"))[0]
