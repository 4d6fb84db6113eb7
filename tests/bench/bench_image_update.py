# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""How much a client that has an image pulls after one of its packages was updated.

    python tests/bench/bench_image_update.py [--packages N]

First with real bytes: an image of N packages (a real dependency graph, contents that cannot be compressed) is pushed to
a docker-registry, copied by skopeo, made again with one package updated, and copied again; counted is what comes from
the registry. Compared are this project's images with one layer for all (``--squash``) and with an image that
``podman build`` makes by COPY. Then, by calculation, for each layer strategy and graphs of 60, 200 and 500 nodes.
"""

import argparse
import contextlib
import os
import random
import statistics
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Dict, List, Mapping, Optional

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "lib"), str(ROOT / "tests")]

from bench_image import CountingProxy  # noqa: E402
from spack_oci.content import ContentStore  # noqa: E402
from spack_oci.content.platform import Platform  # noqa: E402
from spack_oci.image import layers  # noqa: E402
from spack_oci.operations.images.environment_image import ImageRequest, plan_image, push_environment_image  # noqa: E402
from spack_oci.package.record import Package  # noqa: E402
from spack_oci.reference import parse_image_reference, parse_url  # noqa: E402
from spack_oci.registry.store import open_repository  # noqa: E402
from support.images.base_images import prepare_base  # noqa: E402
from support.images.containers import Podman, podman, push_base, shell_root_file_system  # noqa: E402
from support.images.pulled_bytes import bytes_to_pull, bytes_to_pull_by_chain  # noqa: E402
from support.packages.image_packages import Graph, make_packages, push_all, together  # noqa: E402
from support.registries.docker_registry import DockerRegistry, docker_registry  # noqa: E402
from support.specs.real_graphs import members_of_graph, real_graph, updated  # noqa: E402

REPOSITORY = "team/cache"


def dependents(graph: Graph, name: str) -> List[str]:
    """``name`` and what depends on it: what is built anew after its update."""
    found = {name}
    for node, dependencies in graph.items():  # dependencies first
        if found & set(dependencies):
            found.add(node)
    return sorted(found)


class Images:
    """The same packages as images of each kind, in a registry."""

    def __init__(self, registry: DockerRegistry, graph: Graph, work: Path, engine: Optional[Podman]) -> None:
        """``engine``: builds the image for comparison, if there is one."""
        self._registry = registry
        self._graph = graph
        self._work = work
        self._store: ContentStore = open_repository(parse_url(registry.mirror_url(REPOSITORY)))
        base = registry.mirror_url("library/base")
        with open_repository(parse_url(base)) as source:
            push_base(source, "1", shell_root_file_system())
            reference = parse_image_reference(f"{base}:1")
            self._base = prepare_base(source, reference, self._store, Platform("linux", "amd64"))[0]
        self._engine = engine
        self._number = 0

    def make(self, tag: str, changed: List[str]) -> List[str]:
        """Tags of the images; ``changed``: packages that are built anew."""
        self._number += 1
        packages = self._packages(changed)
        known = push_all(self._store, packages, str(self._work / "stage")).layers
        roots = [packages[name] for name in self._graph]
        request = ImageRequest(roots=roots, environment=together(roots), title="bench", base=self._base)
        for kind in ("layers", "squash"):
            plan = plan_image(self._store, replace(request, squash=kind == "squash"), known)
            push_environment_image(self._store, plan, f"{tag}-{kind}")
        return [f"{tag}-{kind}" for kind in ("layers", "squash", *self._build(tag, packages))]

    def _packages(self, changed: List[str]) -> Dict[str, Package]:
        def contents(name: str) -> Mapping[str, bytes]:
            size = int(min(4e6, random.Random(name).lognormvariate(11.5, 1.5)))
            return {f"lib/{name}": random.Random(f"{name}{name in changed}").randbytes(size)}

        def salt(name: str) -> str:
            return str(self._number) if name in changed else ""

        return make_packages(str(self._work / "opt"), self._graph, contents=contents, salt=salt)

    def _build(self, tag: str, packages: Mapping[str, Package]) -> List[str]:
        """As Docker's users do it: COPY of the install tree, here with what the image holds and no more."""
        if self._engine is None:
            return []
        context = self._work / f"context-{tag}"
        context.mkdir()
        for package in packages.values():
            subprocess.run(["cp", "-r", package.prefix, context], check=True)
        dockerfile = self._work / "Dockerfile"
        dockerfile.write_text(f"FROM {self._registry.host}/library/base:1\nCOPY . {self._work / 'opt'}\n")
        image = f"{self._registry.host}/{REPOSITORY}:{tag}-copy"
        flags = ["--quiet", "--tls-verify=false"]
        self._engine("build", *flags, "--tag", image, "--file", str(dockerfile), str(context))
        self._engine("push", *flags, image)
        return ["copy"]


