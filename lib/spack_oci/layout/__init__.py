# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""An OCI image layout directory as a content store."""

from .store import LayoutStore, open_layout

__all__ = ["LayoutStore", "open_layout"]
