# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What an index costs, against the number of packages: tables, and a picture of the curves.

    PYTHON tests/bench/bench_scale.py [--sizes 1000,10000,27000] [--places layout,registry] [--registry-up-to 27000]
        [--before REVISION] [--spack SPACK_ROOT] [--work DIR] [--json FILE] [--svg FILE] [--document FILE]

The caches are made of generated packages (``support/specs/spec_universe.py``: names, variants, hashes and closures as
in real ones, again and again under other hashes), in a layout directory and in a docker-registry. Each step is a
process of its own; its processor time and its peak memory depend little on what else the machine does, bytes and
requests on nothing. ``--before``: the same with the library of another revision, in a layout. ``--spack``: a Spack,
which is only read; its own reader of indexes is measured beside ours, and for a registry its commands, with this
package and without it; default: the 1.1.0 of the tests; ``no``: without. ``--work`` on a tmpfs measures best; 100,000
packages take 3 GB there. In a registry, most of the time is the registry's: ``--registry-up-to`` leaves larger sizes
to the layout. ``--document``: put the tables between two marks of a document.
"""

import argparse
import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Dict, Iterable, Iterator, List, NamedTuple, Optional

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "lib"), str(ROOT / "tests")]

from spack_oci.descriptor import OCI_CONFIG, OCI_LAYER_GZIP, OCI_MANIFEST, Descriptor, canonical_json  # noqa: E402
from spack_oci.index.read import fetch_index  # noqa: E402
from spack_oci.layout import LayoutStore  # noqa: E402
from spack_oci.reference import LayoutDirectory  # noqa: E402
from spack_oci.specs.targets import family  # noqa: E402
from spack_oci.store.machine import this_machine, this_system  # noqa: E402
from support.measuring.curves import Curve, Panel, picture  # noqa: E402
from support.measuring.spack_steps import READ_INDEXES, MeasuredSpack, command  # noqa: E402
from support.network.paging_proxy import paging_proxy  # noqa: E402
from support.packages.cache_builder import node, tag_of  # noqa: E402
from support.packages.large_cache import documents  # noqa: E402
from support.packages.small_store import small_store  # noqa: E402
from support.registries.docker_registry import DockerRegistry, docker_registry  # noqa: E402
from support.spacks import spack_instance  # noqa: E402
from support.specs.spec_universe import Universe  # noqa: E402

NEW = 10
LOOKUPS = 300
#: what a client may download of an index after that, where it has 27,000 packages or more
MOST_DOWNLOADED = 0.02
#: how much faster a kept index has to be read than Spack reads its own, and from how many packages on that counts
FASTER, COUNTS_FROM = 10, 27_000
#: MiB
MOST_MEMORY = 300
REPOSITORY = "team/cache"
#: tags on a page, as ghcr.io has them by default
PAGE = 100
#: how large a cache may be for commands of Spack, and for its own update-index, which reads each package
MOST_FOR_SPACK, MOST_FOR_ITS_UPDATE = 27_000, 10_000
#: what is said of steps of a whole Spack
_BY_SPACK = "Spack"
#: around the tables in a document
MARKS = ("<!-- bench-scale -->\n", "<!-- end of bench-scale -->\n")

#: those of which there are curves
DRAWN = (
    "update-index, from nothing",
    f"update-index, {NEW} new",
    f"client, fetch after {NEW} new",
    f"push, {NEW} new",
    "list",
    "list NAME",
    "prune --dry-run",
    "copy, nothing to do",
    "verify",
)

#: runs in a fresh Python; argv: where the library is, the URL, the directory of the client, what to do, further words
STEP = """
import contextlib, json, os, sys, time
library, url, client, step, *words = sys.argv[1:]
sys.path.insert(0, library)
from spack_oci.index.index_cache import IndexCache, refresh_index
from spack_oci.index.update.loop import update_index
from spack_oci.reference import LayoutDirectory, parse_url
location = parse_url(url)
if isinstance(location, LayoutDirectory):
    from spack_oci.layout import LayoutStore
    store = LayoutStore(location, durable=False)
else:
    from spack_oci.registry import open_repository
    store = open_repository(location)
cache = IndexCache(os.path.join(client, "indexes"))
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
if step == "update":
    update_index(store, compare_digests=False)
