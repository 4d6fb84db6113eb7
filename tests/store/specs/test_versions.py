# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Versions in Spack's order. The two text files were written by Spack; ``tests/spack`` asks it again where it is."""

import random
from pathlib import Path

import pytest
from spack_oci.errors import InvalidSpec
from spack_oci.specs.versions import Version, VersionSet

HERE = Path(__file__).parent


def test_versions_of_the_builtin_repository_sort_as_in_spack():
    in_order = (HERE / "versions_in_order.txt").read_text().split()
    shuffled = random.Random(1).sample(in_order, len(in_order))
    assert sorted(shuffled, key=Version.parse) == in_order


def test_versions_are_in_ranges_and_lists_as_in_spack():
    wrong = []
    for line in (HERE / "versions_in_ranges.txt").read_text().splitlines():
        version, constraint, answer = line.split()
        if (Version.parse(version) in VersionSet.parse(constraint)) != (answer == "yes"):
            wrong.append(line)
    assert not wrong


def test_versions_that_differ_in_separators_or_leading_zeros_are_equal():
    assert Version.parse("1-2_03") == Version.parse("1.2.3")
    assert Version.parse("1.2") != Version.parse("git.abc=1.2")
    assert not Version.parse("1.2") < Version.parse("1-2")


def test_a_commit_without_a_version_is_found_by_its_name_alone():
    assert Version.parse("git.main=1.2") in VersionSet.parse("git.main")
    assert Version.parse("git.other=1.2") not in VersionSet.parse("git.main")
    assert Version.parse("1.2") not in VersionSet.parse("git.main")


def test_a_release_is_preferred_to_what_is_being_developed_and_to_candidates():
    versions = ["1.9", "2.0rc1", "develop", "1.10"]
    assert max(versions, key=lambda v: Version.parse(v).preference) == "1.10"
    assert max(versions, key=Version.parse) == "develop"


@pytest.mark.parametrize("text", ["", "1/2", "=", "3:1", "1:2:3", "git.a=1=2", "1,,2", "git.="])
def test_what_is_no_version_is_refused(text):
    with pytest.raises(InvalidSpec):
        VersionSet.parse(text)
