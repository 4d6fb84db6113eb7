# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What the library knows of a package: everything that push and fetch need, and nothing of Spack's own classes."""

from dataclasses import dataclass, field, fields
from typing import Any, Callable, Dict, Mapping, NamedTuple, Sequence, Tuple

from ..descriptor import Descriptor
from ..reference import valid_tag

INDEX_TAG = "index.spack"


def package_tag(name: str, version: str, dag_hash: str) -> str:
    """The tag of a package, as Spack composes it (``NAME-VERSION-DAGHASH.spack``)."""
    return valid_tag(f"{name}-{version}-{dag_hash}.spack")


def is_package_tag(tag: str) -> bool:
    return tag.endswith(".spack") and tag != INDEX_TAG


def dag_hash_of_tag(tag: str) -> str:
    """What a package's tag says of its DAG hash: its last 32 characters before ``.spack``, however long the rest is."""
    return tag[:-6][-32:]


class Layer(NamedTuple):
    """A layer in a store. ``diff_id``: digest of the uncompressed tar; ``label``: what it holds, for the history."""

    descriptor: Descriptor
    diff_id: str
    label: str = ""


@dataclass(frozen=True)
class Package:
    """An installed package that can be pushed."""

    name: str
    version: str
    dag_hash: str
    #: install prefix, absolute
    prefix: str
    #: ``Spec.to_dict(hash=dag_hash)``: ``{"spec": {"_meta": ..., "nodes": [...]}}``
    spec_document: Mapping[str, Any] = field(repr=False)
    #: the whole spec as one line, for people
    description: str
    #: operating system and architecture as Go names them: ("linux", "amd64")
    platform: Tuple[str, str]
    #: (dag hash, "name@version/hash") of the link/run closure without externals, dependencies first, itself last
    runtime: Sequence[Tuple[str, str]] = field(repr=False)
    #: the head of ``.spack/binary_distribution``: sbang_install_path, buildpath, spackprefix, relative_prefix,
    #: hash_to_prefix, hardlinks_deduped. The three relocate_* lists are added by the archive
    build_info: Mapping[str, Any] = field(repr=False)
    #: the number that Spack writes as ``buildcache_layout_version``
    layout_version: int
    #: environment variables of a base image -> the same with the run environment of this package
    environment: Callable[[Dict[str, str]], Dict[str, str]] = field(repr=False, default=lambda env: env)
    #: ``licenses`` (an SPDX expression) and ``source`` (a URL), as far as they are known; to be asked after the
    #: environment, which makes it cheap
    provenance: Callable[[], Mapping[str, str]] = field(repr=False, default=dict)
    #: a software bill of materials (SPDX, JSON); empty where nobody can make one
    sbom: Callable[[], bytes] = field(repr=False, default=bytes)
    #: sources, repositories and Spack's version for a statement of provenance (:class:`..trust.provenance.BuildFacts`);
    #: None where nobody knows them
    build_facts: Callable[[], Any] = field(repr=False, default=type(None))
    #: further annotations of its manifest
    annotations: Mapping[str, str] = field(repr=False, default_factory=dict)

    def complete(self) -> None:
        """Make every part that is made on demand (see ``spack/specs/packages.py``): in threads, that is not safe."""
        for part in fields(self):
            getattr(self, part.name)

    def know(self, parts: Mapping[str, Any]) -> None:
        """Take over parts that another process has made."""
        vars(self).update(parts)

    @property
    def label(self) -> str:
        """As Spack prints a package: ``zlib@1.3.1/abcdefg``."""
        return f"{self.name}@{self.version}/{self.dag_hash[:7]}"

    @property
    def tag(self) -> str:
        return package_tag(self.name, self.version, self.dag_hash)

    @property
    def old_prefixes(self) -> Tuple[str, ...]:
        """Every path that relocation will look for: package prefixes, the sbang path, the store root."""
        info = self.build_info
        return (*info["hash_to_prefix"].values(), info["sbang_install_path"], info["buildpath"])
