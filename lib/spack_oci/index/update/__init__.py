# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Making the index of a build cache say what the build cache has."""
