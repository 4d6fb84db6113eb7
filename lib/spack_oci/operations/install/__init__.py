# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Install: from a store to installed prefixes."""
