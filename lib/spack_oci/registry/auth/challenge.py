# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""``WWW-Authenticate`` (RFC 9110, 11.6.1), read as leniently as registries write it."""

import re
from typing import Dict, List, NamedTuple, Optional, Tuple

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_TOKEN68 = re.compile(r"[A-Za-z0-9\-._~+/]+=*(?=[ \t]*(?:,|\Z))")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"?', re.DOTALL)
_BARE = re.compile(r"[^\s,]*")
_BLANKS = re.compile(r"[ \t\r\n]*")
_SEPARATORS = re.compile(r"[ \t\r\n,]*")


class Challenge(NamedTuple):
    """One way to authenticate. ``scheme`` and the names of ``parameters`` are in lower case."""

    scheme: str
    parameters: Dict[str, str]

    @property
    def realm(self) -> str:
        return self.parameters.get("realm", "")

    @property
    def service(self) -> str:
        return self.parameters.get("service", "")

    @property
    def scopes(self) -> Tuple[str, ...]:
        """distribution-spec, token authentication: scopes are separated by blanks."""
        return tuple(self.parameters.get("scope", "").split())


def parse_challenges(header: str) -> List[Challenge]:
    """All challenges of one or more ``WWW-Authenticate`` fields joined by commas. What makes no sense is passed over.

    >>> parse_challenges('Bearer realm="https://a/t",scope="x:y:pull,push", Basic realm=b')[1].scheme
    'basic'
    """
    challenges: List[Challenge] = []
    position = _SEPARATORS.match(header, 0).end()  # type: ignore[union-attr]
    while position < len(header):
        word = _TOKEN.match(header, position)
        if not word:
            position += 1
            continue
        position = _BLANKS.match(header, word.end()).end()  # type: ignore[union-attr]
        if challenges and header.startswith("=", position):
            position = _read_value(header, position + 1, challenges[-1].parameters, word.group().lower())
        else:
            challenges.append(Challenge(word.group().lower(), {}))
            position = _skip_token68(header, position, word.end())
        position = _SEPARATORS.match(header, position).end()  # type: ignore[union-attr]
    return challenges


def _read_value(header: str, position: int, parameters: Dict[str, str], name: str) -> int:
    position = _BLANKS.match(header, position).end()  # type: ignore[union-attr]
    quoted = _QUOTED.match(header, position)
    match = quoted or _BARE.match(header, position)
    assert match is not None  # _BARE matches anything
    value = re.sub(r"\\(.)", r"\1", quoted.group(1), flags=re.DOTALL) if quoted else match.group()
    parameters.setdefault(name, value)
    return match.end()


def _skip_token68(header: str, position: int, end_of_scheme: int) -> int:
    """``Negotiate YII=``: a blob that is neither a parameter nor the next scheme."""
    match = _TOKEN68.match(header, position) if position > end_of_scheme else None
    return match.end() if match else position


def choose(challenges: List[Challenge], scheme: str) -> Optional[Challenge]:
    """The first challenge of ``scheme`` that has what it needs: a realm, for ``bearer``."""
    fitting = (c for c in challenges if c.scheme == scheme)
    return next((c for c in fitting if scheme != "bearer" or c.realm), None)
