# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Which packages share a layer, on real dependency graphs."""

import random
import statistics

import pytest
from spack_oci.errors import ConfigurationError, ImageError
from spack_oci.image import layers as la
from support.images.pulled_bytes import bytes_to_pull, bytes_to_pull_by_chain
from support.specs.real_graphs import members_of_graph, real_graph, updated

SIZES = (60, 200, 500)
STRATEGIES = list(la.STRATEGIES.values())


def names(groups):
    return [tuple(member.name for member in group) for group in groups]


@pytest.mark.parametrize("size", SIZES)
def test_the_graphs_are_sound(size):
    graph = real_graph(size)
    seen = set()
    for name, dependencies in graph.items():
        assert set(dependencies) <= seen, name
        seen.add(name)


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda s: s.name)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("limit", [1, 2, 30, 110])
def test_every_package_once_within_the_limit(size, strategy, limit):
    members = members_of_graph(size)
    groups = la.plan_layers(members, limit, strategy)
    assert len(groups) == min(size, limit)
    assert sorted(m.dag_hash for g in groups for m in g) == sorted(m.dag_hash for m in members)


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda s: s.name)
@pytest.mark.parametrize("size", SIZES)
def test_plans_are_deterministic(size, strategy):
    """Whatever the order of the packages, as long as dependencies come first."""
    members = members_of_graph(size)
    first = la.plan_layers(members, 50, strategy)
    shuffled = shuffled_topologically(members, random.Random(size))
    assert [m.name for m in shuffled] != [m.name for m in members]
    second = la.plan_layers(shuffled, 50, strategy)
    assert sorted(map(sorted, names(first))) == sorted(map(sorted, names(second)))
    assert names(la.plan_layers(members, 50, strategy)) == names(first)


def shuffled_topologically(members, randoms):
    waiting = list(members)
    randoms.shuffle(waiting)
    result, done = [], set()
    while waiting:
        ready = next(m for m in waiting if m.dependencies <= done)
        waiting.remove(ready)
        done.add(ready.dag_hash)
        result.append(ready)
    return result


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda s: s.name)
def test_below_the_limit_every_package_is_alone(strategy):
    members = members_of_graph(60)
    groups = la.plan_layers(members, 60, strategy)
    assert all(len(group) == 1 for group in groups)


def test_the_most_stable_layers_are_at_the_bottom():
    """Docker's classic store pulls again what is above a changed layer."""
    members = members_of_graph(60)
    groups = la.plan_layers(members, 60, la.VOLATILITY)
    position = {group[0].dag_hash: index for index, group in enumerate(groups)}
    for member in members:
        assert all(position[dependency] < position[member.dag_hash] for dependency in member.dependencies)


def test_size_keeps_the_large_ones_alone():
    members = members_of_graph(200)
    groups = la.plan_layers(members, 40, la.SIZE)
    (shared,) = [group for group in groups if len(group) > 1]
    alone = [group[0].size for group in groups if len(group) == 1]
    assert len(shared) == 161 and min(alone) * 2 > max(member.size for member in shared)


def test_popularity_keeps_alone_what_many_need():
    members = members_of_graph(200)
    groups = la.plan_layers(members, 40, la.POPULARITY)
    alone = {group[0].name for group in groups if len(group) == 1}
    assert {"gcc-runtime", "zlib"} <= alone


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda s: s.name)
@pytest.mark.parametrize("size", SIZES)
def test_an_update_of_a_leaf_pulls_little(size, strategy):
    """Against one layer for all, and against a COPY of the whole tree, which are the same: everything."""
    members = members_of_graph(size)
    total = sum(member.size for member in members)
    limit = 30 if size == 60 else 110
    old = la.plan_layers(members, limit, strategy)
    leaves = [m for m in members if not any(m.dag_hash in other.dependencies for other in members)]
    leaves = random.Random(size).sample(leaves, 5)
    pulled = [bytes_to_pull(old, la.plan_layers(updated(members, leaf), limit, strategy)) for leaf in leaves]
    # popularity keeps what others share alone, and the leaves together
    assert statistics.mean(pulled) < (0.75 if strategy is la.POPULARITY else 0.15) * total
    one = [tuple(members)]
    assert bytes_to_pull(one, [tuple(updated(members, leaves[0]))]) > 0.98 * total


@pytest.mark.parametrize("size", (200, 500))
def test_volatility_pulls_least_over_all_updates(size):
    members = members_of_graph(size)
    means = {}
    chosen = random.Random(1).sample(members, 12)
    for strategy in STRATEGIES:
        old = la.plan_layers(members, 40, strategy)
        means[strategy.name] = statistics.mean(
            bytes_to_pull(old, la.plan_layers(updated(members, member), 40, strategy)) for member in chosen
        )
    assert means["volatility"] <= min(means.values()) * 1.02, means


def test_by_chain_counts_what_is_above_the_change():
    members = members_of_graph(60)
    groups = la.plan_layers(members, 60, la.VOLATILITY)
    changed = groups[10][0]
    new = la.plan_layers(updated(members, changed), 60, la.VOLATILITY)
    assert bytes_to_pull(groups, groups) == bytes_to_pull_by_chain(groups, groups) == 0
    assert bytes_to_pull_by_chain(groups, new) >= bytes_to_pull(groups, new) > 0


def test_limits():
    assert la.layers_left(120, 5, 1) == 114
    with pytest.raises(ImageError, match="the base image has 119 layers, and an image may have 120"):
        la.layers_left(120, 119, 1)
    with pytest.raises(ImageError):
        la.plan_layers(members_of_graph(60), 0, la.SIZE)
    members = members_of_graph(60)
    with pytest.raises(ImageError, match="twice"):
        la.plan_layers([*members, members[0]], 10, la.VOLATILITY)


def test_names_of_strategies():
    assert la.strategy_named("size") is la.SIZE
    with pytest.raises(ConfigurationError, match="choose one of size, popularity, volatility"):
        la.strategy_named("luck")
