# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""``pin``, ``unpin`` and ``pins``."""

import argparse
import datetime
import time
from typing import Callable, Dict, List, Optional, Set, Tuple

from ..errors import ConfigurationError, ContentError
from ..operations.lifecycle import pins
from ..operations.lifecycle.contents import read_contents
from ..operations.lifecycle.lock_files import hashes_of_lock_file
from ..operations.lifecycle.prune import with_condemned
from ..util.documents import messages_apart, print_json
from ..util.text import counted, visible
from .cache import Cache, Output


def run_pin(find: Callable[[], Cache], args: argparse.Namespace) -> int:
    with messages_apart(args.json):
        cache = find()
        pin, before = add_pin(cache, args)
    replaced = before.hashes if before is not None else frozenset()
    if args.json:
        print_json({**pin.to_dict(), "replaced": sorted(replaced)})
        return 0
    until = f" until {args.until}" if args.until else ""
    what_was = f"; it replaces a pin of {counted(len(replaced), 'package')}" if replaced - pin.hashes else ""
    cache.out.info(f"Pinned {counted(len(pin.hashes), 'package')} as {pin.name}{until}{what_was}")
    return 0


def run_unpin(find: Callable[[], Cache], args: argparse.Namespace) -> int:
    with messages_apart(args.json):
        cache = find()
        pins.remove_pin(cache.open(), args.name)
    if args.json:
        print_json({"mirror": cache.url, "name": args.name})
    else:
        cache.out.info(f"{args.name} pins nothing any more")
    return 0


def add_pin(cache: Cache, args: argparse.Namespace) -> Tuple[pins.Pin, Optional[pins.Pin]]:
    """The pin, and the one that held under its name. What a prune has taken out of the index can be pinned, too."""
    store = cache.open()
    hashes: Set[str] = {h for path in args.lock for h in hashes_of_lock_file(path)}
    if args.specs:
        contents = read_contents(store, cache.open_index())
        hashes |= cache.matching(with_condemned(store, contents), args.specs)
    before = pins.find_pin(store, args.name)
    return pins.write_pin(store, args.name, hashes, _end_of_day(args.until) if args.until else None), before


def _end_of_day(text: str) -> int:
    try:
        day = datetime.datetime.strptime(text, "%Y-%m-%d")
        end = int((day + datetime.timedelta(days=1)).timestamp())
    except (ValueError, OverflowError):  # a calendar of Python's has an end
        raise ConfigurationError(f"{text!r} is no date", remedy="write it as 2027-06-30") from None
    if end <= time.time():
        raise ConfigurationError(f"{text} is past, so the pin would keep nothing", remedy="name a day that is to come")
    return end


def run_list(find: Callable[[], Cache], args: argparse.Namespace) -> int:
    with messages_apart(args.json):
        cache = find()
        found, failed = find_pins(cache)
    if args.json:
        print_json({"pins": [pin.to_dict() for pin in found]})
    else:
        print_pins(cache.out, found)
    for error in failed.values():
        cache.out.error(str(error))
    return 1 if failed else 0


def find_pins(cache: Cache) -> Tuple[List[pins.Pin], Dict[str, ContentError]]:
    """Those that hold now, and those that cannot be read, by name."""
    store = cache.open()
    found: List[pins.Pin] = []
    failed: Dict[str, ContentError] = {}
    for name, outcome in pins.read_each_pin(store, store.tags()):
        if isinstance(outcome, ContentError):
            failed[name] = outcome
        elif not outcome.is_over(time.time()):
            found.append(outcome)
    return found, failed


def print_pins(out: Output, found: List[pins.Pin]) -> None:
    for pin in found:
        # the end of its last day
        until = f", until {time.strftime('%Y-%m-%d', time.localtime(pin.until - 1))}" if pin.until else ""
        at = time.strftime("%Y-%m-%d", time.localtime(pin.at))
        print(f"{pin.name}: {counted(len(pin.hashes), 'package')}, by {visible(pin.by)} on {at}{until}")
    if not found:
        out.info("no pins")
