# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What the tests of real Spack share besides the Spacks themselves (which are made anew when that module changes)."""

import os
from typing import Any, Callable

import pytest
from support.spacks.spack_instance import Unavailable

#: long enough for every tree that a test installs into, as Spack's documentation advises for build caches
PADDED_LENGTH = 160


def obtain(function: Callable[..., Any], *arguments: Any) -> Any:
    """What ``function`` returns; when it cannot be had: skip, or fail where Spack is required."""
    try:
        return function(*arguments)
    except Unavailable as e:
        if os.environ.get("SPACK_OCI_REQUIRE_SPACK") == "1":
            pytest.fail(f"SPACK_OCI_REQUIRE_SPACK=1, and {e}")
        pytest.skip(f"no Spack: {e}")
