# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Image configs, manifests, indexes, base images and layers."""
