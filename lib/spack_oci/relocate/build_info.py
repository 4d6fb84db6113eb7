# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""``.spack/binary_distribution``: where a package was built, and which of its files hold paths.

Spack writes the document as YAML in flow style (``{buildpath: /opt/spack, relocate_links: [lib/a, 'b: c']}``), we write
JSON, which is the same with quotes everywhere. This reader takes both, without a YAML library: a few thousand paths
cost that library a second.
"""

import json
import re
from typing import Any, Dict, List, Mapping, NamedTuple, Tuple

from ..errors import CorruptArchive

#: where the document is in a prefix
BUILD_INFO = ".spack/binary_distribution"

#: a document larger than this is refused; the largest seen (a compiler) has 200 kB
MAX_BUILD_INFO_SIZE = 64 << 20


class BuildInfo(NamedTuple):
    """Paths of the machine where the package was built; the lists hold paths relative to the prefix."""

    #: dag hash -> old prefix, of the package itself and of what it links and runs
    hash_to_prefix: Mapping[str, str]
    store_root: str
    sbang_path: str = ""
    #: old prefix relative to the old store root
    relative_prefix: str = ""
    text_files: Tuple[str, ...] = ()
    binaries: Tuple[str, ...] = ()
    links: Tuple[str, ...] = ()
    #: False: a file with several names may be in the lists several times
    hardlinks_deduped: bool = False

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> "BuildInfo":
        """Raises CorruptArchive for a document that does not have the shape that Spack writes."""
        prefixes = document.get("hash_to_prefix")
        if prefixes is None and isinstance(document.get("prefix_to_hash"), dict):  # Spack <= 0.19
            prefixes = {dag_hash: prefix for prefix, dag_hash in document["prefix_to_hash"].items()}
        if not isinstance(prefixes, dict) or not _all_text(prefixes.values()):
            raise CorruptArchive(
                f"{BUILD_INFO} does not say which prefixes the package was built with",
                remedy="it was made by a Spack older than 0.18; push it again with a newer one",
            )
        if not _is_text(document.get("buildpath")):
            raise CorruptArchive(f"{BUILD_INFO} does not name the store root")
        for key in ("sbang_install_path", "relative_prefix"):
            if document.get(key) and not _is_text(document[key]):
                raise CorruptArchive(f"{BUILD_INFO}: {key} is no path")
        lists = {key: document.get(key) or () for key in ("relocate_textfiles", "relocate_binaries", "relocate_links")}
        for key, value in lists.items():
            if not isinstance(value, (list, tuple)) or not _all_text(value):
                raise CorruptArchive(f"{BUILD_INFO}: {key} is not a list of paths")
        return cls(
            {str(dag_hash): prefix for dag_hash, prefix in prefixes.items()},
            document["buildpath"],
            document.get("sbang_install_path") or "",
            document.get("relative_prefix") or "",
            tuple(lists["relocate_textfiles"]),
            tuple(lists["relocate_binaries"]),
            tuple(lists["relocate_links"]),
            document.get("hardlinks_deduped") is True,
        )

    @classmethod
    def parse(cls, data: bytes) -> "BuildInfo":
        """From the bytes of the file. Raises CorruptArchive."""
        return cls.from_dict(parse_document(data))


def _is_text(value: Any) -> bool:
    """Something that can be a path."""
    if not isinstance(value, str) or not value or "\0" in value:
        return False
    try:
        value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # JSON can write half a character
        return False
    return True


def _all_text(values: Any) -> bool:
    return all(_is_text(value) for value in values)


def parse_document(data: bytes) -> Dict[str, Any]:
    """The mapping in JSON or flow style YAML. Raises CorruptArchive."""
    text = data.decode("utf-8", "surrogateescape")
    try:
        document = json.loads(text)
    except RecursionError as e:
        raise CorruptArchive(f"{BUILD_INFO} cannot be read: nested too deeply") from e
    except ValueError:
        document = _FlowReader(text).document()
    if not isinstance(document, dict):
        raise CorruptArchive(f"{BUILD_INFO} is not a mapping")
    return document


#: a plain scalar in a flow collection ends at ",", "]", "}", at ": " and at " #" (YAML 1.1, section 9.1.3)
_PLAIN = re.compile(
    r"(?:[^\s,\[\]{}:#]|:(?![\s,\[\]{}]|\Z)|(?<=\S)#|[ \t]+(?![\s,\[\]{}#:]|\Z)|[ \t]*\n[ \t]*(?=[^\s,\[\]{}#:]))+"
)
#: most of what a list holds: plain scalars with nothing unusual in them, each with its comma
_ITEM = re.compile(r"([A-Za-z0-9_./+@-]+),\s*")
_ITEMS = re.compile(rf"(?:{_ITEM.pattern})+")
#: and a mapping
_PAIR = re.compile(rf"([A-Za-z0-9_-]+):\s+{_ITEM.pattern}")
_PAIRS = re.compile(rf"(?:{_PAIR.pattern})+")
_SPACE = re.compile(r"\s*")
_SINGLE = re.compile(r"'((?:[^']|'')*)'")
_DOUBLE = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_ESCAPE = re.compile(r"\\(?:x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|(\r?\n[ \t]*)|(.))", re.DOTALL)
_FOLD = re.compile(r"[ \t]*\n[ \t]*")
_ESCAPED = {
    "0": "\0", "a": "\a", "b": "\b", "t": "\t", "n": "\n", "v": "\v", "f": "\f", "r": "\r", "e": "\x1b",
    " ": " ", "_": "\xa0", "N": "\x85", "L": "\u2028", "P": "\u2029",
}  # fmt: skip
_CONSTANTS = {"true": True, "false": False, "null": None, "~": None}
_MAX_DEPTH = 20


class _FlowReader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def document(self) -> Any:
        value = self._value(0)
        self._skip_space()
        if self._text[self._at :].strip() not in ("", "..."):
            self._fail("something follows the document")
        return value

    def _value(self, depth: int) -> Any:
        if depth > _MAX_DEPTH:
            self._fail("nested too deeply")
        start = self._peek()
        if start == "{":
            return self._mapping(depth)
        if start == "[":
            return self._sequence(depth)
        return self._scalar()

    def _mapping(self, depth: int) -> Dict[str, Any]:
        result = {}
        self._at += 1
        while self._peek() != "}":
            pairs = _PAIRS.match(self._text, self._at)
            if pairs:
                for key, text in _PAIR.findall(pairs.group()):
                    result[str(_CONSTANTS.get(key, key))] = _CONSTANTS.get(text, text)
                self._at = pairs.end()
                continue
            if self._peek() == "?":  # an "explicit key", which the writer uses for keys of more than 128 characters
                self._at += 1
                self._skip_space()
            key = self._scalar()
            if self._peek() != ":":
                self._fail("a key has no value")
            self._at += 1
            result[str(key)] = self._value(depth + 1)
            self._comma("}")
        self._at += 1
        return result

    def _sequence(self, depth: int) -> List[Any]:
        result = []
        self._at += 1
        while self._peek() != "]":
            items = _ITEMS.match(self._text, self._at)
            if items:
                result += [_CONSTANTS.get(text, text) for text in _ITEM.findall(items.group())]
                self._at = items.end()
            else:
                result.append(self._value(depth + 1))
                self._comma("]")
        self._at += 1
        return result

    def _comma(self, end: str) -> None:
        following = self._peek()
        if following == ",":
            self._at += 1
        elif following != end:
            self._fail(f"',' or '{end}' expected")

    def _scalar(self) -> Any:
        start = self._peek()
        if start == "'":
            return _fold(self._take(_SINGLE).group(1)).replace("''", "'")
        if start == '"':
            return _ESCAPE.sub(self._unescape, _fold(self._take(_DOUBLE).group(1)))
        text = _fold(self._take(_PLAIN).group().rstrip())
        return _CONSTANTS.get(text, text)

    def _unescape(self, match: "re.Match[str]") -> str:
        for group in (1, 2, 3):
            if match.group(group):
                code = int(match.group(group), 16)
                return chr(code) if code <= 0x10FFFF else self._fail("no such character")
        return "" if match.group(4) else _ESCAPED.get(match.group(5), match.group(5))

    def _take(self, pattern: "re.Pattern[str]") -> "re.Match[str]":
        match = pattern.match(self._text, self._at)
        if match is None:
            return self._fail("no value")
        self._at = match.end()
        return match

    def _peek(self) -> str:
        self._skip_space()
        return self._text[self._at : self._at + 1]

    def _skip_space(self) -> None:
        self._at = _SPACE.match(self._text, self._at).end()  # type: ignore[union-attr]

    def _fail(self, why: str) -> Any:
        raise CorruptArchive(f"{BUILD_INFO} cannot be read: {why} at character {self._at}")


def _fold(text: str) -> str:
    """A line break in a scalar stands for a space."""
    return _FOLD.sub(" ", text) if "\n" in text else text
