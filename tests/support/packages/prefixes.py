# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Installed prefixes and their package records, without Spack."""

import hashlib
import json
from pathlib import Path
from typing import Mapping, Sequence

from spack_oci.package.record import Package


def make_package(
    root: Path,
    name: str,
    dependencies: Sequence[Package] = (),
    *,
    files: Mapping[str, bytes] = (),
    version: str = "1.0",
) -> Package:
    """A package below the store ``root``: a binary and a script that name their prefix, and ``files`` by path."""
    dag_hash = hashlib.sha256(name.encode()).hexdigest()[:32].translate(str.maketrans("0189", "wxyz"))
    prefix = root / "linux-x86_64" / f"{name}-{version}-{dag_hash}"
    contents = {
        ".spack/spec.json": json.dumps({"spec": name}).encode(),
        f"bin/{name}": b"\x7fELF\2\1\1\0" + str(prefix).encode() + b"/lib\0" + name.encode() * 50,
        f"bin/{name}-config": f"#!/bin/sh\necho {prefix}\n".encode(),
        **dict(files),
    }
    for path, data in contents.items():
        (prefix / path).parent.mkdir(parents=True, exist_ok=True)
        (prefix / path).write_bytes(data)
    closure = {dag_hash: label for package in dependencies for dag_hash, label in package.runtime}
    prefixes = {h: p for package in dependencies for h, p in package.build_info["hash_to_prefix"].items()}
    return Package(
        name=name,
        version=version,
        dag_hash=dag_hash,
        prefix=str(prefix),
        spec_document={
            "spec": {"_meta": {"version": 5}, "nodes": [{"name": name, "version": version, "hash": dag_hash}]}
        },
        description=f"{name}@{version}",
        platform=("linux", "amd64"),
        runtime=(*closure.items(), (dag_hash, f"{name}@{version}/{dag_hash[:7]}")),
        build_info={
            "sbang_install_path": str(root / "bin" / "sbang"),
            "buildpath": str(root),
            "spackprefix": "/opt/spack",
            "relative_prefix": str(prefix.relative_to(root)),
            "hash_to_prefix": {dag_hash: str(prefix), **prefixes},
            "hardlinks_deduped": True,
        },
        layout_version=2,
        environment=lambda env: {**env, "PATH": f"{prefix}/bin:{env['PATH']}"},
    )


def make_chain(root: Path, *names: str) -> Sequence[Package]:
    """Packages of which each depends on all before it."""
    packages = []
    for name in names:
        packages.append(make_package(root, name, packages[-1:]))
    return packages
