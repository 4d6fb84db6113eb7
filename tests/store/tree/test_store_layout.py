# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Where the packages of a store are."""

import pytest
from spack_oci.errors import StoreError
from spack_oci.store.layout import DEFAULT_PROJECTION, StoreLayout, projection_of
from support.specs.spec_nodes import make_node

ZLIB = make_node("zlib@1.3.1", target="x86_64_v3")
GIT = make_node("tool@git.a/b=1.2")
EXTERNAL = make_node("gcc@12", external="/usr")


def test_prefixes_are_where_spack_puts_them():
    layout = StoreLayout("/opt/sw")
    assert layout.prefix_of(ZLIB) == f"/opt/sw/linux-x86_64_v3/zlib-1.3.1-{ZLIB['hash']}"
    assert layout.prefix_of(GIT) == f"/opt/sw/linux-x86_64/tool-git.a_b_1.2-{GIT['hash']}"
    assert layout.prefix_of(EXTERNAL) == "/usr"


@pytest.mark.parametrize(
    "root, unpadded",
    [
        ("/opt/sw", "/opt/sw"),
        ("/opt/sw/__spack_path_placeholder__/__spack_path_placeholder__/__spack_pa", "/opt/sw"),
        ("/opt/sw/__spack_path_placeholder__/_", "/opt/sw"),
        ("/opt/sw/__spack_path", "/opt/sw"),
    ],
)
def test_the_sbang_script_of_a_padded_store_is_in_the_root_without_padding(root, unpadded):
    assert StoreLayout(root).sbang_path == f"{unpadded}/bin/sbang"


@pytest.mark.parametrize(
    "projection",
    [
        DEFAULT_PROJECTION,
        "{name}/{version}-{hash:7}",
        "{architecture}/{name}-{version}-{hash}",
        "{architecture.os}-{architecture.target}/{name}/{version}/{hash}",
        "packages/{name}-{version}-{hash:10}",
    ],
)
def test_the_projection_of_a_store_is_seen_from_what_is_in_it(projection):
    there = StoreLayout("/s", projection)
    nodes = [ZLIB, make_node("hdf5@1.14.3", target="x86_64_v4", mpi=True), make_node("py-linux@12")]
    found, certain = projection_of("/s", [(node, there.prefix_of(node)) for node in nodes])
    assert certain
    other = make_node("zstd@1.5", os="rhel8")
    assert StoreLayout("/s", found).prefix_of(other) == there.prefix_of(other)


def test_no_package_is_put_outside_of_the_store():
    with pytest.raises(StoreError, match="outside of the store"):
        StoreLayout("/opt/sw", "{name}/{version}-{hash}").prefix_of(make_node("..@1"))
    assert StoreLayout("/opt/sw").prefix_of(make_node("../../x@../y")).startswith("/opt/sw/linux-x86_64/.._.._x-.._y-")


def test_an_empty_store_has_spacks_default_and_a_mixed_one_what_most_follow():
    assert projection_of("/s", []) == (DEFAULT_PROJECTION, True)
    layout = StoreLayout("/s")
    nodes = [make_node(f"p{i}@1") for i in range(5)]
    places = [(n, layout.prefix_of(n)) for n in nodes[1:]] + [(nodes[0], "/s/elsewhere/p0")]
    assert projection_of("/s", places) == (DEFAULT_PROJECTION, False)
