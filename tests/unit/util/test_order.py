# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What is fetched ahead comes in the order in which Spack's installers will ask for it."""

from hypothesis import given, settings
from hypothesis import strategies as st
from spack_oci.util.order import dependencies_first, installation_order

STACK = {"app": ["lib", "zlib"], "lib": ["zlib"], "zlib": [], "big": [], "tool": ["big", "elsewhere"]}


def test_a_queue_as_the_classic_installer_has_it():
    assert installation_order(STACK) == ["zlib", "big", "lib", "tool", "app"]


def test_a_stack_as_the_new_installer_has_it():
    assert installation_order(STACK, newest_first=True) == ["big", "tool", "zlib", "lib", "app"]


@settings(deadline=None)  # on a busy machine, anything may take a second
@given(st.dictionaries(st.integers(0, 20), st.lists(st.integers(0, 20))), st.booleans())
def test_dependencies_first_and_each_once(numbers, newest_first):
    graph = {str(key): [str(n) for n in names if n < key] for key, names in numbers.items()}
    order = installation_order(graph, newest_first)
    assert sorted(order) == sorted(graph)
    for key in order:
        assert all(order.index(name) < order.index(key) for name in graph[key] if name in graph)


@given(st.dictionaries(st.integers(0, 20), st.lists(st.integers(0, 20))))
def test_depth_first_each_once_after_what_it_needs(numbers):
    graph = {str(key): [str(n) for n in names if n < key] for key, names in numbers.items()}
    order = dependencies_first(graph)
    assert sorted(order) == sorted(graph)
    for key in order:
        assert all(order.index(name) < order.index(key) for name in graph[key] if name in graph)


def test_depth_first_keeps_the_order_of_the_mapping_where_it_can():
    assert dependencies_first({"big": [], **STACK}) == ["big", "zlib", "lib", "app", "tool"]


def test_a_cycle_ends():
    assert sorted(dependencies_first({"a": ["b"], "b": ["a", "b"]})) == ["a", "b"]
