# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Whether a store, a blob cache, a layout, a registry hold nothing half-written: each returns what is wrong."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

from support.registries.fault_state import Repository

#: written when a package is finished, after its prefix has appeared
_LATE = (".spack/install_manifest.json", ".spack/install_times.json")


def _hex(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def tree_of(prefix: Path) -> Dict[str, str]:
    """What a prefix holds, less what says when: relative path -> kind, mode, size."""
    found = {}
    for path in sorted(prefix.rglob("*")):
        name = str(path.relative_to(prefix))
        if name in _LATE:
            found[name] = "there"
        elif path.is_symlink():
            found[name] = f"-> {os.readlink(path)}"
        elif path.is_dir():
            found[name] = f"d {path.stat().st_mode:o}"
        else:
            found[name] = f"f {path.stat().st_mode:o} {path.stat().st_size}"
    return found


def installed(store: Path) -> Dict[str, Path]:
    """DAG hash -> prefix, of the database."""
    path = store / ".spack-db" / "index.json"
    if not path.exists():
        return {}
    installs = json.loads(path.read_text())["database"]["installs"]
    return {h: Path(i["path"]) for h, i in installs.items() if i.get("installed") and i.get("path")}


def prefixes_on_disk(store: Path) -> List[Path]:
    return [p for p in store.glob("*/*") if p.parent.name not in (".spack-db", "bin", ".spack-oci")]


def walk_store(store: Path, reference: Dict[str, Dict[str, str]], *, killed: bool) -> List[str]:
    """``reference``: name of a prefix -> its tree. ``killed``: what the next install removes may lie about."""
    try:
        registered = installed(store)
    except (ValueError, KeyError) as e:
        return [f"the database of the store cannot be read: {e}"]
    wrong = []
    for prefix in registered.values():
        differences = sorted(set(tree_of(prefix).items()) ^ set(reference[prefix.name].items()))
        if differences:
            wrong.append(f"{prefix.name} is registered and not what was pushed: {differences[:3]}")
    if not killed:
        known = set(registered.values())
        wrong += [f"{p.name} is in the store and not registered" for p in prefixes_on_disk(store) if p not in known]
    return wrong


def walk_blobs(directory: Path) -> List[str]:
    """``directory``: ``blobs`` of a layout or of a cache."""
    return [
        f"the blob {path.name} has other content"
        for path in directory.glob("sha256/*")
        if _hex(path.read_bytes()) != path.name
    ]


def walk_cache(cache: Path, *, killed: bool) -> List[str]:
    wrong = walk_blobs(cache / "blobs" / "blobs")
    for path in [*cache.glob("indexes/*/meta.json"), *cache.glob("blobs/layers/*.json")]:
        try:
            json.loads(path.read_text())
        except ValueError:
            wrong.append(f"{path.name} is no JSON")
    return wrong if killed else wrong + temporary_files(cache)


def temporary_files(root: Path) -> List[str]:
    return [f"{p.relative_to(root)} was left" for p in root.rglob("*") if p.name.endswith(".part") or ".oci-" in p.name]


def walk_layout(layout: Path, *, killed: bool) -> List[str]:
    if not (layout / "oci-layout").exists():
        return []
    wrong = walk_blobs(layout / "blobs")
    try:
        json.loads((layout / "oci-layout").read_text())
        entries = json.loads((layout / "index.json").read_text())["manifests"]
    except FileNotFoundError:
        return wrong
    except (ValueError, KeyError) as e:
        return [*wrong, f"index.json cannot be read: {e}"]

    def read(digest: str) -> Optional[bytes]:
        path = layout / "blobs" / digest.replace(":", "/")
        return path.read_bytes() if path.exists() else None

    tags = {e["annotations"]["org.opencontainers.image.ref.name"]: e["digest"] for e in entries if e.get("annotations")}
    wrong += _incomplete(tags, read) + _index_problems(tags, read)
    left = [] if killed else list((layout / ".spack-oci" / "tmp").glob("*"))
    return wrong + [f"{p.name} was left" for p in left]


def walk_repository(repository: Optional[Repository]) -> List[str]:
    if repository is None:
        return []

    def read(digest: str) -> Optional[bytes]:
        found = repository.blobs.get(digest)
        return found if found is not None else repository.manifests.get(digest, ("", None))[1]

    return _incomplete(repository.tags, read) + _index_problems(repository.tags, read)


Read = Callable[[str], Optional[bytes]]


def _children(document: Dict[str, Any]) -> Iterator[Tuple[str, bool]]:
    """(digest, whether it is a manifest)"""
    for child in document.get("manifests") or ():
        yield child["digest"], True
    for child in [document.get("config"), *(document.get("layers") or ())]:
        if child:
            yield child["digest"], False


def _incomplete(tags: Dict[str, str], read: Read) -> List[str]:
    wrong = []
    for tag, root in tags.items():
        pending = [(root, True)]
        while pending:
            digest, is_manifest = pending.pop()
            data = read(digest)
            if data is None:
                wrong.append(f"the tag {tag} needs {digest}, which is not there")
            elif digest != f"sha256:{_hex(data)}":
                wrong.append(f"the tag {tag} needs {digest}, which is something else")
            elif is_manifest:
                pending += _children(json.loads(data))
    return wrong


def _index_problems(tags: Dict[str, str], read: Read) -> List[str]:
    """Whether Spack's index names only what is there. (A tag that it does not name is not there yet.)"""
    if "index.spack" not in tags:
        return []
    manifest = json.loads(read(tags["index.spack"]) or b"{}")
    database = json.loads(read(manifest["layers"][0]["digest"]) or b"{}")["database"]["installs"]
    there = {tag[: -len(".spack")].rpartition("-")[2] for tag in tags if tag.endswith(".spack")}
    missing = [h for h, entry in database.items() if entry.get("in_buildcache") and h not in there]
    return [f"the index names {h}, which has no tag" for h in missing]


def packages_of(tags: Dict[str, str]) -> int:
    return sum(tag.endswith(".spack") and tag != "index.spack" for tag in tags)
