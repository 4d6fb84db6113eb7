# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The page of a cache in Chromium and Firefox, opened from its directory, used by keyboard."""

import re

import pytest
from spack_oci.index.publish import DOCUMENT_TAG
from support.packages.showcase import HOSTILE_TEXT, Showcase
from support.programs.browsers import DOWN, ENTER, ESCAPE, RIGHT
from support.programs.catalog_page import Page, make_page

TITLE = "Our <b>packages</b>"
URL = "oci://ghcr.io/example/cache"

#: texts with less contrast than WCAG 2.2 asks for (1.4.3, level AA)
FAINT = """
    const numbers = (color) => color.match(/[\\d.]+/g).map(Number);
    const luminance = (color) => numbers(color).slice(0, 3)
      .map((value) => value / 255)
      .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4))
      .reduce((sum, value, at) => sum + value * [0.2126, 0.7152, 0.0722][at], 0);
    const behind = (element) => {
      for (let e = element; e; e = e.parentElement) {
        const color = getComputedStyle(e).backgroundColor;
        if (numbers(color)[3] !== 0) return color;
      }
    };
    const faint = [];
    for (const e of document.querySelectorAll("body *:not(svg *, .unseen, noscript)")) {
      const hasText = [...e.childNodes].some((child) => child.nodeType === 3 && child.data.trim());
      if (!hasText || !e.getClientRects().length) continue;
      const style = getComputedStyle(e);
      const [one, other] = [luminance(style.color), luminance(behind(e))].sort((a, b) => b - a);
      const isLarge = parseFloat(style.fontSize) >= (style.fontWeight >= 700 ? 18.66 : 24);
      const needed = isLarge ? 3 : 4.5;
      if ((one + 0.05) / (other + 0.05) < needed) faint.push(`${e.className || e.tagName}: ${e.textContent}`);
    }
    return faint;
"""


def test_search_as_one_types_and_open_what_is_found_by_keyboard_alone(opened):
    browser = opened.browser
    browser.type("/")
    assert opened.focused == "search"
    browser.type("petsc")
    assert opened.all(".result-name") == ["petsc"]
    browser.wait("document.getElementById('announcer').textContent.includes('1 package in 4 builds')")
    assert browser.script("return location.hash") == "#/?q=petsc"
    browser.type(DOWN)
    browser.type(ENTER)
    opened.shown("#/package/petsc")
    assert opened.focused == "petsc"
    assert browser.script("return document.title") == f"petsc – {TITLE}"
    browser.script("history.back()")
    opened.shown("#/?q=petsc")
    browser.type("/")
    assert opened.all("#search", "value") == ["petsc"]
    browser.type(ESCAPE)
    assert opened.all("#search", "value") == [""] and len(opened.all(".result-name")) == 39


@pytest.mark.parametrize(
    "query, names",
    [
        ("hdf5", ["hdf5"]),
        ("HDF", ["hdf5"]),
        ("hdf5@1.14", ["hdf5"]),
        ("hdf5@1.12", []),
        ("py- @3", ["py-h5py"]),
        ("+kokkos", ["lammps"]),
        ("petsc~complex+mpi", ["petsc"]),
        ("petsc+complex", []),
        ("%gcc@13 llvm", ["llvm"]),
        ("target=neoverse gromacs", []),
        ("license=gpl-2.0-only", ["lammps"]),
        ("precision=double", ["fftw"]),
        ("apache numpy", []),
        ("mpi4", ["py-mpi4py"]),
        ("zlib", ["zlib-ng"]),
        ("python", ["python"]),  # first of those that have it
    ],
)
def test_words_of_a_query(opened, query, names):
    found = opened.search(query)
    assert found[: len(names)] == names and (names or not found)


def test_a_hash_finds_its_build_and_filters_narrow_down(opened):
    dag_hash = opened.hash_of("petsc")
    opened.go("#/")
    assert opened.search(f"/{dag_hash[:7]}") == ["petsc"]
    opened.search("")
    opened.choose("filter-license", "X11")
    assert opened.all(".result-name") == ["ncurses"]
    opened.choose("filter-target", "zen4")
    assert opened.all(".result-count") == ["1 build"]


