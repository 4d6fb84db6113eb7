# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Versions in Spack's order, and sets of them: ranges, lists, and single ones (``=``).

Spack's rules (``spack.version.version_types``, the same from 1.0 to 1.2):

- A version is cut into numbers and words. A number is more than a word (``1.2`` > ``1.beta``), words compare as text.
- ``stable < nightly < trunk < head < master < main < develop`` are more than any number.
- ``alpha``, ``beta`` and ``rc`` at the end, with a number or without, come before the version that they lead to.
- ``1.2`` as a constraint means all that begin with it: from ``1.2`` up to the next, ``1.3``, without it. ``=1.2`` means
  itself alone; separators make no difference.
- ``git.REF=1.2`` is a commit that counts as ``1.2``, and as a little more than it in the order.
"""

import re
from dataclasses import dataclass, field
from functools import total_ordering
from typing import Any, Optional, Tuple, Union

from ..errors import InvalidSpec

_VALID = re.compile(r"[A-Za-z0-9_.-][=A-Za-z0-9_.-]*\Z")
_SEGMENT = re.compile(r"(?:(?P<number>[0-9]+)|(?P<word>[a-zA-Z]+))[_.-]*")
_COMMIT = re.compile(r"[0-9a-fA-F]{40}\Z")

#: versions that are more than any number, in their order
_DEVELOPING = ("stable", "nightly", "trunk", "head", "master", "main", "develop")
_ALPHA, _BETA, _CANDIDATE, _FINAL = range(4)
_PRERELEASES = {"alpha": _ALPHA, "beta": _BETA, "rc": _CANDIDATE, "final": _FINAL}

# a part of a version sorts as (kind, value)
_WORD, _NUMBER, _INFINITE = range(3)
_Part = Tuple[int, Any]
#: (parts, pre-release); Python compares these as Spack compares versions
Key = Tuple[Tuple[_Part, ...], Tuple[int, ...]]

_LOWEST: Key = ((), (_ALPHA,))
_HIGHEST: Key = (((_INFINITE, len(_DEVELOPING)),), (_FINAL,))


def _part(number: str, word: str) -> _Part:
    if number:
        return _NUMBER, int(number)
    return (_INFINITE, _DEVELOPING.index(word)) if word in _DEVELOPING else (_WORD, word)


def _key(text: str) -> Key:
    if not _VALID.match(text):
        raise InvalidSpec(f"not a version: {text!r}", remedy="letters, digits, '.', '-' and '_' make one, e.g. 1.2-rc1")
    segments = [(m["number"] or "", m["word"] or "") for m in _SEGMENT.finditer(text)]
    prerelease: Tuple[int, ...] = (_FINAL,)
    if len(segments) >= 3 and segments[-2][1] in _PRERELEASES and segments[-1][0]:
        prerelease = (_PRERELEASES[segments[-2][1]], int(segments[-1][0]))
        segments = segments[:-2]
    elif len(segments) >= 2 and segments[-1][1] in _PRERELEASES:
        prerelease = (_PRERELEASES[segments[-1][1]],)
        segments = segments[:-1]
    return tuple(_part(*segment) for segment in segments), prerelease


def _following(key: Key) -> Key:
    """The first one that does not begin with a version (Spack's ``_next_version``)."""
    parts, prerelease = key
    if prerelease[0] != _FINAL:
        return parts, (prerelease[0], prerelease[1] + 1 if len(prerelease) > 1 else 0)
    if not parts:
        return ((_WORD, "A"),), prerelease
    kind, value = parts[-1]
    return (*parts[:-1], (kind, _following_word(value) if kind == _WORD else value + 1)), prerelease


def _following_word(word: str) -> str:
    """The next of all strings of A-Z and a-z that is none of the words for what is being developed."""
    while True:
        if not word or word[-1] == "z":
            word += "A"
        else:
            word = word[:-1] + ("a" if word[-1] == "Z" else chr(ord(word[-1]) + 1))
        if word not in _DEVELOPING:
            return word


@total_ordering
@dataclass(frozen=True, eq=False)
class Version:
    """One version, as a node has it. ``Version.parse("1.2")``; compares as Spack's does.

    A commit whose version is not known (``git.main`` without ``=``) is less than all others: Spack would ask the
    package's repository.
    """

    text: str
    key: Key = field(repr=False)
    #: what follows ``git.``, or a commit; None for others
    reference: Optional[str] = None

    @classmethod
    def parse(cls, text: str) -> "Version":
        """Raises InvalidSpec."""
        if not _is_git(text):
            return cls(text, _key(text))
        reference, equals, known = text[4:].partition("=") if text.startswith("git.") else text.partition("=")
        if not reference or "=" in known or (equals and not known):
            raise InvalidSpec(f"not a version: {text!r}", remedy="write git.REFERENCE=VERSION")
        return cls(text, _key(known) if known else _LOWEST, reference)

    def __str__(self) -> str:
        return self.text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Version) and (self.key, self.reference) == (other.key, other.reference)

    def __hash__(self) -> int:
        return hash((self.key, self.reference))

    def __lt__(self, other: "Version") -> bool:
        return (self.key, self.reference or "") < (other.key, other.reference or "")

    @property
    def is_developing(self) -> bool:
        """``main``, ``1.2.develop``, ..."""
        return any(kind == _INFINITE for kind, _ in self.key[0])

    @property
    def is_prerelease(self) -> bool:
        return self.key[1][0] != _FINAL

    @property
    def preference(self) -> Tuple[bool, bool, "Version"]:
        """The larger, the sooner it is chosen when nobody asked for another: a release before what is being developed
        and before a pre-release (Spack's ``concretization_version_order``)."""
        return not self.is_developing, not self.is_prerelease, self


