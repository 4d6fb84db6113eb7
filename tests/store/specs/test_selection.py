# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Which package a spec means, and why none does."""

import copy

import pytest
from spack_oci.errors import Ambiguous, NothingFits
from spack_oci.image.needs.libc import Libc
from spack_oci.specs.constraints import Constraint
from spack_oci.store.machine import Machine, this_machine
from spack_oci.store.selection import Candidates, choose, closure
from spack_oci.store.source import is_plain_node
from support.specs.spec_nodes import edge, graph_of, make_node

OLD_LIBC, NEW_LIBC = make_node("glibc@2.31", external="/usr"), make_node("glibc@2.38", external="/usr")
GCC12, GCC13 = make_node("gcc@12.2.0", external="/usr"), make_node("gcc@13.1", external="/usr")
MACHINE = Machine("linux", "debian12", "x86_64_v3", Libc.parse("glibc", "2.36"))


def hdf5(version="1.14.3", libc=OLD_LIBC, gcc=GCC12, target="x86_64_v3", **more):
    return make_node(
        f"hdf5@{version}",
        edge(gcc, "build", virtuals=["c"]),
        edge(libc, "link", virtuals=["libc"]),
        target=target,
        **more,
    )


def pick(text, *nodes, installed=()):
    graph = graph_of(OLD_LIBC, NEW_LIBC, GCC12, GCC13, *nodes)
    candidates = Candidates(graph, {n["hash"] for n in nodes}, {n["hash"] for n in installed}, "oci://ghcr.io/t/c")
    return choose(Constraint.parse(text), candidates, MACHINE)


def test_the_newest_version_is_taken_then_the_best_target_of_this_machine():
    old, new, better, best = hdf5("1.12"), hdf5(target="x86_64"), hdf5(target="x86_64_v2"), hdf5(target="x86_64_v4")
    assert pick("hdf5", old, new, better, best) is better
    assert pick("hdf5@1.12", old, new, better) is old
    assert pick("hdf5 target=x86_64", old, new, better) is new


def test_a_release_is_taken_before_what_is_being_developed_unless_that_is_asked_for():
    release, head = hdf5("1.14"), hdf5("develop")
    assert pick("hdf5", release, head) is release
    assert pick("hdf5@develop", release, head) is head


def test_what_is_installed_is_taken_before_what_is_newer():
    old, new = hdf5("1.12"), hdf5("1.14")
    assert pick("hdf5", old, new, installed=[old]) is old


def test_the_build_for_the_operating_system_of_this_machine_is_taken():
    other, own = hdf5(os="ubuntu22.04"), hdf5()
    assert pick("hdf5", other, own) is own


def test_what_does_not_run_here_is_counted_with_its_reasons():
    nodes = [hdf5(libc=NEW_LIBC), hdf5(libc=NEW_LIBC, os="ubuntu24.04"), hdf5(target="aarch64")]
    with pytest.raises(NothingFits) as caught:
        pick("hdf5@1.14", *nodes)
    assert caught.value.message == (
        "three builds of hdf5@1.14 are there in oci://ghcr.io/t/c: "
        "two need glibc 2.38, this machine has 2.36; one is for aarch64"
    )


def test_a_better_target_than_this_machine_has_and_another_platform_are_named():
    with pytest.raises(NothingFits, match="one is for x86_64_v4, this machine is x86_64_v3"):
        pick("hdf5", hdf5(target="x86_64_v4"))
    with pytest.raises(NothingFits, match="one is for darwin"):
        pick("hdf5", hdf5(platform="darwin"))


def test_a_machine_with_another_c_library_is_told_both():
    musl = make_node("musl@1.2.5", external="/usr")
    with pytest.raises(NothingFits, match="one needs musl 1.2.5, this machine has glibc 2.36"):
        graph = graph_of(musl, GCC12, hdf5(libc=musl))
        node = hdf5(libc=musl)
        choose(Constraint.parse("hdf5"), Candidates(graph, {node["hash"]}), MACHINE)


def test_what_only_the_user_can_decide_is_asked_and_the_differences_are_shown():
    one, two = hdf5(mpi=True, gcc=GCC12), hdf5(mpi=False, gcc=GCC13)
    with pytest.raises(Ambiguous) as caught:
        pick("hdf5", one, two)
    assert f"/{one['hash'][:7]} (%gcc@12.2.0 +mpi)" in str(caught.value)
    assert f"/{two['hash'][:7]} (%gcc@13.1 ~mpi)" in str(caught.value)
    assert pick("hdf5+mpi", one, two) is one
    assert pick("hdf5%gcc@13", one, two) is two
    assert pick(f"/{one['hash'][:7]}", one, two) is one


def test_a_package_that_is_not_there_is_named_with_those_that_are_called_alike():
    with pytest.raises(NothingFits, match="hdf6 is not in oci://ghcr.io/t/c: did you mean hdf5"):
        pick("hdf6", hdf5())


def test_what_the_builds_that_are_there_lack_is_told():
    with pytest.raises(NothingFits) as caught:
        pick("hdf5@1.14+mpi", hdf5("1.12", mpi=True), hdf5(mpi=False), hdf5("1.14.2", mpi=False))
    assert "three builds of hdf5 are there: two are not +mpi; one is not @1.14" in str(caught.value)
    assert "1.14.3, 1.14.2, 1.12" in str(caught.value)


def test_the_closure_is_what_is_linked_and_run_dependencies_first():
    zlib = make_node("zlib@1.3", edge(OLD_LIBC, "link"))
    tool = make_node("tool@1")
    app = make_node("app@1", edge(zlib, "link"), edge(tool, "build"), edge(GCC12, "build"))
    nodes, lacking = closure([app["hash"]], graph_of(OLD_LIBC, zlib, app))
    assert [n["name"] for n in nodes] == ["glibc", "zlib", "app"] and not lacking
    assert closure([app["hash"]], graph_of(app))[1] == [zlib["hash"]]


def test_this_machine_is_known():
    machine = this_machine()
    assert machine.target and machine.platform in ("linux", "darwin")
    assert machine.misfit(make_node("x@1", target="ppc64le"), {}) is not None or machine.target == "ppc64le"


@pytest.mark.parametrize(
    "damage",
    [
        lambda node: node.pop("arch"),
        lambda node: node.update(name=7),
        lambda node: node.update(version=None),
        lambda node: node["arch"].update(target=["x"]),
        lambda node: node.update(dependencies={"zlib": 1}),
        lambda node: node["dependencies"][0].pop("parameters"),
        lambda node: node.update(external="/usr"),
        lambda node: node.update(hash="other"),
        lambda node: node.update(parameters=[]),
    ],
)
def test_what_is_no_package_in_an_index_is_left_out(damage):
    node = copy.deepcopy(hdf5())
    dag_hash = node["hash"]
    assert is_plain_node(dag_hash, node)
    damage(node)
    assert not is_plain_node(dag_hash, node)
    assert not is_plain_node("../../evil", hdf5()) and not is_plain_node(dag_hash, [])
