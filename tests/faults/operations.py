# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What is run under faults: each operation from a state that is made for it, and what has to be there afterwards."""

import base64
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Dict, List, Sequence

from spack_oci.index.publish import DOCUMENT_TAG, STATEMENT, STATEMENT_SIGNATURE
from spack_oci.index.snapshots import SNAPSHOT_PREFIX
from spack_oci.package.record import is_package_tag
from spack_oci.trust.signatures import ANNOTATION, signature_tag
from spack_oci.trust.signers import signer_of_pem
from spack_oci.trust.statement import signed_by

from faults import walks
from faults.worlds import NAME, PACKAGES, Templates, World

Reference = Dict[str, Dict[str, str]]


@dataclass(frozen=True)
class Operation:
    """``repository``, ``layout``: states of the templates. ``done``: what is wrong after a run that succeeded."""

    name: str
    title: str
    words: Callable[[World], Sequence[object]]
    done: Callable[[World], List[str]]
    repository: str = "empty"
    layout: str = "empty"
    network: bool = True
    prepare: Callable[[World], None] = lambda world: None

    def begin(self, world: World, templates: Templates) -> None:
        templates.put_repository(self.repository, world.registry)
        templates.put_layout(self.layout, world.layout)
        self.prepare(world)


def walk(world: World, reference: Reference, *, killed: bool = False) -> List[str]:
    """What is half-written, anywhere. ``killed``: there was no chance to remove what is temporary."""
    return [
        *walks.walk_store(world.store, reference, killed=killed),
        *walks.walk_cache(world.cache, killed=killed),
        *walks.walk_layout(world.layout, killed=killed),
        *walks.walk_repository(world.registry.repositories.get(NAME)),
    ]


def reference_of(world: World, templates: Templates) -> Reference:
    """What an install without faults makes, in a world whose paths are those of the others."""
    templates.put_repository("indexed", world.registry)
    done = world.run(*_install(world))
    assert done.code == 0, done.said
    return {prefix.name: walks.tree_of(prefix) for prefix in walks.prefixes_on_disk(world.store)}


# -- what has to be there --------------------------------------------------------------------------------------------


def _pushed(tags: Dict[str, str], read: Callable[[str], bytes], where: str, count: int = len(PACKAGES)) -> List[str]:
    if walks.packages_of(tags) != count:
        return [f"{where} has the tags {sorted(tags)}"]
    if "index.spack" not in tags or "spack-oci.index" not in tags:
        return [f"{where} has no index"]
    manifest = json.loads(read(tags["index.spack"]))
    installs = json.loads(read(manifest["layers"][0]["digest"]))["database"]["installs"]
    found = sum(bool(i.get("in_buildcache")) for i in installs.values())
    return [] if found == count else [f"the index of {where} has {found} packages"]


def in_registry(world: World) -> List[str]:
    return _pushed(_tags_of_registry(world), _reader_of_registry(world), "the registry")


def _tags_of_registry(world: World) -> Dict[str, str]:
    return world.registry.repositories[NAME].tags


def _reader_of_registry(world: World) -> Callable[[str], bytes]:
    found = world.registry.repositories[NAME]
    return lambda digest: found.blobs.get(digest) or found.manifests[digest][1]


def _pruned(world: World) -> List[str]:
    return _pushed(_tags_of_registry(world), _reader_of_registry(world), "the registry", 1)


def _lose_index(world: World) -> None:
    for tag in ("index.spack", DOCUMENT_TAG):
        del _tags_of_registry(world)[tag]


def _named(world: World) -> List[str]:
    there = f"{SNAPSHOT_PREFIX}paper" in _tags_of_registry(world)
    return in_registry(world) + ([] if there else ["there is no snapshot"])


def _tags_of_layout(world: World) -> Dict[str, str]:
    entries = json.loads((world.layout / "index.json").read_text())["manifests"]
    return {e["annotations"]["org.opencontainers.image.ref.name"]: e["digest"] for e in entries if e.get("annotations")}


def _reader_of_layout(world: World) -> Callable[[str], bytes]:
    return lambda digest: (world.layout / "blobs" / digest.replace(":", "/")).read_bytes()


def in_layout(world: World) -> List[str]:
    return _pushed(_tags_of_layout(world), _reader_of_layout(world), "the layout")


def in_store(world: World, wanted: int = len(PACKAGES)) -> List[str]:
    count = len(walks.installed(world.store))
    left = [p.name for p in world.store.glob("*/.*.oci-*")]
    return ([] if count == wanted else [f"{count} packages are registered"]) + left


def in_cache(world: World) -> List[str]:
    blobs = list((world.cache / "blobs" / "blobs" / "sha256").glob("*"))
    return [] if len(blobs) >= len(PACKAGES) else [f"{len(blobs)} blobs are in the cache"]


def _no_garbage(world: World) -> List[str]:
    left = [p.name for p in _garbage(world) if p.exists()]
    return in_layout(world) + [f"{name} is still there" for name in left]


def _garbage(world: World) -> List[Path]:
    return [world.layout / "blobs" / "sha256" / hashlib.sha256(bytes([n])).hexdigest() for n in range(4)]