def _is_git(text: str) -> bool:
    return text.startswith("git.") or _COMMIT.match(text) is not None or "=" in text[1:]


@dataclass(frozen=True)
class VersionRange:
    """From ``low`` up to ``end``, without it."""

    low: Key
    end: Key

    def __contains__(self, version: Version) -> bool:
        return self.low <= version.key < self.end


@dataclass(frozen=True)
class ExactVersion:
    version: Version

    def __contains__(self, version: Version) -> bool:
        if self.version.reference is not None and self.version.key == _LOWEST:
            return version.reference == self.version.reference  # ``git.main`` without a version
        return version == self.version


@dataclass(frozen=True)
class VersionSet:
    """What follows ``@`` in a spec: a union of ranges and versions."""

    text: str
    members: Tuple[Union[VersionRange, ExactVersion], ...]

    @classmethod
    def parse(cls, text: str) -> "VersionSet":
        """``1.2``, ``1.2:1.4``, ``:3``, ``=1.2.3``, ``1.2:,=0.9``. Raises InvalidSpec, also for an empty range."""
        text = text.replace(" ", "")
        return cls(text, tuple(_member(member) for member in text.split(",")))

    def __contains__(self, version: Version) -> bool:
        return any(version in member for member in self.members)

    def __str__(self) -> str:
        return self.text


def _member(text: str) -> Union[VersionRange, ExactVersion]:
    if ":" in text:
        low, _, high = text.partition(":")
        if ":" in high:
            raise InvalidSpec(f"not a range of versions: {text!r}")
        return _range(_key(low) if low else _LOWEST, _key(high) if high else _HIGHEST, text)
    if text.startswith("="):
        return ExactVersion(Version.parse(text[1:]))
    if _is_git(text):
        return ExactVersion(Version.parse(text))
    key = _key(text)
    return _range(key, key, text)


def _range(low: Key, high: Key, text: str) -> VersionRange:
    end = _following(high)
    if end < low:
        raise InvalidSpec(f"no version is in {text}", remedy="the lower end of a range comes first")
    return VersionRange(low, end)
