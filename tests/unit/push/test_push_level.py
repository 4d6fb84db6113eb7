# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`compression: auto`: which level for which link, how fast a link is, and that packages stay recognizable."""

import json
from types import SimpleNamespace

import pytest
from spack_oci.archive.codec import Compression
from spack_oci.operations.push.level import Rate, Rates, alternatives, compression_for, order_of_packing
from spack_oci.operations.push.outcome import PUSHED
from spack_oci.operations.push.plan import REUSE, plan_push
from support.memory_store import MemoryStore
from support.packages.push_cases import push

AUTO = Compression()
MBIT = 1e6 / 8


@pytest.mark.parametrize(
    "sent, packed, packed_small, level",
    [
        (None, 400e6, None, None),
        (10 * MBIT, None, None, None),
        (10 * MBIT, 400e6, None, 6),
        (100 * MBIT, 400e6, None, 6),  # two cores
        (100 * MBIT, 200e6, None, None),
        (1000 * MBIT, 400e6, None, None),
        (1000 * MBIT, 8000e6, None, 6),
        (100 * MBIT, 400e6, 30e6, None),  # other work has come
        (100 * MBIT, 200e6, 60e6, 6),
    ],
)
def test_the_small_level_is_for_links_that_the_packers_outrun(monkeypatch, sent, packed, packed_small, level):
    monkeypatch.setattr("spack_oci.operations.push.level.slowdown_of_six", lambda: 8.0)
    assert compression_for(AUTO, sent, packed, packed_small).level == level


@pytest.mark.parametrize("given", ["gzip:2", "gzip:9", "zstd", "zstd:19", "none"])
def test_what_the_user_has_given_stays(given):
    assert compression_for(Compression.parse(given), 1.0, 1e9) == Compression.parse(given)


@pytest.mark.parametrize("given", ["auto", "gzip"])
def test_auto_is_gzip_without_a_level(given):
    assert Compression.parse(given) == AUTO and compression_for(Compression.parse(given), 1.0, 1e9).algorithm == "gzip"


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_transfers_at_the_same_time_share_it():
    clock = Clock()
    rate = Rate(clock)
    with rate.measured(30 << 20):
        clock.now = 1.0
        with rate.measured(10 << 20):
            clock.now = 3.0  # 10 MiB/s, 20 MiB of both
        clock.now = 4.0
    assert rate.value == pytest.approx(10 << 20)


@pytest.mark.parametrize("size", [0, 1 << 20])
def test_small_blobs_say_nothing(size):
    rate = Rate(Clock())
    for _ in range(100):
        with rate.measured(size):
            pass
    assert rate.value is None


def test_what_fails_says_nothing():
    rate = Rate(Clock())
    for _ in range(3):
        with pytest.raises(OSError), rate.measured(64 << 20):
            raise OSError
    assert rate.value is None


def test_packing_is_measured_apart_for_each_level():
    rates = Rates(AUTO)
    for _ in range(2):
        with rates.packing(8 << 20, Compression("gzip", 6)):
            pass
        with rates.sent.measured(8 << 20):
            pass
    assert rates.compression() == AUTO, "nothing is known of the default level"


def items(*megabytes):
    return [SimpleNamespace(size=size << 20, known=None) for size in megabytes]


def test_two_of_medium_size_go_first_where_it_pays():
    order, first = order_of_packing(items(1, 20, 300, 40, 2, 30), AUTO)
    assert [item.size >> 20 for item in order] == [20, 30, 300, 40, 1, 2] and first == 2


@pytest.mark.parametrize(
    "sizes, wanted", [((1, 20, 30), AUTO), ((300, 20), AUTO), ((300, 20, 30), Compression("zstd"))]
)
def test_nothing_is_measured_where_it_does_not_pay(sizes, wanted):
    order, first = order_of_packing(items(*sizes), wanted)
    assert first == 0 and order[0].size == max((s for s in sizes if s > 16), default=1) << 20


def make_slow(patch):
    patch.setattr(Rates, "compression", lambda self: alternatives(self._wanted)[-1])


@pytest.fixture
def slow(monkeypatch):
    """Every link."""
    make_slow(monkeypatch)


def test_what_was_packed_for_a_slow_link_is_known_by_its_content_and_says_its_level(packages, settings, slow):
    fast = push(MemoryStore(), packages, settings._replace(cache=None, compression=Compression("gzip", 2)))
    store = MemoryStore()
    result = push(store, packages, settings)
    for one, other in zip(fast.outcomes, result.outcomes):
        assert one.layer.descriptor.digest != other.layer.descriptor.digest
        assert one.layer.diff_id == other.layer.diff_id
        manifest = json.loads(store.get_manifest(other.package.tag)[1])
        assert manifest["annotations"]["org.spack-oci.compression"] == Compression("gzip", 6).encoder


def test_what_was_packed_for_a_slow_link_is_sent_again_over_a_fast_one(packages, settings, monkeypatch):
    with monkeypatch.context() as patch:
        make_slow(patch)
        first, store = MemoryStore(), MemoryStore()
        push(first, packages, settings)
    assert {item.action for item in plan_push(store, packages, settings=settings).packages} == {REUSE}
    again = push(store, packages, settings)
    assert [o.status for o in again.outcomes] == [PUSHED] * 3 and [o.read for o in again.outcomes] == [0] * 3
    assert all(store.get_manifest(p.tag) == first.get_manifest(p.tag) for p in packages)


def test_the_same_content_in_another_compression_replaces_nothing(packages, settings):
    store = MemoryStore()
    push(store, packages, settings._replace(cache=None))
    other = settings._replace(cache=None, compression=Compression("gzip", 6))
    assert not any(outcome.replaced for outcome in push(store, packages, other, force=True).outcomes)
