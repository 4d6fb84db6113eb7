# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The life of a cache: what it has, copying all or parts of it, and removing what nobody needs."""
