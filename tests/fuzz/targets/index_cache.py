# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""A kept index whose files are damaged, cut, swapped or of another version: it counts as not kept, or says what the
registry has. Whoever reads it gets the index, and none of it is taken for another one.
"""

import json
import random
import shutil
from pathlib import Path
from typing import Any, Dict, List, Optional

from spack_oci.errors import SpackOciError
from spack_oci.index.in_place import Wanted
from spack_oci.index.index_cache import IndexCache, load_index, refresh_index
from spack_oci.index.read import NotModified, fetch_index
from spack_oci.index.update.loop import update_index
from support.memory_store import MemoryStore
from support.packages.cache_builder import QUICK, chain, node, overwrite_as_spack, push_package

from fuzz.harness import damage as damaged_bytes

_VALUES = (
    None,
    0,
    -1,
    5,
    1e300,
    True,
    "",
    "x",
    "../meta.json",
    "/dev/null",
    [],
    {},
    "\udcff",
    "meta.json",
    "sha256:" + "0" * 64,
)
_TOKENS = (b"null", b"\x28\xb5\x2f\xfd", b"\0" * 20, b'"hash":', b"\n")
_URL = "memory"
_nodes = [*chain("p", 3), node("alone")]


def _store(spack_wrote_last: bool) -> MemoryStore:
    store = MemoryStore()
    for number in range(3):
        push_package(store, _nodes[number:3])
    push_package(store, [_nodes[3]])
    update_index(store, QUICK)
    if spack_wrote_last:
        overwrite_as_spack(store, [_nodes[3]["hash"]])
    return store


#: of a cache that we wrote last, and of one that Spack did
_STORES = (_store(False), _store(True))


def material(directory: Path) -> List[bytes]:
    """``[number of the store, {name of a file that is kept: its bytes}]``."""
    found = []
    for number, store in enumerate(_STORES):
        place = directory / f"kept-{number}"
        refresh_index(IndexCache(str(place)), _URL, store)
        files = {path.name: path.read_bytes().decode("latin-1") for path in place.glob("*/*")}
        found.append(json.dumps([number, files]).encode())
    return found


def damage(data: bytes, rng: random.Random) -> bytes:
    number, files = json.loads(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        _damage_one(files, rng)
    return json.dumps([number, files]).encode()


def _damage_one(files: Dict[str, str], rng: random.Random) -> None:
    names = sorted(files)
    if not names:
        return
    name, other = rng.choice(names), rng.choice(names)
    kind = rng.randrange(5)
    if kind == 0:
        del files[name]
    elif kind == 1:
        files[name], files[other] = files[other], files[name]
    elif kind == 2 and "meta.json" in files:
        _change_meta(files, rng)
    else:
        before = [text.encode("latin-1") for text in files.values()]
        files[name] = damaged_bytes(files[name].encode("latin-1"), before, _TOKENS, rng).decode("latin-1")


def _change_meta(files: Dict[str, str], rng: random.Random) -> None:
    try:
        meta: Any = json.loads(files["meta.json"])
    except ValueError:
        return
    if isinstance(meta, dict) and meta:
        meta[rng.choice(sorted(meta))] = rng.choice(_VALUES)
    files["meta.json"] = json.dumps(meta)


def attempt(data: bytes, directory: Path) -> Optional[str]:
    number, files = json.loads(data)
    store = _STORES[number]
    shutil.rmtree(directory, ignore_errors=True)
    cache = IndexCache(str(directory))
    place = Path(cache._path(_URL))  # where the files are is what is tested
    place.mkdir(parents=True)
    for name, text in files.items():
        (place / name).write_bytes(text.encode("latin-1"))
    hashes = [package["hash"] for package in _nodes]
    for ask in (
        *(lambda h=h: cache.lookup(_URL, h) for h in hashes),
        lambda: cache.lookup_signatures(_URL, hashes[0]),
        lambda: cache.packages_by_hash(_URL, hashes[0][:5]),
        lambda: cache.load_part(_URL, Wanted(frozenset(["p1"]), frozenset([hashes[0][:5]]))),
        lambda: cache.old_document(_URL),
        lambda: (cache.known(_URL), cache.age(_URL), cache.is_current(_URL)),
    ):
        try:
            ask()
        except SpackOciError:
            pass
    fresh = fetch_index(store)
    assert not isinstance(fresh, NotModified)
    for ttl in (1e9, 0.0):
        found = load_index(cache, _URL, lambda: store, ttl=ttl)
        if found.failure is not None or found.not_kept is not None:
            return f"it is not had: {found.warning}"
        if found.index.data != fresh.data:
            return f"with a ttl of {ttl}, the database is another one"
        if set(found.index.entries()) != set(fresh.entries()):
            return f"with a ttl of {ttl}, the packages are others"
    return None
