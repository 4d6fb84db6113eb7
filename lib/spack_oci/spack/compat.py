# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What differs between the supported Spack versions (1.0.2, 1.1.0, 1.2 and develop), and nothing else."""

import pathlib
from typing import Any

import spack
import spack.binary_distribution as binary_distribution
import spack.config
import spack.error
import spack.mirrors.mirror
import spack.url_buildcache
import spack.util.path

from ..errors import SpackOciError

try:  # 1.2 and later
    import spack.util.filesystem as filesystem
    import spack.util.lang as lang
    from spack.enums import Context
except ImportError:
    import spack.llnl.util.filesystem as filesystem
    import spack.llnl.util.lang as lang
    from spack.context import Context

__all__ = ["Context", "OciError", "filesystem", "lang"]

#: Spack's version, e.g. "1.1.0"
SPACK_VERSION: str = spack.spack_version

#: what Spack writes as ``buildcache_layout_version`` into an OCI config since 1.2; older versions accept it too, and
#: one number for all means one digest for all
OCI_LAYOUT_VERSION: int = getattr(spack.mirrors.mirror, "BINARY_MEDIA_TYPE_VERSION", 2)

_METADATA = getattr(spack.url_buildcache, "MirrorMetadata", None) or spack.url_buildcache.MirrorURLAndVersion


class OciError(spack.error.SpackError):
    """One of our errors, as Spack's main program prints errors: one line, no traceback."""

    def __init__(self, error: SpackOciError) -> None:
        super().__init__(error.message, error.remedy or None)
        self.error = error


def canonicalize_path(path: str) -> str:
    function = getattr(spack.config, "canonicalize_path", None) or spack.util.path.canonicalize_path
    return function(path)


def substitute_path_variables(path: str) -> str:
    function = getattr(spack.config, "substitute_path_variables", None) or spack.util.path.substitute_path_variables
    return function(path)


def oci_layout_key() -> int:
    """The layout version under which Spack keeps the index of an OCI mirror."""
    if hasattr(spack.mirrors.mirror, "BINARY_MEDIA_TYPE_VERSION"):
        return spack.mirrors.mirror.BINARY_MEDIA_TYPE_VERSION
    return spack.url_buildcache.SUPPORTED_LAYOUT_VERSIONS[0]


def mirror_metadata(url: str) -> Any:
    """The key under which Spack knows the index of the OCI mirror at ``url``."""
    return _METADATA(url, oci_layout_key())


def indexed_mirror(url: str, spec: Any) -> Any:
    """What Spack's ``try_direct_fetch`` returns for a mirror that has ``spec``."""
    pair = getattr(binary_distribution, "MirrorForSpec", None)  # 1.0
    return pair(mirror_metadata(url), spec) if pair else mirror_metadata(url)


def indexed_url(entry: Any) -> str:
    """The URL in such a value."""
    return getattr(entry, "url_and_version", entry).url


def index_error(message: str) -> Exception:
    """What Spack's index code expects when an index cannot be fetched."""
    return binary_distribution.FetchIndexError(message)


def no_index(url: str) -> bool:
    """Tell Spack's index code that the mirror has no index: by an exception since 1.2, by "nothing new" before."""
    kind = getattr(binary_distribution, "BuildcacheIndexNotExists", None)
    if kind:
        raise kind(f"Index not found in cache {url}")
    return False


def init_cache_entry(file_cache: Any, key: str) -> None:
    """Until 1.1 an entry of Spack's file cache must be announced before it is written."""
    if hasattr(file_cache, "init_entry"):
        file_cache.init_entry(key)


def matches_binary(mirror: Any, spec: Any, direction: str) -> bool:
    """Whether the mirror's include and exclude filters (1.2) admit the spec."""
    filters = getattr(mirror, "matches_binary", None)
    return filters(spec, direction=direction) if filters else True


def read_database(database: Any, path: str) -> None:
    """Fill a ``BuildCacheDatabase`` from an index file."""
    if hasattr(database, "_read_from_stream"):  # 1.2
        with open(path, encoding="utf-8") as f:
            database._read_from_stream(f)
    else:
        database._read_from_file(pathlib.Path(path))


def install_sbang() -> None:
    """Put the sbang script into the install tree: since 1.2 the installers' business, a post-install hook's before."""
    import spack.store

    install = getattr(spack.store.STORE, "install_sbang", None)
    if install:
        install()
