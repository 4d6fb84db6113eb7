# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Real browsers, each started once, and the page of a cache that they open from its directory."""

import shutil

import pytest
from support.packages.showcase import HOSTILE_TEXT, Showcase, hostile_nodes
from support.programs.browsers import BROWSERS, missing
from support.programs.catalog_page import Page, make_page


@pytest.fixture(scope="session", params=sorted(BROWSERS))
def started(request, tmp_path_factory):
    if missing(request.param):
        pytest.skip("needs the browsers chromium (with chromium-driver) and firefox-esr")
    with BROWSERS[request.param][1](tmp_path_factory.mktemp(request.param)) as browser:
        yield browser


@pytest.fixture(scope="session")
def page(tmp_path_factory):
    """The directory of a page: a team's cache, in which somebody has also put names that are markup."""
    directory = tmp_path_factory.mktemp("catalog")
    showcase = Showcase().fill()
    showcase.add(hostile_nodes(), licenses=HOSTILE_TEXT)
    showcase.image("tools", ["htop", "vim", "ncurses"], ("amd64", "arm64"))
    showcase.image("hostile", ["htop"], comment=HOSTILE_TEXT)
    store = showcase.write(directory / "cache")
    made = make_page(store, directory / "page", "Our <b>packages</b>", "oci://ghcr.io/example/cache")
    shutil.rmtree(directory / "cache")
    return made


@pytest.fixture
def opened(started, page):
    started.resize(1280, 900)
    started.prefer_dark(False)
    found = Page(started, page)
    found.go("#/")
    started.wait("!document.getElementById('status').textContent.includes('loaded')")
    yield found
    assert not started.errors()
