# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The files of a page: what is the same for all (``assets/``), the data, and ``index.html``."""

import html
import os
import re
from typing import Iterator, Tuple

from .contents import Contents
from .pieces import Heading, pieces

INDEX = "index.html"
_ASSETS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "assets")
_STYLE = "catalog.css"
#: in the order in which they are loaded: each adds to the one global object of the page
_SCRIPTS = ("base.js", "table.js", "graph.js", "home.js", "package.js", "images.js", "sizes.js", "main.js")


def page_files(contents: Contents, heading: Heading) -> Iterator[Tuple[str, bytes]]:
    """(name, content) of every file but ``index.html``. Same contents, same bytes."""
    for name in (_STYLE, *_SCRIPTS):
        yield name, _asset(name)
    for name, data in pieces(contents, heading):
        yield f"{name}.js", data


def index_file(directory: str, heading: Heading) -> bytes:
    """``index.html``. ``directory``: name of that of the other files."""
    scripts = (f'  <script defer src="{directory}/{name}"></script>' for name in (*_SCRIPTS, "summary.js"))
    values = {
        "TITLE": html.escape(heading.title),
        "STYLE": f"{directory}/{_STYLE}",
        "DIRECTORY": directory,
        "SCRIPTS": "\n".join(scripts),
    }
    template = _asset(INDEX).decode("utf-8")
    return re.sub("@([A-Z]+)@", lambda found: values[found[1]], template).encode("utf-8", "replace")


def _asset(name: str) -> bytes:
    with open(os.path.join(_ASSETS, name), "rb") as f:
        return f.read()
