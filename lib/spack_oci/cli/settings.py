# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Where settings come from without Spack: environment variables, and a file with the ``oci`` section as JSON.

============================  =======================================================================================
``SPACK_OCI_CONFIG``          the file; default: ``spack-oci/config.json`` in ``$XDG_CONFIG_HOME`` or ``~/.config``.
                              Its keys are those of ``oci:`` in Spack's configuration (``config_schema/oci.json``)
``SPACK_OCI_CACHE``           directory for what is kept between runs; default: ``spack-oci`` in ``$XDG_CACHE_HOME`` or
                              ``~/.cache``, or, without a home, a directory of the user's in that for temporary files
``SPACK_OCI_STORE``           the store, where ``--store`` is not given
============================  =======================================================================================
"""

import functools
import json
import os
import tempfile
from typing import TYPE_CHECKING, Any, Dict, Optional

from ..configuration.settings import Settings, settings_of
from ..errors import ConfigurationError, StorageError
from ..util.resources import SECTION, read_schema

if TYPE_CHECKING:
    from ..configuration.registries import Network


def _home() -> Optional[str]:
    home = os.path.expanduser("~")
    return home if os.path.isabs(home) and home != "/" and os.access(home, os.W_OK) else None


def _directory(variable: str, below_home: str) -> Optional[str]:
    base = os.environ.get(variable)
    if base and os.path.isabs(base):
        return os.path.join(base, "spack-oci")
    home = _home()
    return os.path.join(home, below_home, "spack-oci") if home else None


def cache_root() -> str:
    chosen = os.environ.get("SPACK_OCI_CACHE")
    if chosen:
        return absolute(chosen)
    return _directory("XDG_CACHE_HOME", ".cache") or _temporary()


def _temporary() -> str:
    """A directory that nobody else can have prepared. Raises StorageError."""
    path = os.path.join(tempfile.gettempdir(), f"spack-oci-{os.getuid()}")
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)
        status = os.lstat(path)
    except OSError as e:
        raise StorageError.from_os_error(f"making {path}", e) from e
    if status.st_uid != os.getuid() or status.st_mode & 0o022 or os.path.islink(path):
        raise StorageError(f"{path} belongs to somebody else", remedy="set SPACK_OCI_CACHE to a directory of yours")
    return path


def absolute(path: str) -> str:
    return os.path.abspath(os.path.expandvars(os.path.expanduser(path)))


def store_path(given: Optional[str]) -> str:
    """Of the store that a command works with. Raises ConfigurationError when none is named."""
    chosen = given or os.environ.get("SPACK_OCI_STORE")
    if not chosen:
        raise ConfigurationError("no store is named", remedy="name one with --store DIR, or set SPACK_OCI_STORE")
    return absolute(chosen)


@functools.lru_cache(None)
def read() -> Settings:
    """Raises ConfigurationError for a file that is no such section."""
    section = _section()
    section.setdefault("cache", {})
    section["cache"] = {"root": cache_root(), **section["cache"]}
    return settings_of(section, absolute)


def _section() -> Dict[str, Any]:
    path = os.environ.get("SPACK_OCI_CONFIG")
    if not path:
        directory = _directory("XDG_CONFIG_HOME", ".config")
        path = os.path.join(directory, "config.json") if directory else ""
        if not path or not os.path.exists(path):
            return {}
    try:
        with open(absolute(path), encoding="utf-8") as file:
            document = json.load(file)
    except (OSError, ValueError) as e:
        raise ConfigurationError(f"cannot read the configuration {path}: {e}") from e
    section = document.get(SECTION, document) if isinstance(document, dict) else document
    import jsonschema

    try:
        jsonschema.validate({SECTION: section}, read_schema(SECTION))
    except jsonschema.ValidationError as e:
        where = ":".join(map(str, e.absolute_path)) or SECTION
        raise ConfigurationError(f"{path}: {where}: {e.message}") from None
    return dict(section)


def network() -> "Network":
    """``SSL_CERT_FILE`` and ``REQUESTS_CA_BUNDLE`` name certificates, as elsewhere."""
    from ..configuration.registries import Network

    bundle = os.environ.get("SSL_CERT_FILE") or os.environ.get("REQUESTS_CA_BUNDLE")
    return Network(read(), absolute, ca_bundle=bundle if bundle and os.path.exists(bundle) else None)
