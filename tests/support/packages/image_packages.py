# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Packages for image tests: small prefixes on disk with a dependency graph, pushed with the real push engine."""

import hashlib
import os
import subprocess
from typing import Callable, Dict, Mapping, Optional, Sequence

from spack_oci.archive.codec import Compression
from spack_oci.content import ContentStore
from spack_oci.operations.push.execute import PushResult, PushSettings, execute_push, plan_push
from spack_oci.package.record import Package

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


def compiled_packages(root: str) -> Dict[str, Package]:
    """A library, a program that finds it by RPATH, and another program; needs gcc."""
    made = make_packages(root, {"libgreet": [], "greet": ["libgreet"], "other": []}, contents=lambda name: {})

    def build(name: str, path: str, source: str, *flags: str) -> None:
        target = f"{made[name].prefix}/{path}"
        os.makedirs(os.path.dirname(target))
        subprocess.run(["gcc", "-x", "c", "-", "-x", "none", "-o", target, *flags], input=source.encode(), check=True)

    library = made["libgreet"].prefix
    build("libgreet", "lib/libgreet.so", 'const char *greeting(void) { return "hello from a library"; }', "-shared")
    build(
        "greet",
        "bin/greet",
        "#include <stdio.h>\nconst char *greeting(void);\nint main(int c, char **v)"
        ' { printf("%s%s%s\\n", greeting(), c > 1 ? " to " : "", c > 1 ? v[1] : ""); return 0; }',
        f"-L{library}/lib",
        f"-Wl,-rpath,{library}/lib",
        "-lgreet",
    )
    build("other", "bin/other", '#include <stdio.h>\nint main(void) { puts("other works"); return 0; }')
    return made


def many_packages(root: str, count: int) -> Dict[str, Package]:
    """``count`` small packages that print their names, ``p000`` and so on, and ``all``, which depends on them."""
    graph = {f"p{i:03}": [f"p{j:03}" for j in (i // 2, i // 3) if j != i and i] for i in range(count)}
    graph["all"] = sorted(graph)

    def contents(name: str) -> Mapping[str, bytes]:
        return {f"bin/{name}": f"#!/bin/sh\necho {name} works\n".encode(), "pad": name.encode() * 999}

    return make_packages(root, graph, contents=contents)


def together(packages: Sequence[Package]) -> Callable[[Dict[str, str]], Dict[str, str]]:
    """The run environment of several packages."""

    def run_environment(base: Dict[str, str]) -> Dict[str, str]:
        result = dict(base)
        for package in packages:
            result = package.environment(result)
        return result

    return run_environment


def push_all(
    store: ContentStore,
    packages: Mapping[str, Package],
    stage: str,
    compression: str = "gzip",
    force: bool = False,
    **settings,
) -> PushResult:
    how = PushSettings(compression=Compression.parse(compression), stage=stage, pack_jobs=1, **settings)
    result = execute_push(plan_push(store, list(packages.values()), force=force, settings=how), store, settings=how)
    assert not result.failed, [str(outcome.error) for outcome in result.failed]
    return result