def _make_garbage(world: World) -> None:
    for number, path in enumerate(_garbage(world)):
        path.write_bytes(bytes([number]))
        os.utime(path, (1e9, 1e9))


def _install(world: World) -> Sequence[object]:
    return ("install", world.url, *PACKAGES, "--store", world.store)


def _small_pushed(world: World) -> List[str]:
    return _pushed(_tags_of_layout(world), _reader_of_layout(world), "the layout", 1)


def _new_key() -> bytes:
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


#: not encrypted: scrypt takes a quarter of a second in each run
TEAM_KEY = _new_key()


def _key(world: World) -> Path:
    return world.home / "team.key"


def _make_key(world: World) -> None:
    _key(world).write_bytes(TEAM_KEY)


def _signed(world: World) -> List[str]:
    return in_layout(world) + _unsigned(_tags_of_layout(world), _reader_of_layout(world))


def _signed_in_registry(world: World) -> List[str]:
    return in_registry(world) + _unsigned(_tags_of_registry(world), _reader_of_registry(world))


def _unsigned(tags: Dict[str, str], read: Callable[[str], bytes]) -> List[str]:
    """What is not signed by the key, of the packages and the index."""
    team = signer_of_pem(TEAM_KEY, "team.key", bytes).public
    wrong: List[str] = []
    for tag in filter(is_package_tag, tags):
        try:
            (layer,) = json.loads(read(tags[signature_tag(tags[tag])]))["layers"]
            value = base64.b64decode(layer["annotations"][ANNOTATION])
            wrong += [] if team.verifies(value, read(layer["digest"])) else [f"{tag} has another signature"]
        except (KeyError, ValueError, OSError) as e:
            wrong.append(f"{tag} is not signed: {type(e).__name__} {e}")
    said = json.loads(read(tags[DOCUMENT_TAG])).get("annotations", {})
    signed = signed_by(said.get(STATEMENT, ""), said.get(STATEMENT_SIGNATURE, ""), [team])
    return wrong + ([] if signed else ["the index is not signed"])


#: with as few system calls as can be, for a signal at each of them
SMALL: Sequence[Operation] = (
    Operation(
        "install",
        "install",
        lambda w: ("install", w.layout, "oci-codegen", "--store", w.store),
        lambda w: in_store(w, 1),
        layout="indexed",
    ),
    Operation(
        "push",
        "push to a layout",
        lambda w: ("push", "--update-index", w.built, w.layout, "oci-codegen"),
        _small_pushed,
    ),
    Operation("update-index", "index update", lambda w: ("update-index", w.layout), in_layout, layout="packages"),
    Operation("copy", "copy to a layout", lambda w: ("!copy", w.url, w.layout), in_layout, "indexed"),
    Operation(
        "sign",
        "sign",
        lambda w: ("!sign", w.layout, _key(w)),
        _signed,
        layout="indexed",
        prepare=_make_key,
    ),
    Operation(
        "prune",
        "prune",
        lambda w: ("prune", "--grace", "0", "--keep-specs", "oci-leaf", w.layout),
        _small_pushed,
        layout="indexed",
    ),
    Operation(
        "gc",
        "garbage collection",
        lambda w: ("!collect", w.layout),
        _no_garbage,
        layout="indexed",
        prepare=_make_garbage,
    ),
)

OPERATIONS: Sequence[Operation] = (
    Operation("push", "push", lambda w: ("push", "--update-index", w.built, w.url), in_registry),
    Operation("update-index", "update-index", lambda w: ("update-index", w.url), in_registry, repository="packages"),
    Operation("install", "install", _install, in_store, repository="indexed"),
    Operation("fetch", "fetch", lambda w: ("!fetch", w.url, w.store), in_cache, repository="indexed"),
    Operation("copy", "copy", lambda w: ("!copy", w.url, w.layout), in_layout, repository="indexed"),
    Operation(
        "copy-up",
        "copy to a registry",
        lambda w: ("!copy", w.layout, w.url),
        in_registry,
        layout="indexed",
    ),
    Operation("list", "list", lambda w: ("list", "--allarch", w.url), lambda w: [], repository="indexed"),
    Operation(
        "layout",
        "push to a layout",
        lambda w: ("push", "--update-index", w.built, w.layout),
        in_layout,
        network=False,
    ),
    Operation(
        "gc",
        "garbage collection",
        lambda w: ("!collect", w.layout),
        _no_garbage,
        layout="indexed",
        network=False,
        prepare=_make_garbage,
    ),
    Operation(
        "prune",
        "prune",
        lambda w: ("prune", "--grace", "0", "--keep-specs", "oci-leaf", w.url),
        _pruned,
        repository="indexed",
    ),
    Operation("repair", "repair", lambda w: ("repair", w.url), in_registry, "indexed", prepare=_lose_index),
    Operation("verify", "verify", lambda w: ("verify", "--level", "content", w.url), in_registry, repository="indexed"),
    Operation(
        "sign",
        "sign",
        lambda w: ("!sign", w.url, _key(w)),
        _signed_in_registry,
        repository="indexed",
        prepare=_make_key,
    ),
    Operation("snapshot", "snapshot", lambda w: ("snapshot", w.url, "paper"), _named, repository="indexed"),
)