def test_builds_side_by_side_show_what_differs(opened):
    opened.go("#/package/petsc")
    rows = opened.all(".compare tbody th[scope=row]")
    assert {"Version, differs", "Compiler, differs", "Target, differs", "hdf5, differs"} <= set(rows)
    assert "License" not in rows
    assert "3.22.4" in opened.all(".compare td.other") and "gcc@13.3.0" in opened.all(".compare td.other")
    assert "3.23.4" not in opened.all(".compare td.other")
    opened.browser.script("document.getElementById('only').focus()")
    opened.browser.type(" ")
    opened.browser.wait("document.querySelector('.compare').textContent.includes('License')")


def test_one_build_has_facts_commands_and_a_drawing(opened):
    dag_hash = opened.hash_of("petsc")
    opened.go(f"#/build/{dag_hash}")
    commands = opened.all(".command code")
    assert commands == [
        f"spack mirror add cache {URL}\nspack install --cache-only petsc/{dag_hash}",
        f"podman run --rm -it ghcr.io/example/cache:petsc-3.23.4-{dag_hash}.spack",
        f"spack-oci install {URL} petsc/{dag_hash} --store ~/sw",
    ]
    facts = dict(zip(opened.all(".facts dt"), opened.all(".facts dd")))
    assert facts["License"] == "BSD-2-Clause" and facts["Download"] == "61.3 MB" and facts["Unpacked"] == "190.0 MB"
    assert facts["Signature"] == "yes; not verified by this page" and "none" in facts["SBOM"]
    nodes = opened.browser.script(
        "return [...document.querySelectorAll('a.node')].map(e => e.getAttribute('aria-label'))"
    )
    assert nodes == [
        "slepc@3.23.2",
        "gcc@14.3.0, not in this cache",
        "hdf5@1.14.6",
        "hypre@2.33.0",
        "superlu-dist@9.1.0",
    ]
    opened.choose("depth", "99")
    opened.browser.wait("[...document.querySelectorAll('a.node')].some(e => e.textContent.includes('hwloc'))")
    # what is needed by something stands to the right of it
    drawn = opened.browser.script("return [...document.querySelectorAll('.graph .edge')].map(e => e.getAttribute('d'))")
    ends = [re.fullmatch(r"M([\d.]+) .* ([\d.]+) [\d.]+", path).groups() for path in drawn]
    assert len(ends) > 10 and all(float(left) < float(right) for left, right in ends)
    assert opened.all("details.list summary") == ["Direct dependencies (4)", "Direct dependents (1)"]


def test_a_command_is_copied_and_that_is_said(opened):
    opened.go(f"#/build/{opened.hash_of('htop')}")
    opened.browser.script("document.querySelector('.copy').focus()")
    opened.browser.type(ENTER)
    opened.browser.wait("document.getElementById('announcer').textContent === 'Copied the commands for Spack'")
    assert opened.focused == "Copy the commands for Spack"


def test_images_and_their_layers_lead_to_packages(opened):
    opened.go("#/images")
    assert opened.all(".image-card .result-name") == ["hostile", "tools"]
    opened.go("#/image/tools")
    assert opened.all(".card h2") == ["Use it", "linux/amd64", "linux/arm64"]
    assert opened.all(".layers td:nth-child(2)")[0] == "debian:12"
    assert opened.all(".layers a")[:3] == ["ncurses@6.5", "htop@3.3.0", "vim@9.1.0437"]
    assert len(opened.all(".layer-bar rect")) == 8
    assert opened.all(".command code")[0] == "podman run --rm -it ghcr.io/example/cache:tools"


