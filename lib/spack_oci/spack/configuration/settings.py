# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The ``oci`` section of Spack's configuration as values for the library."""

import spack.config

from ...configuration.settings import Settings, blob_cache, settings_of
from .. import compat, plugin

__all__ = ["Settings", "blob_cache", "read"]


def read() -> Settings:
    """The settings in force now. Cheap: Spack caches the merged section.

    The defaults are added here too: a configuration that was swapped by Spack (bootstrapping, tests) lacks our scope.
    """
    plugin.require()
    return settings_of(spack.config.get("oci") or {}, compat.canonicalize_path)
