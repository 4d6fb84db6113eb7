# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What an index costs, against the number of packages: a table, and a picture of the curves.

    PYTHON tests/bench/bench_scale.py [--sizes 1000,10000,27000,100000] [--work DIR] [--json FILE] [--svg FILE]

The caches are made of generated packages (``support/specs/spec_universe.py``: names, variants, hashes and closures as
in real ones), in a layout directory. Each step is a process of its own; its processor time and its peak memory do not
depend on what else the machine does, bytes and requests on nothing. ``--work`` on a tmpfs measures best; 100,000
packages take 2 GB there.
"""

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Dict, Iterable, List, Optional

ROOT = Path(__file__).resolve().parents[2]
PATHS = [str(ROOT / "lib"), str(ROOT / "tests")]
sys.path[:0] = PATHS

from spack_oci.descriptor import OCI_CONFIG, OCI_LAYER_GZIP, OCI_MANIFEST, Descriptor, canonical_json  # noqa: E402
from spack_oci.layout import LayoutStore  # noqa: E402
from spack_oci.reference import LayoutDirectory  # noqa: E402
from support.measuring.curves import Curve, picture  # noqa: E402
from support.packages.cache_builder import tag_of  # noqa: E402
from support.specs.spec_universe import Universe  # noqa: E402

NEW = 10
LOOKUPS = 300

#: runs in a fresh Python; argv: the layout, the directory of the client's indexes, what to do, further words
STEP = """
import json, sys, time
sys.path[:0] = {paths!r}
path, indexes, step, *words = sys.argv[1:]
from spack_oci.index.index_cache import IndexCache, refresh_index
from spack_oci.index.update.loop import update_index
from spack_oci.layout import LayoutStore
from spack_oci.reference import LayoutDirectory
store = LayoutStore(LayoutDirectory(path), durable=False)
cache = IndexCache(indexes)
downloaded = 0
class Counted:
    url = store.url
    def resolve(self, reference): return store.resolve(reference)
    def get_manifest(self, reference):
        global downloaded
        found = store.get_manifest(reference)
        downloaded += len(found[1])
        return found
    def open_blob(self, descriptor):
        global downloaded
        downloaded += descriptor.size
        return store.open_blob(descriptor)
    def read_range(self, descriptor, start, stop):
        global downloaded
        downloaded += stop - start
        return store.read_range(descriptor, start, stop)
began = time.process_time()
extra = {{}}
if step == "update":
    result = update_index(store)
    extra = {{"packages": result.total, "document": result.document_size, "database": result.database_size}}
elif step == "fetch":
    refresh_index(cache, store.url, Counted())
elif step == "lookup":
    assert all(cache.lookup(store.url, dag_hash) for dag_hash in words)
elif step == "list":
    assert cache.load_part(store.url, words).index.entries()
elif step == "load":
    cache.load(store.url)
# not ru_maxrss, which a process inherits from the one that started it
peak = next(int(line.split()[1]) / 1024 for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps({{"cpu": time.process_time() - began, "peak": peak, "downloaded": downloaded, **extra}}))
"""


def run(layout: Path, indexes: Path, step: str, *words: str) -> Dict[str, Any]:
    argv = [sys.executable, "-c", STEP.format(paths=PATHS), str(layout), str(indexes), step, *words]
    done = subprocess.run(argv, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def write_packages(layout: Path, documents: Iterable[List[Dict[str, Any]]]) -> List[Dict[str, Any]]:
    """Put the images of packages into a layout, all tags in one replacement; their nodes."""
    blobs = layout / "blobs" / "sha256"

    def put(data: bytes, media_type: str) -> Dict[str, Any]:
        (blobs / hashlib.sha256(data).hexdigest()).write_bytes(data)
        return Descriptor.of(data, media_type).to_dict()

    layer = put(b"layer", OCI_LAYER_GZIP)
    entries, nodes = [], []
    for document in documents:
        config = {
            "spec": {"_meta": {"version": 5}, "nodes": document},
            "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
            "buildcache_layout_version": 2,
        }
        manifest = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "layers": [layer]}
        manifest["config"] = put(canonical_json(config), OCI_CONFIG)
        manifest["annotations"] = {"org.spack-oci.relocation.prefix-length": "73"}
        entry = put(canonical_json(manifest), OCI_MANIFEST)
        entries.append({**entry, "annotations": {"org.opencontainers.image.ref.name": tag_of(document[0])}})
        nodes.append(document[0])
    index = json.loads((layout / "index.json").read_text())
    index["manifests"].extend(entries)
    (layout / "index.json").write_text(json.dumps(index))
    return nodes


def measure(size: int, work: Path) -> Dict[str, Dict[str, Any]]:
    layout, indexes = work / f"cache-{size}", work / f"indexes-{size}"
    LayoutStore(LayoutDirectory(str(layout)), durable=False).create()
    universe = Universe(size + NEW, largest=30)
    nodes = write_packages(layout, universe.documents(0, size))
    some = [node["hash"] for node in nodes[:: max(1, len(nodes) // LOOKUPS)]][:LOOKUPS]
    found = {"update-index, from nothing": run(layout, indexes, "update")}
    found["client, first fetch"] = run(layout, indexes, "fetch")
    write_packages(layout, universe.documents(size, size + NEW))
    found[f"update-index, {NEW} new"] = run(layout, indexes, "update")
    found[f"client, fetch after {NEW} new"] = run(layout, indexes, "fetch")
    found[f"client, {len(some)} packages by hash"] = run(layout, indexes, "lookup", *some)
    found["client, packages of a name"] = run(layout, indexes, "list", nodes[len(nodes) // 2]["name"])
    found["client, all for Spack"] = run(layout, indexes, "load")
    return found


def report(results: Dict[int, Dict[str, Dict[str, Any]]]) -> str:
    sizes = list(results)
    lines = ["| step | " + " | ".join(f"{size:,}" for size in sizes) + " |", "|---|" + "---|" * len(sizes)]
    for number, step in enumerate(results[sizes[-1]]):
        row = []
        for size in sizes:
            one = list(results[size].values())[number]
            moved = f", {one['downloaded'] / 1e6:.2f} MB" if one["downloaded"] else ""
            row.append(f"{one['cpu']:.2f} s, {one['peak']:.0f} MiB{moved}")
        lines.append(f"| {step} | " + " | ".join(row) + " |")
    return "\n".join(lines)


def main(argv: Optional[List[str]] = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="1000,10000,27000")
    parser.add_argument("--work", type=Path, help="scratch directory (default: a new temporary one)")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--svg", type=Path)
    args = parser.parse_args(argv)
    results: Dict[int, Dict[str, Dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory(dir=args.work, prefix="bench-scale-") as work:
        for size in map(int, args.sizes.split(",")):
            results[size] = measure(size, Path(work))
            print(f"{size}: {json.dumps(results[size])}", flush=True)
    print(report(results))
    if args.json:
        args.json.write_text(json.dumps(results, indent=1) + "\n")
    if args.svg:
        steps = list(next(iter(results.values())))
        curves = [Curve(step, [(size, results[size][step]["cpu"]) for size in results]) for step in steps]
        args.svg.write_text(picture("Processor seconds against the number of packages", curves))
    return 0


if __name__ == "__main__":
    sys.exit(main())
