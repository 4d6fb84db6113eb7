# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""How quick the page of a large cache is, in the browsers of this machine; and the picture of docs/catalog.md.

    PYTHON tests/bench/catalog_page.py [--packages 27000] [--work DIR]
    PYTHON tests/bench/catalog_page.py --picture docs/catalog.png

The page is opened from its directory, three times, and the best counts: the time to the first results, to the search
having all packages, from a key to its results (the slowest while each query is typed), to a build that is opened by its
hash. Writing is told in processor time, which does not depend on what else the machine does.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import List, Optional

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "lib"), str(ROOT / "tests"), str(ROOT / "tests" / "bench")]

from bench_scale import write_packages  # noqa: E402
from spack_oci.index.update.loop import update_index  # noqa: E402
from spack_oci.layout import LayoutStore  # noqa: E402
from spack_oci.reference import LayoutDirectory  # noqa: E402
from support.packages.showcase import Showcase  # noqa: E402
from support.programs.browsers import BROWSERS, Browser, missing  # noqa: E402
from support.programs.catalog_page import Page, make_page  # noqa: E402
from support.specs.spec_universe import Universe  # noqa: E402

ROUNDS = 3
QUERIES = ("geo", "libfast +mpi", "%gcc target=x86 ~shared", "nothing-has-this")
#: from the event of a key until the browser has laid out what it changed; milliseconds
KEY = """
const box = document.getElementById("search");
const began = performance.now();
box.value = arguments[0];
box.dispatchEvent(new Event("input"));
document.body.offsetHeight;
return performance.now() - began;
"""


def write_cache(path: Path, packages: int) -> List[str]:
    """Hashes of its packages."""
    store = LayoutStore(LayoutDirectory(str(path)), durable=False)
    store.create()
    nodes = write_packages(path, Universe(packages, largest=30).documents(0, packages))
    update_index(store)
    return [node["hash"] for node in nodes]


def measure(browser: Browser, directory: Path, dag_hash: str) -> None:
    first, complete, keys, opened = [], [], [], []
    page = Page(browser, directory)
    for _ in range(ROUNDS):
        browser.open("about:blank")
        began = time.perf_counter()
        page.go("#/")
        first.append(time.perf_counter() - began)
        browser.wait("!document.getElementById('status').textContent.includes('loaded')")
        complete.append(time.perf_counter() - began)
        keys.append([browser.script(KEY, query[:end]) for query in QUERIES for end in range(1, len(query) + 1)])
        browser.open("about:blank")
        began = time.perf_counter()
        page.go(f"#/build/{dag_hash}")
        opened.append(time.perf_counter() - began)
    print(
        f"{browser.name}: first results after {min(first):.2f} s, all after {min(complete):.2f} s, "
        f"a key {max(map(min, zip(*keys))):.0f} ms at most, a build by its hash after {min(opened):.2f} s",
        flush=True,
    )


def large(work: Path, packages: int) -> None:
    hashes = write_cache(work / "cache", packages)
    program = [sys.executable, "-m", "spack_oci", "catalog", str(work / "cache"), str(work / "page")]
    environment = {"PYTHONPATH": str(ROOT / "lib"), "HOME": str(work), "SPACK_OCI_CACHE": str(work / "kept")}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(program, check=True, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    size = sum(path.stat().st_size for path in (work / "page").rglob("*") if path.is_file())
    print(
        f"{packages:,} packages: {seconds:.1f} s of processor time to write, {size / 1e6:.1f} MB",
        flush=True,
    )
    for name, (_, start) in BROWSERS.items():
        if missing(name):
            print(f"{name}: there is no {', '.join(missing(name))}")
            continue
        with start(work) as browser:
            browser.resize(1280, 900)
            measure(browser, work / "page", hashes[len(hashes) // 2])


def take_picture(work: Path, file: Path) -> None:
    showcase = Showcase().fill()
    showcase.image("tools", ["htop", "vim", "ncurses"], ("amd64", "arm64"))
    store = showcase.write(work / "cache")
    directory = make_page(store, work / "page", "Software of the Example Institute", "oci://ghcr.io/example/cache")
    with BROWSERS["chromium"][1](work) as browser:
        browser.resize(1280, 1060)
        page = Page(browser, directory)
        page.go(f"#/build/{page.hash_of('netcdf-c')}")
        page.choose("depth", "99")
        browser.wait("document.querySelectorAll('a.node').length > 8")
        file.write_bytes(browser.screenshot())


def main(argv: Optional[List[str]] = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packages", type=int, default=27000)
    parser.add_argument("--work", type=Path, help="scratch directory (default: a new temporary one)")
    parser.add_argument("--picture", type=Path, help="only take the picture")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(dir=args.work, prefix="catalog-") as work:
        if args.picture:
            take_picture(Path(work), args.picture)
        else:
            large(Path(work), args.packages)
    return 0


if __name__ == "__main__":
    sys.exit(main())
