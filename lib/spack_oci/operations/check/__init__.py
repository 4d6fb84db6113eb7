# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Whether a cache is as it should be, at four levels of depth, and what of it can be put right without a loss."""
