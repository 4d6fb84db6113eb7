# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Any OCI registry, or a plain directory, as a binary cache for Spack.

Layers, from the bottom up; a package imports only from those before it: ``errors``; ``util``; ``reference``,
``descriptor``; ``content``; ``formats``, ``registry``, ``layout``, ``package``; ``relocate``, ``archive``; ``image``,
``index``; ``operations`` (what a user names). Then two adapters that know nothing of each other: ``spack`` (the only
part that imports Spack); and ``store``, ``cli`` (Spack's stores without Spack). See docs/architecture.md.
"""

__version__ = "0.1.0"
