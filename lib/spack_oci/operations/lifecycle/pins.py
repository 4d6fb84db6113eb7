# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Pins: named sets of packages that a prune keeps, in the cache itself. One tag each, so two of them never collide."""

import getpass
import re
import shlex
import socket
import time
from dataclasses import dataclass
from typing import Any, Dict, FrozenSet, Iterable, Iterator, List, Optional, Tuple, Union

from ...content import ContentStore
from ...content.artifacts import read_json_artifact, write_json_artifact
from ...content.interfaces import RepositoryReader
from ...errors import ConfigurationError, ContentError, DigestMismatch, InvalidContent, NotFound
from ...reference import check_tag
from .contents import PIN_PREFIX

_MEDIA_TYPE = "application/vnd.spack-oci.pin.v1+json"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}\Z")


@dataclass(frozen=True)
class Pin:
    """``hashes``: DAG hashes of roots. ``at``, ``until``: seconds since 1970; ``until`` None: for ever."""

    name: str
    hashes: FrozenSet[str]
    by: str = ""
    at: int = 0
    until: Optional[int] = None

    def is_over(self, now: float) -> bool:
        return self.until is not None and self.until < now

    def to_dict(self) -> Dict[str, Any]:
        return {
            "version": 1,
            "name": self.name,
            "hashes": sorted(self.hashes),
            "by": self.by,
            "at": self.at,
            "until": self.until,
        }


def check_name(name: str) -> str:
    """Raises ConfigurationError."""
    if not _NAME.match(name):
        raise ConfigurationError(
            f"{name!r} cannot be the name of a pin",
            remedy="use up to 100 lower-case letters, digits, dots, hyphens and underscores",
        )
    return name


def write_pin(store: ContentStore, name: str, hashes: Iterable[str], until: Optional[int] = None) -> Pin:
    """A pin of that name is replaced."""
    pin = Pin(check_name(name), frozenset(hashes), _somebody(), int(time.time()), until)
    if not pin.hashes:
        raise ConfigurationError(f"the pin {name} would pin nothing", remedy="name specs or a lock file")
    write_json_artifact(store, PIN_PREFIX + name, _MEDIA_TYPE, pin.to_dict())
    return pin


def find_pin(store: RepositoryReader, name: str) -> Optional[Pin]:
    """None: no pin of that name holds, or it cannot be read."""
    try:
        pin = _read_pin(store, check_name(name))
    except (NotFound, InvalidContent, DigestMismatch):
        return None
    return None if pin.is_over(time.time()) else pin


def read_pins(store: RepositoryReader, tags: Iterable[str]) -> List[Pin]:
    """Those among ``tags``. Two requests each. Raises InvalidContent for one that is none: a pin is not overlooked."""
    pins = []
    for _, outcome in read_each_pin(store, tags):
        if isinstance(outcome, ContentError):
            raise outcome
        pins.append(outcome)
    return pins


def read_each_pin(store: RepositoryReader, tags: Iterable[str]) -> Iterator[Tuple[str, Union[Pin, ContentError]]]:
    """(name, pin or what is wrong with it) of those among ``tags``."""
    for tag in sorted(tag for tag in tags if tag.startswith(PIN_PREFIX)):
        name = tag[len(PIN_PREFIX) :]
        try:
            yield name, _read_pin(store, name)
        except (NotFound, InvalidContent, DigestMismatch) as e:
            e.remedy = f"who wrote it mends it; `spack oci unpin {store.url} {name}` takes it away"
            yield name, e


def _read_pin(store: RepositoryReader, name: str) -> Pin:
    document = read_json_artifact(store, PIN_PREFIX + name, _MEDIA_TYPE, "pin")
    at, until = document.get("at") or 0, document.get("until")
    return Pin(name, frozenset(document["hashes"]), document.get("by") or "", at, until)


def remove_pin(store: ContentStore, name: str) -> None:
    """Where tags cannot be deleted, the pin gets an end that is over. Raises NotFound if there is none.

    Also of one that cannot be read, and whatever it is called: nobody could prune before it is gone.
    """
    tag = check_tag(PIN_PREFIX + name)
    try:
        store.resolve(tag)
    except NotFound:
        lists = f"`spack oci pins {shlex.quote(store.url)}` lists them"
        raise NotFound(f"{store.url} has no pin {name}", remedy=lists) from None
    try:
        old = _read_pin(store, name)
    except ContentError:
        old = Pin(name, frozenset())
    write_json_artifact(store, tag, _MEDIA_TYPE, Pin(name, old.hashes, old.by, old.at, 1).to_dict())


def _somebody() -> str:
    try:
        found = f"{getpass.getuser()}@{socket.gethostname()}"
    except (KeyError, OSError):  # a container without an entry for the user
        found = socket.gethostname()
    return found.encode("utf-8", "replace").decode()  # LOGNAME may hold any bytes
