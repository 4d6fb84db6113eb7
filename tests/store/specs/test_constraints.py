# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Specs without a solver; ``tests/spack`` compares thousands of them with Spack's own answers."""

import pytest
from spack_oci.errors import InvalidSpec
from spack_oci.specs.constraints import Constraint, parse_specs
from support.specs.spec_nodes import edge, graph_of, make_node

GCC = make_node("gcc@12.2.0", external="/usr", languages=["c", "c++"])
LIBC = make_node("glibc@2.36", external="/usr")
ZLIB = make_node(
    "zlib-ng@2.1.6", edge(GCC, "build", virtuals=["c"]), edge(LIBC, "link", virtuals=["libc"]), shared=True, opt="x"
)
MPICH = make_node("mpich@4.1", edge(ZLIB, "link", virtuals=["zlib-api"]), shared=True)
HDF5 = make_node(
    "hdf5@1.14.3",
    edge(GCC, "build", virtuals=["c", "cxx"]),
    edge(MPICH, "build", "link", virtuals=["mpi"]),
    target="x86_64_v3",
    mpi=True,
    fortran=False,
    api="v110",
    plugins=["szip", "zfp"],
)
OLD = make_node("hdf5@1.12.0")
OLD["annotations"]["compiler"] = "clang@=14.0.6"
GRAPH = graph_of(GCC, LIBC, ZLIB, MPICH, HDF5, OLD)


def matches(text, node=HDF5):
    return Constraint.parse(text).matches(node, GRAPH)


@pytest.mark.parametrize(
    "text",
    [
        "hdf5",
        "builtin.hdf5",
        "*",
        "hdf5@1.14",
        "hdf5 @1.10:1.14",
        "hdf5@=1.14.3",
        "@1.8,1.14.2:",
        "+mpi~fortran",
        "hdf5 +mpi -fortran",
        "mpi=true",
        "api=v110",
        "plugins=zfp",
        "plugins=zfp,szip",
        "plugins:=szip,zfp",
        "plugins=*",
        "target=x86_64_v3",
        "target=x86_64_v2:",
        "target=:x86_64_v4",
        "target=zen,x86_64:x86_64_v3",
        "platform=linux os=debian12",
        "arch=linux-debian12-x86_64_v3",
        "arch=x86_64_v3",
        "%gcc",
        "%gcc@12",
        "%c=gcc",
        "%[virtuals=c,cxx] gcc@12:",
        "%[deptypes=build] gcc",
        "^gcc",
        "^zlib-ng@2:",
        "^zlib-ng+shared %gcc@12",
        "^mpi",
        "^mpich ^zlib-api",
        "^[virtuals=mpi] mpich",
        "++shared",
        f"/{HDF5['hash'][:7]}",
        f"hdf5/{HDF5['hash']}",
        "namespace=builtin",
    ],
)
def test_a_spec_that_fits(text):
    assert matches(text)


@pytest.mark.parametrize(
    "text",
    [
        "netcdf",
        "other.hdf5",
        "hdf5@1.12",
        "hdf5@=1.14",
        "~mpi",
        "+nothing",
        "nothing=*",
        "api=v1",
        "plugins=blosc",
        "plugins:=zfp",
        "+cflags",
        "cflags=-O2",
        "target=x86_64",
        "target=x86_64_v4:",
        "target=aarch64:",
        "platform=darwin",
        "os=rhel8",
        "%gcc@13",
        "%llvm",
        "%zlib-ng",
        "%[virtuals=fortran] gcc",
        "%[deptypes=run] gcc",
        "^zlib-ng@1",
        "^zlib-ng %gcc@13",
        "^glibc %gcc",
        "^mpi@3",
        "~~shared",
        "/abcdefg",
    ],
)
def test_a_spec_that_does_not_fit(text):
    assert not matches(text)


def test_what_does_not_fit_is_told_as_it_was_written():
    asked = Constraint.parse("hdf5@1.12+mpi+java api=v110 plugins:=zfp target=zen2: %gcc@13 ^zlib-ng@2 ^szip")
    missing = list(asked.mismatches(HDF5, GRAPH))
    assert missing == ["@1.12", "+java", "plugins:=zfp", "target=zen2:", "%gcc@13", "^szip"]


def test_the_compiler_of_a_package_of_an_older_spack_is_found():
    assert matches("hdf5 %clang@14", OLD) and matches("%llvm", OLD) and matches("%c=clang", OLD)
    assert not matches("%gcc", OLD)


def test_several_specs_of_a_command_line_are_told_apart():
    texts = [str(c) for c in parse_specs("hdf5@1.14 +mpi ^zlib-ng zstd@1: /abc /def")]
    assert texts == ["hdf5@1.14 +mpi ^zlib-ng", "zstd@1: /abc", "/def"]


@pytest.mark.parametrize(
    "text", ["", "hdf5@", "hdf5@1@2", "hdf5 ^", "hdf5 ;", "%[when=+x] gcc", "%[virtuals=c gcc", "hdf5@3:1", "a b"]
)
def test_what_is_no_spec_is_refused_with_the_place(text):
    with pytest.raises(InvalidSpec) as caught:
        Constraint.parse(text)
    assert "\n" not in str(caught.value)