elif step == "fetch":
    refresh_index(cache, store.url, Counted())
elif step == "lookup":
    assert all(cache.lookup(store.url, dag_hash) for dag_hash in words)
elif step == "load":
    index = cache.load(store.url).index
    for piece in index.pieces() if hasattr(index, "pieces") else [index.data]:  # of an older revision
        pass
else:
    os.environ.update(SPACK_OCI_CACHE=client, SPACK_OCI_CONFIG=os.path.join(client, "config.json"))
    from spack_oci.cli.main import main
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        assert main([step, *words]) == 0, words
# not ru_maxrss, which a process inherits from the one that started it
peak = next(int(line.split()[1]) / 1024 for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps({"cpu": time.process_time() - began, "peak": peak, "downloaded": downloaded}))
"""

#: runs in `spack python`: Spack's own reader of a database
SPACKS_READER = """
import json, pathlib, tempfile, time
import spack.binary_distribution as bd
path = pathlib.Path({path!r})
began = time.process_time()
with tempfile.TemporaryDirectory() as directory:
    db = bd.BuildCacheDatabase(directory)
    if hasattr(db, "_read_from_stream"):
        with path.open(encoding="utf-8") as f:
            db._read_from_stream(f)
    else:
        db._read_from_file(path)
cpu = time.process_time() - began
peak = next(int(line.split()[1]) / 1024 for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps({{"cpu": cpu, "peak": peak, "downloaded": 0}}))
"""

#: of the tables
TITLES = {"layout": "In a layout", "registry": "In a docker-registry", "before": "In a layout, with revision {}"}

Results = Dict[str, Dict[str, Any]]


class Place(NamedTuple):
    """A cache that is measured: ``layout``: where its packages are written; ``registry``: and served from."""

    url: str
    layout: Path
    client: Path
    library: Path
    registry: Optional[DockerRegistry] = None

    def run(self, step: str, *words: str) -> Dict[str, Any]:
        """Empty: an older revision does not have it."""
        argv = [sys.executable, "-c", STEP, str(self.library), self.url, str(self.client), step, *words]
        before = self._requests()
        done = subprocess.run(argv, capture_output=True, text=True)
        if done.returncode and self.library != ROOT / "lib":
            print(f"not measured: {step} of the older library", file=sys.stderr)
            return {}
        if done.returncode:
            raise SystemExit(f"{step} {' '.join(words)[:200]}:\n{done.stderr}")
        return {**json.loads(done.stdout.splitlines()[-1]), "requests": self._requests() - before}

    def _requests(self) -> int:
        return len(self.registry.log_lines()) if self.registry is not None else 0

    def add(self, packages: Iterable[List[Dict[str, Any]]]) -> List[Dict[str, Any]]:
        return write_packages(self.layout, packages, self.registry)


def write_packages(
    layout: Path, packages: Iterable[List[Dict[str, Any]]], registry: Optional[DockerRegistry] = None
) -> List[Dict[str, Any]]:
    """Put the images of packages into a layout, all tags in one replacement, and into the files of a registry; their
    nodes."""
    blobs = layout / "blobs" / "sha256"
    served = registry.directory / "data" / "docker" / "registry" / "v2" if registry is not None else None

    def put(data: bytes, media_type: str) -> Dict[str, Any]:
        name = hashlib.sha256(data).hexdigest()
        path = blobs / name
        if not path.exists():
            path.write_bytes(data)
        if served is not None:
            target = served / "blobs" / "sha256" / name[:2] / name / "data"
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.exists():
                os.link(path, target)
            kind = "_manifests/revisions" if media_type == OCI_MANIFEST else "_layers"
            link(f"{kind}/sha256/{name}", name)
        return Descriptor.of(data, media_type).to_dict()

    def link(where: str, name: str) -> None:
        directory = (served or layout) / "repositories" / REPOSITORY / where
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "link").write_text(f"sha256:{name}")

    layer = put(b"layer", OCI_LAYER_GZIP)
    entries, nodes = [], []
    for document in packages:
        config = {
            "spec": {"_meta": {"version": 5}, "nodes": document},
            "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
            "buildcache_layout_version": 2,
        }
        manifest = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "layers": [layer]}
        manifest["config"] = put(canonical_json(config), OCI_CONFIG)
        manifest["annotations"] = {"org.spack-oci.relocation.prefix-length": "73"}
        entry, tag = put(canonical_json(manifest), OCI_MANIFEST), tag_of(document[0])
        if served is not None:
            link(f"_manifests/tags/{tag}/current", entry["digest"].partition(":")[2])
        entries.append({**entry, "annotations": {"org.opencontainers.image.ref.name": tag}})
        nodes.append(document[0])
    index = json.loads((layout / "index.json").read_text())
    index["manifests"].extend(entries)
    (layout / "index.json").write_text(json.dumps(index))
    return nodes


@contextlib.contextmanager
def place_in(kind: str, work: Path, library: Path) -> Iterator[Place]:
    directory = Path(tempfile.mkdtemp(dir=work, prefix=f"{kind}-"))
    layout, client = directory / "cache", directory / "client"
    LayoutStore(LayoutDirectory(str(layout)), durable=False).create()
    client.mkdir()
    (client / "config.json").write_text("{}")
    try:
        if kind == "layout":
            yield Place(LayoutDirectory(str(layout)).url, layout, client, library)
            return
        (directory / "registry").mkdir()
        with docker_registry(directory=directory / "registry", fast=True) as registry:
            yield Place(registry.mirror_url(REPOSITORY), layout, client, library, registry)
    finally:
        shutil.rmtree(directory)


def measure(place: Place, size: int) -> Results:
    universe = Universe(1000, largest=30)
    nodes = place.add(documents(size, universe))
    some = [node["hash"] for node in nodes[:: max(1, len(nodes) // LOOKUPS)]][:LOOKUPS]
    one = nodes[len(nodes) // 2]
    found = {"update-index, from nothing": place.run("update")}
    found["client, first fetch"] = place.run("fetch")
    place.add(documents(NEW, universe, -(-size // 1000)))
    found[f"update-index, {NEW} new"] = place.run("update")
    found[f"client, fetch after {NEW} new"] = place.run("fetch")
    if place.registry is not None:
        place.add(documents(NEW, universe, -(-size // 1000) + 1))
        with paging_proxy(place.registry.host, PAGE) as proxy:
            paged = place._replace(url=f"oci+http://{proxy.host}/{REPOSITORY}")
            found[f"update-index, {NEW} new, tags in pages of {PAGE}"] = {
                **paged.run("update"),
                "requests": proxy.requests,
            }
    found[f"client, {len(some)} packages by hash"] = place.run("lookup", *some)
    found["client, all for Spack"] = place.run("load")
    found.update(_push_and_install(place))
    found["list"] = place.run("list", "--allarch", place.url)
    found["list NAME"] = place.run("list", "--allarch", place.url, one["name"])
    found["show"] = place.run("show", place.url, f"/{one['hash']}")
    found["prune --dry-run"] = place.run("prune", "--dry-run", "--keep-newer-than", "30d", place.url)
    found["verify"] = place.run("verify", "--level", "index", place.url)
    found["catalog"] = place.run("catalog", place.url, str(place.client / "page"))
    other = place.client / "other"
    _copy_layout(place, other)
    if place.registry is not None:
        place.run("copy", place.url, str(other))  # what was pushed to the registry is not in that layout
    found["copy, nothing to do"] = place.run("copy", place.url, str(other))
    shutil.rmtree(other)
    return {step: result for step, result in found.items() if result}


def _push_and_install(place: Place) -> Results:
    platform, system = this_system()
    arch = {"platform": platform, "platform_os": system, "target": family(this_machine().target)}
    packages: List[Dict[str, Any]] = []
    for number in range(NEW):
        packages.insert(0, node(f"pushed-{number}", dependencies=packages[:1], arch=arch))
    source = str(small_store(place.client / "source", packages))
    last = f"/{packages[-1]['hash']}"
    found = {
        f"push, {NEW} new": place.run("push", source, place.url),
        "push, one that is there": place.run("push", source, place.url, last),
    }
    place.run("update")
    place.run("fetch")
    store = str(place.client / "store")
    found["install, one by hash"] = place.run("install", "--store", store, place.url, last)
    return found


def by_spack(place: Place, size: int) -> Results:
    """Commands of Spack on a registry, with this package and without; no other than with TLS will do for it alone."""
    found: Results = {}
    assert place.registry is not None
    directory = place.client / "tls"
    directory.mkdir()
    (directory / "data").symlink_to(place.registry.directory / "data")
    with docker_registry(tls=True, directory=directory, fast=True) as registry:
        for ours, name in ((True, f"{_BY_SPACK} with this"), (False, f"{_BY_SPACK} alone")):
            home, environment = place.client / name, {"SSL_CERT_FILE": str(registry.ca)}
            spack = MeasuredSpack(ours, home, registry.mirror_url(REPOSITORY), environment)
            steps = {
                "fetch and read the index": READ_INDEXES,
                "buildcache list": command("buildcache", "list", "--allarch"),
                "spec --reuse": command("spec", "--reuse", "oci-leaf@1.0"),
            }
            if size <= MOST_FOR_ITS_UPDATE:
                steps["buildcache update-index"] = command("buildcache", "update-index", "cache")
            for step, statement in steps.items():
                try:
                    found[f"{name}: {step}"] = spack.run(statement)
                except (AssertionError, subprocess.TimeoutExpired) as e:  # what is measured already is worth more
                    print(f"not measured: {name}: {step}: {e}", file=sys.stderr)
    return found


def _copy_layout(place: Place, target: Path) -> None:
    shutil.copytree(place.layout, target, copy_function=os.link)
    (target / "index.json").unlink()
    shutil.copy(place.layout / "index.json", target / "index.json")
    if place.registry is not None:  # its index is only in the registry
        Place(LayoutDirectory(str(target)).url, target, place.client, place.library).run("update")


def sizes_of_index(place: Place) -> Dict[str, int]:
    """Bytes of our document and of Spack's database, which is left in the place's directory."""
    from spack_oci.reference import parse_url
    from spack_oci.registry import open_repository

    location = parse_url(place.url)
    store: Any = LayoutStore(location) if isinstance(location, LayoutDirectory) else open_repository(location)
    index = fetch_index(store)
    (place.client / "database.json").write_bytes(index.data)
    return {"document": len(index.document or b""), "database": len(index.data)}


def read_by_spack(spack: Path, database: Path) -> Dict[str, Any]:
    script = database.with_suffix(".py")
    script.write_text(SPACKS_READER.format(path=str(database)))
    environment = {
        **os.environ,
        "SPACK_DISABLE_LOCAL_CONFIG": "1",
        "SPACK_USER_CACHE_PATH": str(database.parent / "spack"),
        "SPACK_PYTHON": str(spack_instance.python(False)),
    }
    argv = [str(spack / "bin" / "spack"), "python", str(script)]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return {**json.loads(done.stdout.splitlines()[-1]), "requests": 0}


def older_library(revision: str, work: Path) -> Path:
    target = work / "before"
    target.mkdir()
    archive = subprocess.run(["git", "-C", str(ROOT), "archive", revision], stdout=subprocess.PIPE, check=True)
    subprocess.run(["tar", "-x", "-C", str(target)], input=archive.stdout, check=True)
    return target / "lib"


def report(results: Dict[int, Results]) -> str:
    sizes = list(results)
    lines = ["| step | " + " | ".join(f"{size:,}" for size in sizes) + " |", "|---|" + "---|" * len(sizes)]
    for step in dict.fromkeys(step for size in sizes for step in results[size]):
        cells = [_cell(results[size][step]) if step in results[size] else "" for size in sizes]
        lines.append(f"| {step} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def write_tables(document: Path, tables: str) -> None:
    before, first, rest = document.read_text().partition(MARKS[0])
    _, last, after = rest.partition(MARKS[1])
    if not first or not last:
        raise SystemExit(f"{document} lacks the marks of the tables: {MARKS}")
    document.write_text(f"{before}{first}\n{tables}\n\n{last}{after}")


def _cell(one: Dict[str, Any]) -> str:
    moved = f", {one['downloaded'] / 1e6:.2f} MB" if one["downloaded"] else ""
    asked = f", {one['requests']:,} requests" if one["requests"] else ""
    return f"{one['cpu']:.2f} s, {one['peak']:.0f} MiB{moved}{asked}"


def verdicts(place: str, size: int, found: Results, document: int) -> List[str]:
    """A line for each goal that is for this size; those that are missed begin with ``missed``."""
    lines = []

    def judge(is_met: bool, text: str) -> None:
        lines.append(f"{'met' if is_met else 'missed'}: {size:,} packages in a {place}: {text}")

    part = found[f"client, fetch after {NEW} new"]["downloaded"] / document
    if size >= COUNTS_FROM:
        judge(part < MOST_DOWNLOADED, f"after {NEW} new ones, a client downloads {part:.1%} of the index")
    spack = found.get("Spack's own reader")
    if spack is not None and size >= COUNTS_FROM:
        ratio = spack["cpu"] / found["list NAME"]["cpu"]
        judge(ratio >= FASTER, f"the packages of a name take 1/{ratio:.0f} of what Spack takes to read its index")
        ratio = spack["cpu"] / found["client, first fetch"]["cpu"]
        lines.append(f"ratio: {size:,} packages in a {place}: fetching and checking all takes 1/{ratio:.1f} of that")
    highest = max((step for step in found if not step.startswith(_BY_SPACK)), key=lambda step: found[step]["peak"])
    judge(found[highest]["peak"] < MOST_MEMORY, f"at most {found[highest]['peak']:.0f} MiB ({highest})")
    return lines


def panels(results: Dict[str, Dict[int, Results]]) -> List[Panel]:
    found = []
    for measured, unit in (("cpu", "Processor seconds"), ("peak", "Peak memory of the process in MiB")):
        for place in (place for place in results if place != "before"):
            curves = _curves(results[place], measured, False)
            if place == "layout" and "before" in results:
                curves += _curves(results["before"], measured, True)
            found.append(Panel(f"{unit} against the number of packages, in a {place}", curves))
    return found


def _curves(results: Dict[int, Results], measured: str, is_dashed: bool) -> List[Curve]:
    return [
        Curve(step, [(size, results[size][step][measured]) for size in results if step in results[size]], is_dashed)
        for step in DRAWN
        if any(step in found for found in results.values())
    ]


def main(argv: Optional[List[str]] = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="1000,10000,27000")
    parser.add_argument("--places", default="layout,registry")
    parser.add_argument("--registry-up-to", type=int, default=27_000, metavar="SIZE")
    parser.add_argument("--before", metavar="REVISION")
    parser.add_argument("--spack")
    parser.add_argument("--work", type=Path, help="scratch directory (default: a new temporary one)")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--svg", type=Path)
    parser.add_argument("--document", type=Path)
    args = parser.parse_args(argv)
    spack = None if args.spack == "no" else Path(args.spack or spack_instance.checkout("1.1.0"))
    results: Dict[str, Dict[int, Results]] = {}
    lines: List[str] = []
    with tempfile.TemporaryDirectory(dir=args.work, prefix="bench-scale-") as directory:
        work = Path(directory)
        libraries = dict.fromkeys(args.places.split(","), ROOT / "lib")
        if args.before:
            libraries["before"] = older_library(args.before, work)
        for size in map(int, args.sizes.split(",")):
            for name, library in libraries.items():
                if name == "registry" and size > args.registry_up_to:
                    continue
                with place_in("registry" if name == "registry" else "layout", work, library) as place:
                    found = results.setdefault(name, {})[size] = measure(place, size)
                    sizes = sizes_of_index(place)
                    if spack is not None and name != "before":
                        found["Spack's own reader"] = read_by_spack(spack, place.client / "database.json")
                        if name == "registry" and size <= MOST_FOR_SPACK:
                            found.update(by_spack(place, size))
                    if name != "before":
                        lines += verdicts(name, size, found, sizes["document"])
                print(f"{name}, {size}: {json.dumps({**found, **sizes})}", flush=True)
    tables = "\n\n".join(f"{TITLES[name].format(args.before)}:\n\n{report(found)}" for name, found in results.items())
    print(f"\n{tables}\n\n" + "\n".join(lines))
    if args.document:
        write_tables(args.document, tables)
    if args.json:
        args.json.write_text(json.dumps(results, indent=1) + "\n")
    if args.svg:
        args.svg.write_text(picture(panels(results)))
    return 1 if any(line.startswith("missed") for line in lines) else 0


if __name__ == "__main__":
    sys.exit(main())
