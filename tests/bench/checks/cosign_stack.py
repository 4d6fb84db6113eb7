#!/usr/bin/env python3
# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""A whole stack signed by us and verified by cosign, package by package and its environment image; then signed by
cosign and verified by us.

    python tests/bench/checks/cosign_stack.py --spack SPACK_ROOT [--cosign PROGRAM] [--work DIR] [/HASH ...]

``SPACK_ROOT`` as in ``bench_install.py``, with its environment's configuration: all that is installed there and that no
other package needs, and what that needs to run, is pushed with signatures, SBOMs and statements of provenance, and
tagged as an image. Without it, 300 small packages. Prints how many cosign accepts and names the others; exit code 1 if
there are any.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Dict, List, Sequence

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT / "lib"), str(ROOT / "tests"), str(ROOT / "tests" / "bench")]

from bench_trust import PASSWORD, TrustBench  # noqa: E402
from spack_oci.package.record import is_package_tag  # noqa: E402
from spack_oci.reference import parse_url  # noqa: E402
from spack_oci.registry import open_repository  # noqa: E402
from spack_oci.trust.signers import generate, write_pair  # noqa: E402
from support.measuring.bench_stack import spack_root  # noqa: E402
from support.registries.docker_registry import docker_registry  # noqa: E402

NAME, IMAGE = "team/stack", "environment"
HTTP = ("--allow-http-registry", "--allow-insecure-registry")


class Cosign:
    def __init__(self, program: str, image: str) -> None:
        self._program, self._image = program, image

    def __call__(self, *words: str) -> str:
        """Empty, or what it says of a failure."""
        environment = {**os.environ, "COSIGN_PASSWORD": PASSWORD}
        done = subprocess.run(
            [self._program, *words], env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL
        )
        return done.stderr.strip() if done.returncode else ""

    def verify(self, key: Path, digest: str) -> str:
        words = ("--insecure-ignore-tlog=true", *HTTP, f"{self._image}@{digest}")
        return self("verify", "--key", str(key), *words)

    def sign(self, key: Path, digest: str) -> str:
        return self("sign", "--key", str(key), "--tlog-upload=false", *HTTP, "-y", f"{self._image}@{digest}")


def digests_of(url: str) -> Dict[str, str]:
    """Of packages and the image, by tag."""
    store = open_repository(parse_url(url))
    return {tag: store.resolve(tag).digest for tag in store.tags() if is_package_tag(tag) or tag == IMAGE}


def report(what: str, found: Dict[str, str]) -> bool:
    """``found``: tag -> what is wrong with it, empty if nothing is."""
    wrong = {tag: said for tag, said in found.items() if said}
    images = sum(tag == IMAGE for tag in found.keys() - wrong.keys())
    print(f"{what}: {len(found) - len(wrong) - images} packages and {images} images of {len(found)}", flush=True)
    for tag, said in wrong.items():
        print(f"  {tag}: {said.splitlines()[-1]}")
    return not wrong


def check(bench: TrustBench, cosign: Cosign, work: Path, specs: Sequence[str]) -> bool:
    signer, private = generate(PASSWORD.encode(), "ours")
    key, public = write_pair(str(work / "ours"), private, signer.public.pem)
    bench.fill(specs, "--sign", key, "--sbom", "--provenance", "--tag", IMAGE)
    digests = digests_of(bench.url)
    with ThreadPoolExecutor(4) as pool:
        each: List[str] = list(pool.map(lambda digest: cosign.verify(Path(public), digest), digests.values()))
        is_good = report("signed by us, accepted by cosign", dict(zip(digests, each)))
        said = cosign("generate-key-pair", "--output-key-prefix", str(work / "theirs"))
        assert not said, said
        each = list(pool.map(lambda digest: cosign.sign(work / "theirs.key", digest), digests.values()))
        is_good &= report("signed by cosign", dict(zip(digests, each)))
    # raises if something is not accepted; also what the index says of the new signatures
    bench.run(True, "old", "oci", "update-index", "cache")
    for path in (public, str(work / "theirs.pub")):
        print(bench.run(True, "old", "oci", "verify", "--key", path, "cache").splitlines()[-1], flush=True)
    return is_good


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("specs", nargs="*")
    parser.add_argument("--spack", type=Path, help="default: one with 300 small packages")
    parser.add_argument("--cosign", default=shutil.which("cosign"), help="default: the one on PATH")
    parser.add_argument("--work", type=Path)
    args = parser.parse_args()
    if not args.cosign:
        raise SystemExit("needs cosign 2 (Debian 13: apt-get install cosign), or --cosign PROGRAM")
    with tempfile.TemporaryDirectory(dir=args.work, prefix="cosign-stack-") as directory, docker_registry() as registry:
        work = Path(directory)
        bench = TrustBench(spack_root(args.spack), work, registry.mirror_url(NAME), registry)
        specs = args.specs or bench.roots()
        return 0 if check(bench, Cosign(args.cosign, f"{registry.host}/{NAME}"), work, specs) else 1


if __name__ == "__main__":
    sys.exit(main())
