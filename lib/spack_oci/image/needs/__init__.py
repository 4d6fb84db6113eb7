# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What packages need of an image: a C library, shared libraries, names that are no whiteouts."""
