# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`make mutants` takes long and is run by hand: here, that its table is still about this source."""

from faults.mutants import GUARDS, ROOT


def test_each_guard_is_in_the_source_once_and_so_are_its_tests():
    for guard in GUARDS:
        assert (ROOT / guard.path).read_text().count(guard.code) == 1, f"{guard.name}: {guard.path}"
        assert guard.without != guard.code, guard.name
        for word in guard.tests.split():
            assert not word.startswith("tests/") or (ROOT / word).exists(), f"{guard.name}: {word}"


def test_names_of_guards_are_of_one_thing():
    assert len({guard.name for guard in GUARDS}) == len(GUARDS)
