# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Images of several packages, in a store or as files."""
