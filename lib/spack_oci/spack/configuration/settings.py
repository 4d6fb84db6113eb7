# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The ``oci`` section of Spack's configuration as values for the library."""

from typing import Any, Optional, Tuple

import spack.config

from ...configuration.settings import Settings, blob_cache, settings_of
from .. import compat, plugin

__all__ = ["Settings", "blob_cache", "read"]


#: the section that was read last, and what it means: Spack gives the same object until its configuration changes
_last: Optional[Tuple[Any, Settings]] = None


def read() -> Settings:
    """The settings in force now. Cheap, as it is called several times for each package.

    The defaults are added here too: a configuration that was swapped by Spack (bootstrapping, tests) lacks our scope.
    """
    global _last
    plugin.require()
    section = spack.config.get("oci")
    last = _last  # of another thread, perhaps
    if last is None or last[0] is not section:
        last = _last = (section, settings_of(section or {}, compat.canonicalize_path))
    return last[1]
