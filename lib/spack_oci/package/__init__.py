# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""A package of the cache: its record, and its manifest and config."""
