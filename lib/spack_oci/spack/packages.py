# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""From Spack's specs to the package records of the library, and the selection of what is pushed."""

import threading
from functools import cached_property
from typing import Any, Dict, List, Mapping, Sequence, Tuple

import spack.binary_distribution
import spack.deptypes as dt
import spack.hash_types as ht
import spack.spec
import spack.store
import spack.user_environment
from spack import traverse

from ..cache.package import Package
from . import compat

#: names of architectures as Go, and so the image specification, has them
_GO_ARCHITECTURES = {"aarch64": "arm64", "x86_64": "amd64"}

#: Spack imports package classes when it computes an environment; that is not safe in several threads
_SPACK_LOCK = threading.Lock()


def label(spec: "spack.spec.Spec") -> str:
    """As `spack buildcache push` prints a spec."""
    return spec.format("{name}{@version}{/hash:7}")


def go_platform(spec: "spack.spec.Spec") -> Tuple[str, str]:
    family = spec.target.family.name
    return "linux" if spec.platform == "linux" else str(spec.platform), _GO_ARCHITECTURES.get(family, family)


def package_of(spec: "spack.spec.Spec") -> Package:
    """The record of an installed, concrete spec."""
    return _SpecPackage(spec)


class _SpecPackage(Package):
    """A record whose expensive parts are made when they are asked for: of what is skipped, nobody asks."""

    def __init__(self, spec: "spack.spec.Spec") -> None:
        vars(self).update(
            _spec=spec,
            name=spec.name,
            version=str(spec.version),
            dag_hash=spec.dag_hash(),
            layout_version=compat.OCI_LAYOUT_VERSION,
            environment=_Environment((spec,)),
        )

    @cached_property
    def prefix(self) -> str:  # type: ignore[override]
        return str(self._spec.prefix)

    @cached_property
    def spec_document(self) -> Mapping[str, Any]:  # type: ignore[override]
        return self._spec.to_dict(hash=ht.dag_hash)

    @cached_property
    def description(self) -> str:  # type: ignore[override]
        return self._spec.format()

    @cached_property
    def platform(self) -> Tuple[str, str]:  # type: ignore[override]
        return go_platform(self._spec)

    @cached_property
    def runtime(self) -> Sequence[Tuple[str, str]]:  # type: ignore[override]
        return tuple((s.dag_hash(), label(s)) for s in runtime_closure(self._spec))

    @cached_property
    def build_info(self) -> Mapping[str, Any]:  # type: ignore[override]
        return spack.binary_distribution.get_buildinfo_dict(self._spec)


def runtime_closure(*specs: "spack.spec.Spec") -> List["spack.spec.Spec"]:
    """What an image needs to run ``specs``: link and run dependencies without externals, dependencies first."""
    nodes = traverse.traverse_nodes(list(specs), order="topo", deptype=("link", "run"), root=True)
    return [s for s in nodes if not s.external][::-1]


def runtime_externals(*specs: "spack.spec.Spec") -> List["spack.spec.Spec"]:
    """What ``specs`` need to run, besides the C library, that Spack has not installed: it is in no image."""
    nodes = traverse.traverse_nodes(list(specs), deptype=("link", "run"), root=True, key=traverse.by_dag_hash)
    return sorted((s for s in nodes if s.external and s.name not in ("glibc", "musl")), key=lambda s: s.name)


class _Environment:
    """Computes the run environment of specs on top of a base image's, one at a time."""

    def __init__(self, specs: Sequence["spack.spec.Spec"]) -> None:
        self._specs = specs

    def __call__(self, base: Dict[str, str]) -> Dict[str, str]:
        result = dict(base)
        with _SPACK_LOCK:
            spack.user_environment.environment_modifications_for_specs(*self._specs).apply_modifications(result)
        return result


def run_environment(*specs: "spack.spec.Spec") -> Any:
    """The environment callable of an image with several roots."""
    return _Environment(specs)


def select(roots: Sequence["spack.spec.Spec"], *, package: bool, dependencies: bool, build_dependencies: bool) -> List:
    """The specs that a push of ``roots`` means, without externals, dependencies first (as `spack buildcache push`)."""
    if not dependencies:
        deptype = dt.NONE
    elif build_dependencies:
        deptype = dt.ALL
    else:
        deptype = dt.RUN | dt.LINK | dt.TEST
    nodes = traverse.traverse_nodes(
        list(roots), root=package, deptype=deptype, order="breadth", key=traverse.by_dag_hash
    )
    return [s for s in nodes if not s.external][::-1]


def partition_installed(specs: Sequence["spack.spec.Spec"]) -> Tuple[List, List]:
    """(installed, not installed), asked in one read transaction."""
    with spack.store.STORE.db.read_transaction():
        installed = {s.dag_hash() for s in specs if s.installed}
    return (
        [s for s in specs if s.dag_hash() in installed],
        [s for s in specs if s.dag_hash() not in installed],
    )
