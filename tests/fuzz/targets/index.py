# SPDX-License-Identifier: (Apache-2.0 OR MIT)
# ruff: noqa: E501  (tables of bytes)
"""Damaged index documents: ours as lines and as frames, and Spack's. Each is read, or refused by name."""

import json
from pathlib import Path
from typing import Callable, List, Optional, Sequence

from spack_oci.errors import SpackOciError
from spack_oci.index.database import check_database
from spack_oci.index.frames import compress, decompress, read_table, table_of
from spack_oci.index.lines import DatabaseOfLines, entries_from_lines
from spack_oci.index.model import PackageIndex
from spack_oci.index.publish import DATABASE_TAG
from spack_oci.index.read import fetch_index
from spack_oci.index.update.loop import update_index
from support.memory_store import MemoryStore
from support.packages.cache_builder import QUICK, chain, node, push_package, sign

TOKENS: Sequence[bytes] = (
    *(b'"package":', b'"hash":', b'"database":', b'"version":"8"', b'"dependencies":[', b'"installs":{', b'"signed":true'),
    *(b"null", b"true", b"-1", b"1e999", b"[]", b"{}", b'""', b'"\\ud800"', b"\xc2\xb2", b"9" * 30, b"\n", b"[" * 600),
    *(b"sha256:" + b"0" * 64, b"\x28\xb5\x2f\xfd", b"\x00" * 40),
)  # fmt: skip


_DIGEST = "sha256:" + "0" * 64


def _store() -> MemoryStore:
    store = MemoryStore()
    nodes = chain("p", 3)
    for number in range(3):
        push_package(store, nodes[number:])
    push_package(store, [node("alone", package="x")])
    sign(store, store.resolve(sorted(t for t in store.tags() if t.startswith("alone"))[0]))
    update_index(store, QUICK)
    return store


def material(directory: Path) -> List[bytes]:
    store = _store()
    found = fetch_index(store)
    assert found.document is not None
    lines = list(decompress(found.document))
    spacks = store.get_manifest(DATABASE_TAG)[1]
    layer = json.loads(spacks)["layers"][0]["digest"]
    frames = compress(lines)
    return [b"".join(lines), b"".join(lines), store.blobs[layer], found.document, table_of(frames)]


def attempt(data: bytes, directory: Path) -> Optional[str]:
    lines = data.splitlines(keepends=True)
    readers: Sequence[Callable[[], object]] = (
        lambda: PackageIndex.from_lines(iter(lines)),
        lambda: entries_from_lines(iter(lines)),
        lambda: DatabaseOfLines(lambda: iter(lines), _DIGEST),
        lambda: check_database(data, "the index"),
        lambda: list(decompress(data)),
        lambda: read_table(data, 1 << 20),
    )
    for reader in readers:
        try:
            reader()
        except SpackOciError as e:
            if len(str(e)) > 5000:
                return f"an error of {len(str(e))} characters"
    return None
