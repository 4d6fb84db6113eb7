# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""``update-index``: make the index of a cache say what it has."""

import argparse
from typing import TYPE_CHECKING, Callable, Tuple

from ..index.update.loop import IndexUpdate
from ..util.documents import messages_apart, print_json

if TYPE_CHECKING:
    from .cache import Output


def run(out: "Output", update: Callable[[], Tuple[str, IndexUpdate]], args: argparse.Namespace) -> int:
    """``update``: does it; the URL of the cache, and what came of it."""
    with messages_apart(args.json):
        url, done = update()
    if args.json:
        print_json({"mirror": url, **done.to_dict()})
    else:
        print_update(out, url, done)
    return 1 if args.strict and (done.unreadable or done.kept) else 0


def print_update(out: "Output", url: str, done: IndexUpdate) -> None:
    for line, is_warning in done.lines(url):
        (out.warn if is_warning else out.info)(line)
