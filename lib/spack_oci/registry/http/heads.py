# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Heads of HTTP/1.1 messages (RFC 9112), written and read at once.

The standard library takes the fields of an answer apart with its parser for electronic mail, and writes those of a
request one by one: together half of what a small request costs. Here is what nearly every message looks like; whatever
else a server may send is left to ``http.client``.
"""

import http.client
import re
from typing import Any, Dict, Iterable, List, Mapping, NamedTuple, Optional, Tuple

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
#: not an interim answer, which another follows
_STATUS = re.compile(rb"HTTP/1\.1 ([2-5][0-9]{2})(?: ([\t\x20-\x7e\x80-\xff]*))?\r\n")
#: no obsolete line folding, which would begin with a blank
_FIELDS = re.compile(rf"(?:{_TOKEN}:[\t\x20-\x7e\x80-\xff]*\r\n)*\r\n".encode("ascii"))
#: http.client's limit, which tells of more
_MOST_FIELDS = 100
_NUMBER = re.compile(r"[0-9]{1,18}\Z")

_NOT_IN_TARGET = re.compile(r"[^\x21-\x7e]")
_NOT_IN_FIELD = re.compile(r"[\r\n\0]")
_EXPECT_BODY = ("PATCH", "POST", "PUT")


class Fields:
    """Header fields; names in any case. Blanks around a value are not part of it (RFC 9112, 5.1)."""

    def __init__(self, pairs: Iterable[Tuple[str, str]]) -> None:
        self._values: Dict[str, List[str]] = {}
        for name, value in pairs:
            self._values.setdefault(name.lower(), []).append(value.strip(" \t"))

    def get(self, name: str, default: Any = None) -> Any:
        """The first of that name."""
        found = self._values.get(name.lower())
        return found[0] if found else default

    def get_all(self, name: str) -> List[str]:
        return self._values.get(name.lower(), [])


class Head(NamedTuple):
    """``size``: bytes of the head; ``length``: of the body, if it is said; ``closes``: no other answer follows."""

    size: int
    status: int
    reason: str
    fields: Fields
    length: Optional[int]
    chunked: bool
    closes: bool


def parse_head(data: bytes) -> Optional[Head]:
    """The head of the answer that ``data`` begins with; None if it is not all there, or unusual."""
    status = _STATUS.match(data)
    fields = _FIELDS.match(data, status.end()) if status else None
    if status is None or fields is None:
        return None
    lines = data[status.end() : fields.end() - 4].decode("latin-1").split("\r\n") if len(fields[0]) > 2 else []
    named = Fields([line.partition(":")[::2] for line in lines])
    lengths, encodings = named.get_all("Content-Length"), named.get_all("Transfer-Encoding")
    # twice, both or no number: that is for http.client to judge
    if len(lines) > _MOST_FIELDS or len(lengths) + len(encodings) > 1 or not all(map(_NUMBER.match, lengths)):
        return None
    return Head(
        size=fields.end(),
        status=int(status[1]),
        reason=(status[2] or b"").decode("latin-1").strip(),
        fields=named,
        length=int(lengths[0]) if lengths else None,
        chunked=bool(encodings) and encodings[0].lower() == "chunked",
        closes="close" in "".join(named.get_all("Connection")).lower(),
    )


def request_head(method: str, target: str, host: str, fields: Mapping[str, str], length: int) -> bytes:
    """The head of a request. ``length``: of the body, which ``fields`` need not say.

    Raises, as http.client does, InvalidURL and ValueError for a target or field that would end before its end.
    """
    if _NOT_IN_TARGET.search(target):
        raise http.client.InvalidURL(f"{target!r} cannot be asked for")
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", "Accept-Encoding: identity"]
    lines += [f"{name}: {value}" for name, value in fields.items()]
    if "Content-Length" not in fields and (length or method in _EXPECT_BODY):
        lines.append(f"Content-Length: {length}")
    for line in lines:
        if _NOT_IN_FIELD.search(line):  # the value may be a secret
            raise ValueError(f"{method} {target}: {line.partition(':')[0]!r} has an invalid value")
    return "\r\n".join([*lines, "", ""]).encode("latin-1")