def pulled(proxy: CountingProxy, tag: str, client: Path) -> int:
    """Bytes that come from the registry for a client that keeps what it has in the layout ``client``."""
    before = proxy.received
    source = f"docker://{proxy.host}/{REPOSITORY}:{tag}"
    subprocess.run(["skopeo", "copy", "-q", "--src-tls-verify=false", source, f"oci:{client}:image"], check=True)
    return proxy.received - before


def measure(count: int) -> None:
    graph = real_graph(count)
    by_dependents = sorted(graph, key=lambda name: len(dependents(graph, name)))
    cases = {
        "nothing": [],
        "a leaf package": by_dependents[:1],
        "a library in the middle": [by_dependents[-count // 5]],
    }
    with contextlib.ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-image-update-")))
        registry = stack.enter_context(docker_registry())
        engine = stack.enter_context(podman(work / "podman")) if os.geteuid() == 0 else None
        proxy = CountingProxy(registry.host)
        images = Images(registry, graph, work, engine)
        first = images.make("first", [])
        kinds = [tag.partition("-")[2] for tag in first]
        full = {kind: pulled(proxy, tag, work / f"client-{kind}") for kind, tag in zip(kinds, first)}
        print(f"pulled, MB, of an image of {count} packages:")
        print(f"{'':54}" + "".join(f"{kind:>10}" for kind in kinds))
        print(f"{'all of it':54}" + "".join(f"{full[kind] / 1e6:10.2f}" for kind in kinds))
        for number, (what, names) in enumerate(cases.items()):
            changed = sorted({d for name in names for d in dependents(graph, name)})
            tags = images.make(f"update{number}", changed)
            sizes = []
            for kind, tag in zip(kinds, tags):
                client = work / f"client-{kind}-{number}"
                subprocess.run(["cp", "-r", work / f"client-{kind}", client], check=True)
                sizes.append(pulled(proxy, tag, client))
            name = f"after an update of {what} ({len(changed)} built)"
            print(f"{name:54}" + "".join(f"{size / 1e6:10.2f}" for size in sizes))


def calculate() -> None:
    """Mean over the updates of 40 packages."""
    print("\nby calculation: share of the image that is pulled after the update of one package, mean")
    print(f"{'packages':>8} {'layers':16} {'by digest':>12} {'by chain':>12} {'a leaf':>12}")
    for size in (60, 200, 500):
        members = members_of_graph(size)
        total = sum(member.size for member in members)
        leaves = [m for m in members if not any(m.dag_hash in other.dependencies for other in members)]
        for strategy in (None, *layers.STRATEGIES.values()):
            limit = 1 if strategy is None else min(110, size // 2)
            old = layers.plan_layers(members, limit, strategy or layers.SIZE)
            by_digest, by_chain, leaf = [], [], []
            for changed in random.Random(size).sample(members, 40):
                new = layers.plan_layers(updated(members, changed), limit, strategy or layers.SIZE)
                by_digest.append(bytes_to_pull(old, new))
                by_chain.append(bytes_to_pull_by_chain(old, new))
                if changed in leaves:
                    leaf.append(by_digest[-1])
            row = [f"{statistics.mean(values) / total:11.1%} " for values in (by_digest, by_chain, leaf)]
            name = f"{strategy.name} ({limit})" if strategy else "one, or COPY"
            print(f"{size:8} {name:16}" + "".join(row))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packages", type=int, default=200)
    measure(parser.parse_args().packages)
    calculate()


if __name__ == "__main__":
    main()
