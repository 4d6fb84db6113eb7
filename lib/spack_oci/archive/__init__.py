# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""A package's tarball: reproducible packing, codecs, hardened unpacking."""
