# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Writers, readers, a prune and a copy of one cache at the same time: nothing that is kept is lost, nothing that was
pruned comes back, and in the end the index says what the tags say. Ten minutes with 3,000 packages in `make test-all`;
`tests/bench/checks/run_soak.py` runs it at any size.
"""

import pytest
from spack_oci.reference import LayoutDirectory
from support.measuring.soak import Extent, fill, run_together, what_is_wrong
from support.registries.docker_registry import docker_registry

SOME = Extent(20, 10, 2, 4)
MANY = Extent(2000, 1000, 8, 600)


@pytest.fixture(params=["layout", "registry"])
def url(request, tmp_path):
    if request.param == "layout":
        yield LayoutDirectory(str(tmp_path / "cache")).url
        return
    with docker_registry() as running:
        yield running.mirror_url("together")


@pytest.mark.parametrize(
    "extent", [pytest.param(SOME, id="some"), pytest.param(MANY, id="many", marks=pytest.mark.slow)]
)
def test_writers_readers_a_prune_and_a_copy_at_the_same_time(url, tmp_path, extent):
    kept = fill(url, extent)
    target = LayoutDirectory(str(tmp_path / "copy")).url
    done = run_together(url, target, extent)
    assert not list(what_is_wrong(url, target, kept, done["write"]))
