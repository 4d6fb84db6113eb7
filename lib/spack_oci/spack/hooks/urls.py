# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What makes Spack's mirrors take all three URL schemes of ours for OCI. Imports nothing of the library but names."""

from typing import Any, Callable, Tuple

from ...reference import SCHEMES
from ...reference import is_oci_url as is_ours


def schemes() -> Tuple[str, ...]:
    """For ``supported_url_schemes``."""
    return tuple(SCHEMES)


def is_oci_url(original: Callable, url: str) -> bool:
    """Hook of ``spack.oci.image.is_oci_url``, which does not know directories."""
    return original(url) or is_ours(url)


def is_signed(original: Callable, self: Any) -> bool:
    """Hook of ``Mirror.signed``: as since 1.2, an OCI mirror is no signed mirror, whatever it says."""
    return not is_ours(self.fetch_url) and original(self)
