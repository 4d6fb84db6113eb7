# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Each layer of the tests carries its marker by where it is: ``tests/registry`` and ``tests/spack``."""

from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent


def pytest_collection_modifyitems(items):
    for item in items:
        layer = Path(item.path).resolve().relative_to(HERE).parts[0]
        if layer in ("registry", "spack"):
            item.add_marker(getattr(pytest.mark, layer))
