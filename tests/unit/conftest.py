# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What unit tests have in common."""

import hypothesis
import pytest
from spack_oci.content.blob_cache import BlobCache
from spack_oci.operations.push.plan import PushSettings
from support.packages.prefixes import make_chain

# on a busy machine, anything may take a second
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")


@pytest.fixture
def packages(tmp_path):
    """Three to push, each of which needs the one before."""
    return make_chain(tmp_path / "store", "alpha", "beta", "gamma")


@pytest.fixture
def settings(tmp_path):
    """Of a push with a blob cache."""
    return PushSettings(stage=str(tmp_path / "stage"), cache=BlobCache(str(tmp_path / "cache")))
