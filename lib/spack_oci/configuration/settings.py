# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The ``oci`` section (``config_schema/oci.json``), with its defaults, as values."""

import functools
import os
from typing import TYPE_CHECKING, Any, Callable, Dict, Mapping, NamedTuple, Optional, Sequence

from ..reference import Location, Repository, parse_url
from ..util.resources import SECTION, defaults_of, read_schema

if TYPE_CHECKING:
    from ..archive.codec import Compression
    from ..content.blob_cache import BlobCache

#: more packing processes than this compete for memory bandwidth and the registry rather than help
_MAX_PACK_JOBS = 16


class Settings(NamedTuple):
    registries: Mapping[str, Mapping[str, Any]]
    #: oci:compression and oci:jobs as they are in the configuration
    compression_section: Mapping[str, Any]
    jobs_section: Mapping[str, Any]
    transfer_jobs: int
    #: parts of one large layer that are fetched at the same time
    ranges: int
    cache_root: str
    #: bytes
    cache_max_size: int
    #: "source" or "fail": what happens when no mirror can give a package, for another reason than not having it
    on_error: str
    #: `spack install` installs what OCI mirrors have in bulk, before Spack's installer begins
    bulk_install: bool
    #: directory for the short names of packages; None: in the store
    alias_root: Optional[str]
    #: a push warns of prefixes with fewer characters
    short_prefix: int
    #: bytes and packages that are fetched ahead of the installer; 0 packages: none
    prefetch_size: int
    prefetch_packages: int
    #: constraints on specs that a push leaves out
    push_exclude: Sequence[str]
    #: "": none
    base_image: str
    max_layers: int
    #: template of the repository with the index, with {name} in it; "": the mirror's own
    index_repository: str
    #: oci:image as it is in the configuration
    image: Mapping[str, Any]
    #: oci:signing and oci:trust as they are in the configuration, see :mod:`.trust`
    signing: Mapping[str, Any]
    #: attach an SBOM to what is pushed
    sbom: bool
    #: attach a statement of provenance, too
    provenance: bool
    trust: Mapping[str, Any]

    @property
    def compression(self) -> "Compression":
        """Made where something is packed: the codecs take 5 ms to import. Raises ConfigurationError."""
        from ..archive.codec import Compression

        level = self.compression_section["level"]
        return Compression(self.compression_section["algorithm"], None if level == "auto" else int(level))

    @property
    def pack_jobs(self) -> int:
        from ..util.concurrency.processes import available_cores

        wanted = self.jobs_section["pack"]
        return min(available_cores(), _MAX_PACK_JOBS) if wanted == "auto" else int(wanted)

    @property
    def prefetch_room(self) -> int:
        """Bytes that may be fetched ahead without pushing each other out of the blob cache."""
        return min(self.prefetch_size, self.cache_max_size // 2)

    @property
    def default_layout(self) -> str:
        """Directory of the embedded default mirror."""
        return os.path.join(self.cache_root, "layout")

    def index_location(self, location: Location) -> Location:
        """Where the index of the cache at ``location`` is."""
        if not self.index_repository or not isinstance(location, Repository) or location.snapshot:
            return location
        name = self.index_repository.replace("{name}", location.name)
        return parse_url(f"{location.url[: -len(location.name)]}{name}")

    @property
    def trust_directory(self) -> str:
        """What was seen of signed indexes; nothing cleans it."""
        return os.path.join(self.cache_root, "trust")

    @property
    def index_directory(self) -> str:
        """What was last known of the indexes of caches."""
        return os.path.join(self.cache_root, "indexes")


def settings_of(section: Mapping[str, Any], path: Callable[[str], str]) -> Settings:
    """``section``: what was written, without the defaults; ``path``: makes the value of a path an absolute one."""
    data = _merge(_defaults(), section)
    return Settings(
        registries=data["registries"],
        compression_section=data["compression"],
        jobs_section=data["jobs"],
        transfer_jobs=data["jobs"]["transfer"],
        ranges=data["jobs"]["ranges"],
        cache_root=path(data["cache"]["root"]),
        cache_max_size=parse_size(data["cache"]["max_size"]),
        on_error=data["install"]["on_error"],
        bulk_install=data["install"]["bulk"],
        alias_root=path(data["relocation"]["alias_root"]) if data["relocation"]["alias_root"] else None,
        short_prefix=data["relocation"]["short_prefix"],
        prefetch_size=parse_size(data["install"]["ahead"]["size"]),
        prefetch_packages=data["install"]["ahead"]["packages"],
        push_exclude=data["push"]["exclude"],
        base_image=data["base_image"],
        max_layers=data["max_layers"],
        index_repository=data["index"]["repository"],
        image=data["image"],
        signing=data["signing"],
        sbom=data["sbom"],
        provenance=data["provenance"],
        trust=data["trust"],
    )


@functools.lru_cache(None)
def _defaults() -> Dict[str, Any]:
    """Not to be changed by anybody: it is read for every package of an install."""
    return defaults_of(read_schema(SECTION)["properties"][SECTION])


def _merge(base: Any, over: Any) -> Any:
    if not isinstance(base, dict) or not isinstance(over, Mapping):
        return over
    return {**base, **{key: _merge(base.get(key), value) for key, value in over.items()}}


def parse_size(text: str) -> int:
    """``"10G"`` -> bytes; powers of 1024, as ``du -h`` and ``ls -h`` have them."""
    units = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
    unit = units.get(text[-1:].lower())
    return int(float(text[:-1]) * unit) if unit else int(float(text))


def blob_cache(options: Settings) -> "BlobCache":
    """The cache of layers that were packed or fetched on this machine."""
    from ..content.blob_cache import BlobCache

    return BlobCache(os.path.join(options.cache_root, "blobs"), options.cache_max_size)
