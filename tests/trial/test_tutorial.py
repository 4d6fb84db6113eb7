# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Every section of docs/tutorial.md, executed in order: it works, and prints what the document says.

``make tutorial`` puts what a run prints into the document.
"""

import pytest
from document import read_sections
from support.spacks import spack_instance
from support.spacks.obtain import PADDED_LENGTH, obtain
from walk import Walk
from world import world

SECTIONS = read_sections()


# what the document shows was printed with this release; other versions of Spack print some of it otherwise
@pytest.fixture(scope="module", params=list(spack_instance.VERSIONS))
def walk(request, tmp_path_factory):
    built = obtain(spack_instance.built, request.param, PADDED_LENGTH)
    python = obtain(spack_instance.python, True)
    with world(tmp_path_factory.mktemp("tutorial"), built, python) as machines:
        yield Walk(SECTIONS, machines, all_outputs=request.param == spack_instance.RELEASE)


@pytest.mark.parametrize("title", [section.title for section in SECTIONS])
def test_section_works_and_prints_what_it_says(walk, title):
    problems = [outcome.problem for outcome in walk.section(title) if outcome.problem]
    assert not problems, "\n\n".join(problems)
