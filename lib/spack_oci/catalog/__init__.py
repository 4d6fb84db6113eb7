# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""A cache as a static page: what it has, for people with a browser (docs/catalog.md)."""
