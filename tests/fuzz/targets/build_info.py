# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""``.spack/binary_distribution``, in JSON and in YAML's flow style, and the map that is made of it.

Allowed is a document that gives a map, or one of our errors; what is found with the map are paths of two components or
the store root; a document that JSON takes gives what JSON gives.
"""

import json
from pathlib import Path
from typing import List, Optional

from spack_oci.errors import CorruptArchive, SpackOciError
from spack_oci.relocate.build_info import BuildInfo, parse_document
from spack_oci.relocate.mapping import Relocation, build_mapping
from spack_oci.relocate.text import GrowthLimit, relocate_text
from support.packages.layers import HASH, OTHER_HASH, Layer

TOKENS = (
    *(b"{", b"}", b"[", b"]", b",", b": ", b'"', b"'", b"''", b"\\", b"\n", b"? ", b"#", b"null", b"true", b"\\u0000"),
    *(b"hash_to_prefix", b"buildpath", b"prefix_to_hash", b"relocate_links", b"/", b"a", b"1", b"\xff", b"\\x41"),
)
FLOW = b"""{sbang_install_path: /o/bin/sbang, buildpath: /o, spackprefix: /s, relative_prefix: a/b,
  hash_to_prefix: {HASH: /o/x y/z, '12345678': "/o/\\xE9\\u20AC"}, hardlinks_deduped: true,
  relocate_textfiles: [bin/a b, 'lib/it''s, [ok]', "a\\nb", 'null', l', x:y, a#b], relocate_binaries: [],
  relocate_links: null}
"""
_LIMIT = 1 << 20


def material(directory: Path) -> List[bytes]:
    layer = Layer()
    layer.info["relocate_textfiles"] = [f"share/file-{i}" for i in range(50)]
    small = {"hash_to_prefix": {HASH: "/a/b"}, "buildpath": "/a", "sbang_install_path": "/a/bin/sbang"}
    return [json.dumps(layer.info).encode(), FLOW.replace(b"HASH", HASH.encode()), json.dumps(small).encode()]


def attempt(data: bytes, directory: Path) -> Optional[str]:
    try:
        parsed = parse_document(data)
    except CorruptArchive:
        return None
    try:
        plain = json.loads(data.decode("utf-8", "surrogateescape"))
    except (ValueError, RecursionError):
        plain = parsed
    if plain != parsed:
        return f"JSON gives {plain!r}"
    here = Relocation({HASH: "/new" * 20, OTHER_HASH: "/n"}, "/new", "/new/bin/sbang")
    try:
        mapping = build_mapping(BuildInfo.parse(data), here)
        text = b" ".join([*(mapped.old for mapped in mapping.mappings), b"/a/b/c", data[:1000]])
        relocate_text(text, mapping, GrowthLimit(_LIMIT, "a package"))
    except SpackOciError:
        return None
    for mapped in mapping.mappings:
        parts = [part for part in mapped.old.split(b"/") if part]
        if not mapped.old.startswith(b"/") or len(parts) < (2 if mapped.dag_hash else 1):
            return f"{mapped.old!r} is no path"
    return None
