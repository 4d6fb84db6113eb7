# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The least that a cold push can take: what one has left in a repository is sent to another by a C program."""

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Dict, List

from spack_oci.content import save_blob
from spack_oci.descriptor import Descriptor
from spack_oci.reference import Repository
from spack_oci.registry.store import open_repository

SOURCE = Path(__file__).with_name("push_limit.c")


class PushLimit:
    """Of a registry on plain http. ``directory``: for the program and all that it sends."""

    def __init__(self, directory: Path, host: str, connections: int = 4) -> None:
        self._directory, self._host, self._connections = directory, host, connections
        self._program = directory / "push_limit"
        directory.mkdir()
        subprocess.run(["gcc", "-O2", "-pthread", "-o", str(self._program), str(SOURCE)], check=True)

    def prepare(self, repository: str) -> None:
        """Take what the packages of a repository are made of: their own layers, configs and manifests."""
        store = open_repository(Repository(self._host, repository, "http"))
        layers: Dict[str, str] = {}
        images: List[str] = []
        for tag in sorted(tag for tag in store.tags() if tag.endswith(".spack")):
            descriptor, data = store.get_manifest(tag)
            manifest = json.loads(data)
            (self._directory / tag).write_bytes(data)
            for document in (*manifest["layers"], manifest["config"]):
                blob = Descriptor.from_dict(document)
                path = self._directory / blob.digest.partition(":")[2]
                if not path.exists():
                    with open(path, "wb") as file:
                        save_blob(store, blob, file)
                if document is not manifest["config"]:
                    layers[blob.digest] = f"blob {blob.digest} {path}"
            images.append(f"image {blob.digest} {path} {tag} {descriptor.media_type} {self._directory / tag}")
        (self._directory / "plan").write_text("\n".join([*layers.values(), "wait", *images, ""]))

    def run(self, repository: str) -> "tuple[float, float]":
        """Wall clock and processor seconds of sending all of it to an empty repository."""
        host, _, port = self._host.rpartition(":")
        arguments = [host, port, repository, str(self._connections), str(self._directory / "plan")]
        before, started = os.times(), time.perf_counter()
        subprocess.run([str(self._program), *arguments], check=True)
        wall, after = time.perf_counter() - started, os.times()
        cpu = after.children_user + after.children_system - before.children_user - before.children_system
        return wall, cpu
