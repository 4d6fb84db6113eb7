# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Base images: finding one, bringing its layers to the target, and what is in them."""
