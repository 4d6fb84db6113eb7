# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The data of a page, as scripts: whatever a cache holds, a script is one call with two strings."""

import json
import re

import pytest
from spack_oci.catalog.contents import Contents, read_builds, read_images
from spack_oci.catalog.page import index_file, page_files
from spack_oci.catalog.pieces import BUILDS, MOST_DEPENDENTS, ROWS, Heading, pieces, script
from spack_oci.index.read import fetch_index
from support.packages.showcase import Showcase

HEADING = Heading("Our packages", "oci://ghcr.io/org/cache")
#: one call; a string in single quotes, which a quote or a line's end would close
_CALL = re.compile(rb"spackOciCatalog\.receive\('([a-z]+(?:-[0-9]+)?|summary)','((?:[^'\\\n]|\\[\\'])*)'\);\n\Z")
HOSTILE = ["</script><script>x()</script>", "'+x()+'", "\\", "\\'", '"', "\u2028", "<!--", "__proto__", "\x00", "é"]


def parsed(data):
    """What the browser gets out of a script."""
    call = _CALL.match(data)
    assert call, data[:200]
    return call[1].decode(), json.loads(re.sub(r"\\(.)", r"\1", call[2].decode("ascii")))


@pytest.fixture(scope="module")
def contents(tmp_path_factory):
    showcase = Showcase().fill()
    showcase.image("tools", ["htop", "vim", "ncurses"], ("amd64", "arm64"))
    store = showcase.write(tmp_path_factory.mktemp("cache"))
    return Contents(read_builds(fetch_index(store)), read_images(store, lambda tag, error: None), "sha256:1")


@pytest.fixture(scope="module")
def data(contents):
    return dict(parsed(data) for _, data in pieces(contents, HEADING))


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_any_text_comes_back_from_a_script_and_stays_in_its_string(text):
    written = script("rows-0", {"values": [text, text * 2]})
    assert parsed(written) == ("rows-0", {"values": [text, text * 2]})
    assert b"<" not in written and written.isascii() and written.count(b"\n") == 1


def test_rows_have_what_is_searched(contents, data):
    rows, summary = data["rows-0"], data["summary"]
    assert summary["nodes"] == len(contents.builds) == len(rows["name"]) and summary["rows"] == ROWS
    place = next(i for i, b in enumerate(contents.builds) if b.name == "hdf5" and b.arch[2] == "zen4")
    build = contents.builds[place]
    assert rows["names"][rows["name"][place]] == "hdf5"
    assert rows["versions"][rows["version"][place]] == build.version
    assert [rows["tokens"][token] for token in rows["sets"][rows["variants"][place]]] == list(build.tokens)
    assert rows["hash"][32 * place : 32 * place + 32] == build.hash
    assert summary["compilers"][rows["compiler"][place]] == "gcc@14.3.0"
    assert summary["arches"][rows["arch"][place]] == ["linux", "rhel9", "zen4"]
    assert summary["licenses"][rows["license"][place]] == "BSD-3-Clause-LBNL"
    assert rows["size"][place] == build.size
    assert rows["flags"][place] == 1 | 2  # in the cache, signed


def test_details_name_dependencies_and_dependents_by_their_places(contents, data):
    place = next(i for i, b in enumerate(contents.builds) if b.name == "slepc")
    details = data[f"builds-{place // BUILDS}"][place % BUILDS]
    (petsc,) = [to for to, types, _ in details["needs"] if types == 2 | 4]
    assert contents.builds[petsc].name == "petsc"
    assert place in data[f"builds-{petsc // BUILDS}"][petsc % BUILDS]["dependents"]
    assert details["unpacked"] > details["prefixLength"] == 73
    gcc = next(i for i, b in enumerate(contents.builds) if b.name == "gcc")
    of_gcc = data[f"builds-{gcc // BUILDS}"][gcc % BUILDS]
    assert of_gcc["external"] == "/usr" and "tag" not in of_gcc
    assert len(of_gcc["dependents"]) == min(of_gcc["dependentsCount"], MOST_DEPENDENTS)


def test_layers_of_images_lead_to_their_packages(contents, data):
    (image,) = data["images-0"]
    assert [platform["platform"] for platform in image["platforms"]] == ["linux/amd64", "linux/arm64"]
    base, *packages = image["platforms"][0]["layers"]
    assert base[2:] == ["debian:12", -1]
    assert [contents.builds[place].name for *_, place in packages] == ["ncurses", "htop", "vim"]
    assert data["summary"]["imageBytes"] == base[1]  # the base, once


def test_commands_are_quoted_for_a_shell(contents):
    heading = Heading("x", "oci+file:///a b/c$d")
    summary = dict(parsed(data) for name, data in pieces(contents, heading) if name == "summary")["summary"]
    assert summary["quotedUrl"] == "'oci+file:///a b/c$d'"
    assert summary["imagePrefix"] == "'oci:/a b/c$d:'"


def test_the_same_contents_give_the_same_bytes(contents):
    first, second = (list(page_files(contents, HEADING)) for _ in range(2))
    assert first == second
    names = [name for name, _ in first]
    assert len(names) == len(set(names))


def test_a_title_is_text(contents):
    page = index_file("0123456789abcdef", Heading("<script>@TITLE@ &", "oci://h/n")).decode()
    assert "<title>&lt;script&gt;@TITLE@ &amp;</title>" in page and "<script>@" not in page


def test_a_page_asks_for_nothing_from_elsewhere_and_allows_nothing_inline(contents):
    page = index_file("0123456789abcdef", HEADING).decode()
    assert "default-src 'none'" in page and "unsafe" not in page
    assert set(re.findall(r'(?:src|href)="([^"]*)"', page)) >= {"0123456789abcdef/main.js"}
    assert not re.search(r'(?:src|href)="(?:https?:)?//', page) and " style=" not in page and " onclick" not in page
    for name, data in page_files(contents, HEADING):
        text = data.decode()
        if name.endswith(".js") and not text.startswith("spackOciCatalog.receive"):
            assert not re.search(r"\.(innerHTML|outerHTML|insertAdjacentHTML)|document\.write|eval\(|fetch\(", text), (
                name
            )
