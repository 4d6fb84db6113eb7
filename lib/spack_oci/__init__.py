# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Any OCI registry, or a plain directory, as a binary cache for Spack.

Layers, from the bottom up; a module imports only from the ones before it:
``errors``; ``reference``, ``descriptor``, ``content``; ``registry``, ``layout``, ``copy``; ``archive``, ``relocate``;
``image``, ``index``, ``sign``; ``cache`` (the operations a user names); ``spack`` (the only part that imports Spack).
"""

__version__ = "0.1.0"
