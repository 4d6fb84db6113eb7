# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The ``oci`` section as values for the library."""

import functools
import os
from dataclasses import dataclass
from typing import Any, Dict, Mapping, Optional

import spack.config
from spack.util.cpus import cpus_available

from ..archive.codec import Compression
from ..content.blob_cache import BlobCache
from ..registry.auth.credentials import lookup_keys
from ..util import resources
from . import compat, section

#: more packing processes than this compete for memory bandwidth and the registry rather than help
_MAX_PACK_JOBS = 16


@dataclass(frozen=True)
class Settings:
    registries: Mapping[str, Mapping[str, Any]]
    compression: Compression
    pack_jobs: int
    transfer_jobs: int
    #: parts of one large layer that are fetched at the same time
    ranges: int
    cache_root: str
    #: bytes
    cache_max_size: int
    #: "source" or "fail": what happens when no mirror can give a package, for another reason than not having it
    on_error: str
    #: directory for the short names of packages; None: in the store
    alias_root: Optional[str]
    #: a push warns of prefixes with fewer characters
    short_prefix: int
    #: bytes and packages that are fetched ahead of the installer; 0 packages: none
    ahead_size: int
    ahead_count: int
    #: "": none
    base_image: str
    max_layers: int
    #: oci:image as it is in the configuration
    image: Mapping[str, Any]

    @property
    def ahead_room(self) -> int:
        """Bytes that may be fetched ahead without pushing each other out of the blob cache."""
        return min(self.ahead_size, self.cache_max_size // 2)

    @property
    def default_layout(self) -> str:
        """Directory of the embedded default mirror."""
        return os.path.join(self.cache_root, "layout")


def read() -> Settings:
    """The settings in force now. Cheap: Spack caches the merged section."""
    section.register()  # a command loaded through config:extensions comes here without the entry point
    data = _with_defaults(spack.config.get("oci") or {})
    return Settings(
        registries=data["registries"],
        compression=_compression(data["compression"]),
        pack_jobs=_pack_jobs(data["jobs"]["pack"]),
        transfer_jobs=data["jobs"]["transfer"],
        ranges=data["jobs"]["ranges"],
        cache_root=compat.canonicalize_path(data["cache"]["root"]),
        cache_max_size=parse_size(data["cache"]["max_size"]),
        on_error=data["install"]["on_error"],
        alias_root=_alias_root(data["relocation"]["alias_root"]),
        short_prefix=data["relocation"]["short_prefix"],
        ahead_size=parse_size(data["install"]["ahead"]["size"]),
        ahead_count=data["install"]["ahead"]["packages"],
        base_image=data["base_image"],
        max_layers=data["max_layers"],
        image=data["image"],
    )


def _alias_root(value: str) -> Optional[str]:
    return compat.canonicalize_path(value) if value else None


def _with_defaults(data: Mapping[str, Any]) -> Dict[str, Any]:
    """A configuration that was swapped by Spack (bootstrapping, tests) lacks our defaults scope."""
    return _merge(_defaults(), data)


@functools.lru_cache(None)
def _defaults() -> Dict[str, Any]:
    """Not to be changed by anybody: it is read for every package of an install."""
    schema = resources.read_schema(section.SECTION)["properties"][section.SECTION]
    return section.defaults_of(schema)


def _merge(base: Any, over: Any) -> Any:
    if not isinstance(base, dict) or not isinstance(over, Mapping):
        return over
    return {**base, **{key: _merge(base.get(key), value) for key, value in over.items()}}


def _compression(data: Mapping[str, Any]) -> Compression:
    level = data["level"]
    return Compression(data["algorithm"], None if level == "auto" else int(level))


def parse_size(text: str) -> int:
    """``"10G"`` -> bytes; powers of 1024, as ``du -h`` and ``ls -h`` have them."""
    units = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
    unit = units.get(text[-1:].lower())
    return int(float(text[:-1]) * unit) if unit else int(float(text))


def blob_cache(options: Settings) -> BlobCache:
    """The cache of layers that were packed or fetched on this machine."""
    return BlobCache(os.path.join(options.cache_root, "blobs"), options.cache_max_size)


def _pack_jobs(value: Any) -> int:
    return min(cpus_available(), _MAX_PACK_JOBS) if value == "auto" else int(value)


def for_registry(registries: Mapping[str, Mapping[str, Any]], host: str, repository: str) -> Dict[str, Any]:
    """The settings of ``registries`` for a repository: keys HOST or HOST/NAMESPACE, a longer match overrides."""
    known = {key.rstrip("/"): value for key, value in registries.items()}
    result: Dict[str, Any] = {}
    for key in reversed(lookup_keys(host, repository)):
        result.update(known.get(key, {}))
    return result
