# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Several processes merge their platform into one tag of a real registry at the same time."""

import json
import multiprocessing

import pytest
from spack_oci import descriptor as d
from spack_oci.content import put_bytes
from spack_oci.content.platform import Platform
from spack_oci.image.index import push_platform
from spack_oci.reference import parse_url
from spack_oci.registry.store import open_repository
from support.registries.docker_registry import docker_registry

pytestmark = pytest.mark.registry

PLATFORMS = ["linux/amd64", "linux/amd64/v2", "linux/amd64/v3", "linux/amd64/v4"]
PLATFORMS += ["linux/arm64", "linux/ppc64le", "linux/riscv64", "linux/s390x"]
ROUNDS = 5


def push(url: str, text: str, barrier) -> None:
    platform = Platform.parse(text)
    with open_repository(parse_url(url)) as store:
        document = {**platform.to_document(), "rootfs": {"type": "layers", "diff_ids": []}}
        config = put_bytes(store, json.dumps(document).encode(), d.OCI_CONFIG)
        manifest = {"schemaVersion": 2, "mediaType": d.OCI_MANIFEST, "config": config.to_dict(), "layers": []}
        for number in range(ROUNDS):
            barrier.wait()
            push_platform(store, f"app{number}", d.canonical_json(manifest), d.OCI_MANIFEST, platform)


def test_no_platform_is_lost():
    context = multiprocessing.get_context("spawn")
    with docker_registry() as registry:
        url = registry.mirror_url("team/apps")
        barrier = context.Barrier(len(PLATFORMS))
        processes = [context.Process(target=push, args=(url, text, barrier)) for text in PLATFORMS]
        for process in processes:
            process.start()
        for process in processes:
            process.join(120)
        assert [process.exitcode for process in processes] == [0] * len(PLATFORMS)
        with open_repository(parse_url(url)) as store:
            for number in range(ROUNDS):
                entries = json.loads(store.get_manifest(f"app{number}")[1])["manifests"]
                found = [str(Platform.from_document(entry["platform"])) for entry in entries]
                assert found == sorted(PLATFORMS), number
