# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Push: from installed prefixes to tags in a store."""