def test_the_treemap_is_one_stop_for_the_keyboard_and_arrows_move_in_it(opened):
    opened.go("#/sizes")
    cells = opened.browser.script(
        "return [...document.querySelectorAll('.treemap > *')].map(e => e.getAttribute('aria-label'))"
    )
    assert cells[0].startswith("llvm: 8") and any(cell.startswith("Other layers of images: 48.5 MB") for cell in cells)
    assert (
        len(opened.browser.script("return [...document.querySelectorAll('.treemap [tabindex=\"0\"]')].map(e => 1)"))
        == 1
    )
    area = "return [...document.querySelectorAll('.cell')].map(e => e.width.baseVal.value * e.height.baseVal.value)"
    assert opened.browser.script(area)[0] == max(opened.browser.script(area))
    opened.browser.script("document.querySelector('.treemap [tabindex=\"0\"]').focus()")
    opened.browser.type(RIGHT)
    assert opened.focused.startswith("trilinos") and opened.all(".caption")[0].startswith("trilinos")
    opened.browser.type(ENTER)
    opened.shown("#/package/trilinos")


def test_what_a_cache_holds_is_never_markup(opened):
    browser = opened.browser
    (address,) = addresses(opened, "toString")
    opened.go(address)
    text = browser.text()
    for shown in (HOSTILE_TEXT, "git.<svg/onload>=1.0", "+__proto__", "</script><script>window.pwned=1</script>"):
        assert shown in text, shown
    assert "<i>virtual</i>" in " ".join(opened.all("details.list li"))
    opened.go("#/image/hostile")
    assert HOSTILE_TEXT in browser.text()
    for view in ("#/", "#/package/toString", "#/package/constructor", "#/build/__proto__", "#/sizes", "#/%zz"):
        opened.go(view)
        assert browser.script("return [window.pwned, document.querySelectorAll('img, main b, main i').length]") == [
            None,
            0,
        ]
    assert opened.all("#brand") == [TITLE]


def addresses(opened, name):
    opened.go("#/")
    opened.search(name)
    return [address for address in opened.all("a.result", "hash") if address.startswith("#/build/")][:1]


def test_the_policy_of_the_page_lets_nothing_else_run_or_load(opened):
    browser = opened.browser
    browser.script("""
        window.refused = [];
        document.addEventListener("securitypolicyviolation", (event) => window.refused.push(event.effectiveDirective));
        const script = document.createElement("script");
        try {
          script.textContent = "window.pwned = 1";
          document.head.append(script);
        } catch (trustedTypes) {}
        new Image().src = "http://127.0.0.1:9/x.png";
        fetch("http://127.0.0.1:9/").catch(() => {});
    """)
    browser.wait("window.refused.includes('img-src') && window.refused.includes('connect-src')")
    assert not browser.script("return window.pwned")
    loaded = browser.script("return performance.getEntriesByType('resource').map(entry => entry.name)")
    assert all(url.startswith((f"file://{opened.directory}/", "data:", "http://127.0.0.1:9/")) for url in loaded)
    browser.errors()  # of these


@pytest.mark.parametrize("view", ["#/", "#/package/petsc", "#/build", "#/images", "#/image/tools", "#/sizes"])
def test_a_phone_needs_no_scrolling_to_the_side(opened, view):
    view = f"#/build/{opened.hash_of('petsc')}" if view == "#/build" else view
    opened.browser.resize(360, 740, mobile=True)
    opened.go(view)
    width, needed = opened.browser.script("return [innerWidth, document.documentElement.scrollWidth]")
    assert needed <= width <= 500  # Firefox has no windows of 360 pixels
    assert width == 360 or opened.browser.name == "firefox"


def test_the_scheme_of_the_system_is_followed_and_text_stands_out_in_both(opened):
    background = "return getComputedStyle(document.documentElement).backgroundColor"
    views = ("#/", "#/package/petsc", f"#/build/{opened.hash_of('petsc')}", "#/image/tools", "#/sizes")
    seen = []
    for dark in (False, True):
        opened.browser.prefer_dark(dark)
        seen.append(opened.browser.script(background))
        for view in views:
            opened.go(view)
            assert opened.browser.script(FAINT) == [], (dark, view)
    assert seen[0] != seen[1]


