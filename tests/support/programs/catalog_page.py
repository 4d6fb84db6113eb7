# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The page of a cache, made for a test, and opened in a browser from its directory."""

from pathlib import Path
from typing import Any, List

from spack_oci.catalog.make import heading_for, make_catalog
from spack_oci.index.read import fetch_index
from spack_oci.layout import LayoutStore
from spack_oci.util.progress import Silent
from support.programs.browsers import Browser


def make_page(store: LayoutStore, directory: Path, title: str, url: str) -> Path:
    heading = heading_for(store.url, title, url)
    make_catalog(store, store, fetch_index(store), str(directory), heading, Silent())
    return directory


class Page:
    """A page in a browser."""

    def __init__(self, browser: Browser, directory: Path) -> None:
        self.browser = browser
        self.directory = directory

    def go(self, address: str) -> None:
        """To a view, as a link does; returns when it is shown."""
        url = f"file://{self.directory}/index.html"
        if not self.browser.script("return location.href").startswith(url):
            self.browser.open(url + address)
        else:
            self.browser.script("delete document.documentElement.dataset.view; location.hash = ''", address)
            self.browser.script("location.hash = arguments[0]", address)
        self.shown(address)

    def shown(self, address: str) -> None:
        here = f"file://{self.directory}/"  # Firefox may say that it has navigated before it has
        expression = "location.href.startsWith(arguments[0]) && document.documentElement?.dataset.view === arguments[1]"
        self.browser.wait(expression, here, address)

    def all(self, selector: str, value: str = "textContent") -> List[Any]:
        """Texts (or other properties) of the elements."""
        code = "return [...document.querySelectorAll(arguments[0])].map(e => e[arguments[1]])"
        return self.browser.script(code, selector, value)

    def search(self, query: str) -> List[str]:
        """Names of the packages that are found."""
        self._enter("search", query, "input")
        return self.all(".result-name")

    def choose(self, identifier: str, value: str) -> None:
        """In a select."""
        self._enter(identifier, value, "change")

    def _enter(self, identifier: str, value: str, event: str) -> None:
        code = (
            "const box = document.getElementById(arguments[0]); box.value = arguments[1];"
            "box.dispatchEvent(new Event(arguments[2]))"
        )
        self.browser.script(code, identifier, value, event)

    def hash_of(self, name: str) -> str:
        """Of the first build of a package."""
        self.go("#/package/" + name)
        return self.all(".build", "hash")[0].rpartition("/")[2]

    @property
    def focused(self) -> str:
        code = "const e = document.activeElement; return e.id || e.getAttribute('aria-label') || e.textContent"
        return self.browser.script(code)
