# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""An OCI image layout directory as a content store."""

from .store import LayoutStore, is_layout, open_layout

__all__ = ["LayoutStore", "is_layout", "open_layout"]
