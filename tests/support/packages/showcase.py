# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""A cache as a team might have it, for pictures and tests of its page: some packages in many builds, licenses, images.

Only manifests and configs are stored: layers have a digest and a size, and no bytes.
"""

import hashlib
import json
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from spack_oci.descriptor import OCI_CONFIG, OCI_INDEX, OCI_LAYER_GZIP, OCI_MANIFEST, Descriptor, canonical_json
from spack_oci.index.update.loop import update_index
from spack_oci.layout import LayoutStore
from spack_oci.reference import LayoutDirectory
from support.packages.cache_builder import dag_hash, tag_of

#: name -> (versions, license, size in MB, variants, dependencies); each after those that it needs
_PACKAGES: Dict[str, Tuple[str, str, float, str, str]] = {
    "zlib-ng": ("2.2.4 2.1.6", "Zlib", 0.3, "+compat +opt", ""),
    "openblas": ("0.3.30 0.3.29", "BSD-3-Clause", 22.7, "~ilp64 threads=openmp", ""),
    "hwloc": ("2.11.1", "BSD-3-Clause", 2.6, "~cuda +libxml2", ""),
    "ucx": ("1.18.1", "BSD-3-Clause", 7.8, "+thread_multiple ~cuda", ""),
    "openmpi": ("5.0.8 4.1.8", "BSD-3-Clause-Open-MPI", 18.2, "~cuda fabrics=ucx", "hwloc ucx"),
    "hdf5": ("1.14.6 1.14.5", "BSD-3-Clause-LBNL", 9.4, "+hl ~cxx api=default", "openmpi zlib-ng"),
    "zstd": ("1.5.7", "BSD-3-Clause OR GPL-2.0-or-later", 1.1, "~programs", "zlib-ng"),
    "openssl": ("3.5.1 3.4.1", "Apache-2.0", 8.9, "~docs +shared", "zlib-ng"),
    "ncurses": ("6.5", "X11", 4.1, "+termlib abi=none", ""),
    "readline": ("8.2", "GPL-3.0-or-later", 1.2, "", "ncurses"),
    "sqlite": ("3.46.0", "blessing", 2.9, "+column_metadata +fts", "readline zlib-ng"),
    "libffi": ("3.4.8", "MIT", 0.2, "", ""),
    "python": ("3.13.5 3.11.11", "0BSD", 68.4, "+ssl +zlib ~tkinter", "libffi openssl sqlite zlib-ng"),
    "py-numpy": ("2.3.1 1.26.4", "BSD-3-Clause", 12.6, "", "python openblas"),
    "py-scipy": ("1.16.0", "BSD-3-Clause", 41.8, "", "py-numpy"),
    "py-mpi4py": ("4.0.1", "BSD-2-Clause", 1.9, "", "python openmpi"),
    "py-h5py": ("3.13.0", "BSD-3-Clause", 3.2, "+mpi", "py-numpy hdf5 py-mpi4py"),
    "netcdf-c": ("4.9.3", "BSD-3-Clause", 3.1, "+mpi ~dap", "hdf5 zstd"),
    "netcdf-fortran": ("4.6.2", "Apache-2.0", 1.7, "", "netcdf-c"),
    "parallel-netcdf": ("1.14.0", "NetCDF", 2.2, "+cxx +fortran", "openmpi"),
    "fftw": ("3.3.10", "GPL-2.0-or-later", 5.5, "+mpi ~openmp precision=double,float", "openmpi"),
    "metis": ("5.1.0", "Apache-2.0", 0.8, "~int64", ""),
    "parmetis": ("4.0.3", "LicenseRef-ParMETIS", 0.6, "~int64", "metis openmpi"),
    "hypre": ("2.33.0", "MIT", 6.4, "+mpi ~cuda", "openmpi openblas"),
    "superlu-dist": ("9.1.0", "BSD-3-Clause-LBNL", 4.9, "+openmp", "parmetis openblas"),
    "petsc": ("3.23.4 3.22.4", "BSD-2-Clause", 61.3, "+mpi +hypre ~complex", "hypre superlu-dist hdf5"),
    "slepc": ("3.23.2", "BSD-2-Clause", 8.1, "+arpack", "petsc"),
    "trilinos": ("16.1.0", "BSD-3-Clause", 142.5, "+amesos2 +belos ~cuda", "superlu-dist netcdf-c hypre"),
    "kokkos": ("4.6.01", "Apache-2.0 WITH LLVM-exception", 3.8, "+openmp ~cuda cxxstd=17", "hwloc"),
    "lammps": ("20240829.4", "GPL-2.0-only", 37.9, "+kokkos +mpi", "kokkos fftw openmpi"),
    "gromacs": ("2025.2", "LGPL-2.1-or-later", 24.4, "+mpi ~double", "fftw openblas openmpi"),
    "llvm": ("20.1.7", "Apache-2.0 WITH LLVM-exception", 384.0, "+clang +lld", "python zstd ncurses"),
    "cmake": ("3.31.8", "BSD-3-Clause", 29.6, "~doc", "ncurses openssl"),
    "boost": ("1.88.0", "BSL-1.0", 19.8, "+mpi +python", "python openmpi"),
    "adios2": ("2.10.2", "Apache-2.0", 15.1, "+mpi +python", "hdf5 py-numpy zstd"),
    "paraview": ("5.13.3", "BSD-3-Clause", 210.2, "+mpi ~qt", "adios2 netcdf-c boost"),
    "htop": ("3.3.0", "GPL-2.0-or-later", 0.4, "~hwloc", "ncurses"),
    "vim": ("9.1.0437", "Vim", 9.2, "~gui", "ncurses"),
}
#: compiler, operating system, target of each set of builds
_SYSTEMS = (
    ("gcc", "14.3.0", "rhel9", "zen4"),
    ("gcc", "13.3.0", "rhel9", "x86_64_v3"),
    ("gcc", "14.3.0", "rhel9", "neoverse_v2"),
)
_EXTERNAL = {"path": "/usr", "module": None, "extra_attributes": {}}
#: for annotations and labels, which may be any text
HOSTILE_TEXT = "<img src=x onerror=window.pwned=1>"
_TYPES = {"c": ["build"], "runtime": ["link", "run"]}


class Showcase:
    """``nodes``: every node by its hash; :meth:`add` more packages before :meth:`write`."""

    def __init__(self) -> None:
        self._packages: List[Tuple[List[Dict[str, Any]], float, Mapping[str, str]]] = []
        self._images: List[Tuple[str, Dict[str, Any]]] = []
        self._blobs: Dict[str, bytes] = {}

    def add(self, nodes: List[Dict[str, Any]], size: float = 1.0, **annotations: str) -> None:
        """A package, by its nodes, its own first; ``size``: MB; annotations of ``org.opencontainers.image``."""
        self._packages.append((nodes, size, annotations))

    def fill(self) -> "Showcase":
        for number, (compiler, release, system, target) in enumerate(_SYSTEMS):
            arch = {"platform": "linux", "platform_os": system, "target": target}
            base = _node(compiler, release, arch, "", [], external=_EXTERNAL)
            built: Dict[str, List[Dict[str, Any]]] = {}
            for name, (versions, license, size, variants, needs) in _PACKAGES.items():
                if number == 2 and name in ("llvm", "paraview", "gromacs"):
                    continue
                choices = versions.split()
                for version in choices[: 1 if number else 2][::-1]:
                    words = variants.replace("~cuda", "+cuda") if number == 2 else variants
                    closure = _closure([built[need] for need in needs.split()])
                    direct = [(built[need][0], _TYPES["runtime"], []) for need in needs.split()]
                    node = _node(name, version, arch, words, [*direct, (base, _TYPES["c"], ["c", "cxx"])])
                    nodes = [node, *closure, base]
                    built[name] = nodes[:-1]
                    self.add(nodes, size * (1 + 0.13 * number), licenses=license, title=name)
        return self

    def image(
        self, tag: str, names: Sequence[str], platforms: Sequence[str] = ("amd64",), comment: str = "debian:12"
    ) -> None:
        """An image of packages, on a base, which ``comment`` describes."""
        members = []
        for architecture in platforms:
            target = {"amd64": "zen4", "arm64": "neoverse_v2"}[architecture]
            found = [p for p in self._packages if p[0][0]["name"] in names and p[0][0]["arch"]["target"] == target]
            chosen = list({nodes[0]["name"]: (nodes, size, notes) for nodes, size, notes in found}.values())
            layers = [_layer("debian", 48.5)] + [_layer(nodes[0]["hash"], size) for nodes, size, _ in chosen]
            comments = [comment, *(f"{n[0]['name']}@{n[0]['version']}/{n[0]['hash'][:7]}" for n, _, _ in chosen)]
            config = {
                "architecture": architecture,
                "os": "linux",
                "config": {"Entrypoint": ["/bin/sh", "-c"], "Cmd": ["htop --tree"]},
                "rootfs": {"type": "layers", "diff_ids": [layer["digest"] for layer in layers]},
                "history": [{"comment": comment} for comment in comments],
            }
            manifest = self._manifest(config, layers)
            members.append({**manifest, "platform": {"os": "linux", "architecture": architecture}})
        if len(members) == 1:
            self._images.append((tag, {key: members[0][key] for key in ("mediaType", "digest", "size")}))
        else:
            index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": members}
            self._images.append((tag, self._put(canonical_json(index), OCI_INDEX)))

    def write(self, directory: Path) -> LayoutStore:
        """A layout directory with all of it, and its index."""
        store = LayoutStore(LayoutDirectory(str(directory)), durable=False)
        store.create()
        entries = []
        for nodes, size, annotations in self._packages:
            layer = _layer(nodes[0]["hash"], size)
            config = {
                "spec": {"_meta": {"version": 5}, "nodes": nodes},
                "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
                "buildcache_layout_version": 2,
            }
            notes = {f"org.opencontainers.image.{key}": value for key, value in annotations.items()}
            notes["org.spack-oci.relocation.prefix-length"] = "73"
            notes["org.spack-oci.relocation.unpacked-size"] = str(int(size * 3.1e6))
            entries.append((tag_of(nodes[0]), self._manifest(config, [layer], notes)))
            if nodes[0]["arch"]["target"] == "zen4":  # a signature, as far as an index looks
                entries.append((entries[-1][1]["digest"].replace(":", "-") + ".sig", entries[-1][1]))
        for name, data in self._blobs.items():
            (directory / "blobs" / "sha256" / name).write_bytes(data)
        index = json.loads((directory / "index.json").read_text())
        for tag, entry in [*entries, *self._images]:
            index["manifests"].append({**entry, "annotations": {"org.opencontainers.image.ref.name": tag}})
        (directory / "index.json").write_text(json.dumps(index))
        update_index(store)
        return store

    def _manifest(
        self, config: Mapping[str, Any], layers: Sequence[Any], annotations: Optional[Mapping[str, str]] = None
    ) -> Dict[str, Any]:
        manifest = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": self._put(canonical_json(config), OCI_CONFIG),
            "layers": list(layers),
            **({"annotations": dict(annotations)} if annotations else {}),
        }
        return self._put(canonical_json(manifest), OCI_MANIFEST)

    def _put(self, data: bytes, media_type: str) -> Dict[str, Any]:
        self._blobs[hashlib.sha256(data).hexdigest()] = data
        return Descriptor.of(data, media_type).to_dict()


def hostile_nodes() -> List[Dict[str, Any]]:
    """A package whose version, variants and dependency are markup, scripts, and names that JavaScript has, as far as
    the checks of an index let them pass."""
    parameters: Dict[str, Any] = {
        "build_system": "generic",
        "__proto__": True,
        "constructor": "</script><script>window.pwned=1</script>",
        HOSTILE_TEXT: "'+(window.pwned=1)+'",
        "quoted": "\\';window.pwned=1;//\u2028\u202e",
        "cflags": ['-DX="<svg onload=window.pwned=1>"'],
    }
    arch = {"platform": "linux", "platform_os": "rhel9", "target": "zen4"}
    external = {"path": "javascript:window.pwned=1//<b>", "module": None, "extra_attributes": {}}
    needed = _node("constructor", "1.0", arch, "", [], external=external)
    edges = [(needed, ["link"], ["<i>virtual</i>"])]
    node = _node("toString", "git.<svg/onload>=1.0", arch, "", edges)
    node = {**node, "parameters": parameters, "hash": dag_hash(json.dumps(parameters))}
    return [node, needed]


def _layer(name: str, size: float) -> Dict[str, Any]:
    digest = "sha256:" + hashlib.sha256(name.encode()).hexdigest()
    return {"mediaType": OCI_LAYER_GZIP, "digest": digest, "size": int(size * 1e6)}


def _closure(parts: Sequence[List[Dict[str, Any]]]) -> List[Dict[str, Any]]:
    return list({node["hash"]: node for part in parts for node in part}.values())


def _node(
    name: str, version: str, arch: Mapping[str, str], variants: str, edges: Sequence[Any], **extra: Any
) -> Dict[str, Any]:
    parameters: Dict[str, Any] = {"build_system": "generic"}
    for word in variants.split():
        key, equals, value = word.partition("=")
        if equals:
            parameters[key] = value.split(",") if "," in value else value
        else:
            parameters[word[1:]] = word[0] == "+"
    dependencies = [
        {"name": n["name"], "hash": n["hash"], "parameters": {"deptypes": types, "virtuals": virtuals}}
        for n, types, virtuals in sorted(edges, key=lambda edge: edge[0]["name"])
    ]
    node: Dict[str, Any] = {
        "name": name,
        "version": version,
        "arch": dict(arch),
        "namespace": "builtin",
        "parameters": {**parameters, "cflags": [], "cxxflags": []},
        **({"dependencies": dependencies} if dependencies else {}),
        "annotations": {"original_specfile_version": 5},
        **extra,
    }
    return {**node, "hash": dag_hash(json.dumps(node, sort_keys=True))}
