# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Packages for image tests: small prefixes on disk with a dependency graph, pushed with the real push engine."""

import hashlib
import os
from typing import Callable, Dict, Mapping, Optional, Sequence

from spack_oci.archive.codec import Compression
from spack_oci.cache.package import Package
from spack_oci.cache.push import PushResult, PushSettings, execute_push, plan_push
from spack_oci.content import ContentStore

Graph = Mapping[str, Sequence[str]]


def dag_hash(name: str, salt: str = "") -> str:
    digest = hashlib.sha256(f"{name}{salt}".encode()).hexdigest()
    return "".join("abcdefghijklmnop"[int(c, 16)] for c in digest)[:32]


def closure_of(graph: Graph, name: str) -> Sequence[str]:
    """``name`` and what it depends on, dependencies first."""
    result: Dict[str, None] = {}

    def visit(node: str) -> None:
        if node not in result:
            for dependency in graph[node]:
                visit(dependency)
            result[node] = None

    visit(name)
    return list(result)


def make_packages(
    root: str,
    graph: Graph,
    contents: Optional[Callable[[str], Mapping[str, bytes]]] = None,
    environment: Optional[Callable[[str], Mapping[str, str]]] = None,
    salt: Callable[[str], str] = lambda name: "",
    platform=("linux", "amd64"),
) -> Dict[str, Package]:
    """A package for each node of ``graph`` (name -> names of dependencies), with files below ``root``.

    ``contents``: name -> {path: bytes}; ``environment``: name -> variables besides PATH.
    """
    hashes = {name: dag_hash(name, salt(name)) for name in graph}
    prefixes = {name: os.path.join(root, f"{name}-1.0-{hashes[name]}") for name in graph}
    packages = {}
    for name in graph:
        files = contents(name) if contents else {f"bin/{name}": f"#!/bin/sh\necho {name}\n".encode()}
        os.makedirs(prefixes[name], exist_ok=True)
        for path, data in files.items():
            full = os.path.join(prefixes[name], path)
            os.makedirs(os.path.dirname(full), exist_ok=True)
            with open(full, "wb") as f:
                f.write(data)
            os.chmod(full, 0o755)
        closure = closure_of(graph, name)
        nodes = [
            {
                "name": n,
                "version": "1.0",
                "hash": hashes[n],
                "dependencies": [
                    {"name": d, "hash": hashes[d], "parameters": {"deptypes": ["link", "run"]}} for d in graph[n]
                ],
            }
            for n in reversed(closure)
        ]

        def run_environment(base: Dict[str, str], name=name, closure=closure) -> Dict[str, str]:
            bins = [os.path.join(prefixes[n], "bin") for n in reversed(closure)]
            path = ":".join([*bins, base["PATH"]])
            return {**base, "PATH": path, **(environment(name) if environment else {})}

        packages[name] = Package(
            name=name,
            version="1.0",
            dag_hash=hashes[name],
            prefix=prefixes[name],
            spec_document={"spec": {"_meta": {"version": 5}, "nodes": nodes}},
            description=f"{name}@1.0",
            platform=platform,
            runtime=[(hashes[n], f"{n}@1.0/{hashes[n][:7]}") for n in closure],
            build_info={
                "buildpath": root,
                "sbang_install_path": os.path.join(root, "bin/sbang"),
                "spackprefix": root,
                "relative_prefix": os.path.basename(prefixes[name]),
                "hash_to_prefix": {hashes[n]: prefixes[n] for n in closure},
                "hardlinks_deduped": True,
            },
            layout_version=2,
            environment=run_environment,
        )
    return packages


def together(packages: Sequence[Package]) -> Callable[[Dict[str, str]], Dict[str, str]]:
    """The run environment of several packages."""

    def run_environment(base: Dict[str, str]) -> Dict[str, str]:
        result = dict(base)
        for package in packages:
            result = package.environment(result)
        return result

    return run_environment


def push_all(
    store: ContentStore, packages: Mapping[str, Package], stage: str, compression: str = "gzip", **settings
) -> PushResult:
    how = PushSettings(compression=Compression.parse(compression), stage=stage, pack_jobs=1, **settings)
    result = execute_push(plan_push(store, list(packages.values()), settings=how), store, settings=how)
    assert not result.failed, [str(outcome.error) for outcome in result.failed]
    return result
