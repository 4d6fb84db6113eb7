# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""From a compressed layer to an installed prefix, in one pass."""