@pytest.mark.parametrize("view", ["#/", "#/package/petsc", "#/build", "#/images", "#/image/tools", "#/sizes"])
def test_a_screen_reader_finds_landmarks_headings_and_names(opened, view):
    opened.go(f"#/build/{opened.hash_of('petsc')}" if view == "#/build" else view)
    problems = opened.browser.script("""
        const problems = [];
        const one = (selector) => {
          const found = document.querySelectorAll(selector).length;
          if (found !== 1) problems.push(`${found} ${selector}`);
        };
        for (const selector of ["main", "h1", "body > header", "body > footer", "[aria-live]"]) one(selector);
        if (!document.documentElement.lang) problems.push("no language");
        const ids = [...document.querySelectorAll("[id]")].map((e) => e.id);
        if (new Set(ids).size !== ids.length) problems.push("an id twice");
        for (const e of document.querySelectorAll("input, select")) {
          if (!e.labels.length && !e.getAttribute("aria-label")) problems.push(`no label: ${e.id}`);
        }
        for (const e of document.querySelectorAll("a, button")) {
          if (!(e.getAttribute("aria-label") || e.textContent).trim()) problems.push(`no name: ${e.outerHTML}`);
        }
        for (const e of document.querySelectorAll("nav, section, [role=region], main > * ul")) {
          const named = e.getAttribute("aria-label") || e.querySelector("h2, h3") || e.tagName === "UL";
          if (!named) problems.push(`no name: ${e.className}`);
        }
        for (const e of document.querySelectorAll("[aria-describedby], label[for]")) {
          for (const id of (e.getAttribute("aria-describedby") || e.htmlFor).split(" ")) {
            if (!document.getElementById(id)) problems.push(`nothing is ${id}`);
          }
        }
        let level = 0;
        for (const e of document.querySelectorAll("h1, h2, h3")) {
          if (Number(e.tagName[1]) > level + 1) problems.push(`${e.tagName} after h${level}`);
          level = Number(e.tagName[1]);
        }
        for (const e of document.querySelectorAll("table")) {
          if (!e.caption || !e.querySelector("th[scope]")) problems.push("a table without caption or headings");
        }
        return problems;
    """)
    assert problems == []


def test_an_index_of_spack_alone_is_shown_without_what_it_does_not_tell(opened, tmp_path):
    store = Showcase().fill().write(tmp_path / "cache")
    store.delete_manifest(DOCUMENT_TAG)
    other = Page(opened.browser, make_page(store, tmp_path / "page", "Other", URL))
    for view in ("#/", "#/sizes", "#/package/petsc", f"#/build/{other.hash_of('petsc')}"):
        other.go(view)
        assert not re.search(r"\b0 B\b|undefined|NaN|null", opened.browser.text()), view
    facts = dict(zip(other.all(".facts dt"), other.all(".facts dd")))
    assert facts["Download"] == "unknown" and facts["To run it"] == "11 packages of this cache"
    other.go("#/sizes")
    assert "does not tell sizes" in opened.browser.text()


def test_an_empty_cache_is_said_to_be_empty(opened, tmp_path):
    other = Page(opened.browser, make_page(Showcase().write(tmp_path / "cache"), tmp_path / "page", "Empty", URL))
    for view in ("#/", "#/sizes"):
        other.go(view)
        assert "There are no packages in this cache" in opened.browser.text()


def test_what_cannot_be_loaded_is_said(opened, page):
    (data,) = page.glob("*/images-0.js")
    aside = data.rename(data.with_suffix(".aside"))
    try:
        opened.browser.open("about:blank")
        opened.go("#/images")
        assert "images-0.js cannot be loaded" in opened.all("[role=alert]")[0]
    finally:
        aside.rename(data)
        opened.browser.errors()


def test_the_link_to_the_content_leaves_the_view_where_it_is(opened):
    opened.go("#/sizes")
    opened.browser.script("document.querySelector('.skip').focus()")
    opened.browser.type(ENTER)
    assert opened.focused == "main" and opened.browser.script("return location.hash") == "#/sizes"
