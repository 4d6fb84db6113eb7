# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The bytes of ``index.json``: reading all of its entries, or that of one tag, and writing them.

A cache of 100,000 packages has 26 MB there, and each command reads it anew. In the form that we write, and other tools
do that write no spaces, an entry is recognized by one regular expression, which takes a quarter of the time of a JSON
parser that makes objects of it; and to find one tag takes a hundredth. Whatever is in another form is left to the JSON
parser, as is everything that is wrong: it knows how to say so.
"""

import json
import re
import sys
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Optional, Tuple, Union

from ..descriptor import OCI_INDEX, Descriptor, parse_json
from ..errors import InvalidContent
from ..util.schemas import validate

REF_NAME = "org.opencontainers.image.ref.name"

#: an entry of ``index.json``
Entry = Mapping[str, Any]
Entries = List[Entry]


class TaggedEntry(Mapping[str, Any]):
    """An entry as we write it for a tag: a hundred thousand of them as dictionaries take twice as much memory."""

    __slots__ = ("_size", "_type", "digest", "tag")

    def __init__(self, media_type: str, digest: str, size: int, tag: str) -> None:
        # tag and digest are also in the index and, for a copy, in the table and index of the other cache
        self._type, self.digest, self.tag = map(sys.intern, (media_type, digest, tag))
        self._size = size

    def to_dict(self) -> Dict[str, Any]:
        annotations = {REF_NAME: self.tag}
        return {"mediaType": self._type, "digest": self.digest, "size": self._size, "annotations": annotations}

    def to_json(self) -> str:
        """Nothing in it has to be escaped: only what :data:`_ENTRY` matches is made an entry of this class."""
        return (
            f'{{"mediaType":"{self._type}","digest":"{self.digest}","size":{self._size},'
            f'"annotations":{{"{REF_NAME}":"{self.tag}"}}}}'
        )

    def __getitem__(self, key: str) -> Any:
        return self.digest if key == "digest" else self.to_dict()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(_MEMBERS)

    def __len__(self) -> int:
        return len(_MEMBERS)


_MEMBERS = ("mediaType", "digest", "size", "annotations")


class Index(NamedTuple):
    """``document``: the whole of ``index.json``, with its entries under ``manifests``. ``tagged``: tag -> entry; of
    several entries with one tag the first, as skopeo takes it."""

    document: Dict[str, Any]
    tagged: Dict[str, Entry]


def tag_of(entry: Entry) -> Optional[str]:
    if isinstance(entry, TaggedEntry):
        return entry.tag
    return (entry.get("annotations") or {}).get(REF_NAME)


def index_json(previous: Dict[str, Any], entries: Entries) -> bytes:
    """Sorted, so that its bytes do not depend on the order in which packages were pushed."""
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, **previous, "manifests": None}
    pieces: List[bytes] = []
    for key, value in document.items():
        pieces += [b"," if pieces else b"{", _dumps(key), b":"]
        pieces += _listed(entries) if key == "manifests" else [_dumps(value)]
    return b"".join([*pieces, b"}"])


def _listed(entries: Entries) -> Iterator[bytes]:
    yield b"["
    for number, entry in enumerate(sorted(entries, key=lambda e: (tag_of(e) or "", e["digest"]))):
        if number:
            yield b","
        yield entry.to_json().encode() if isinstance(entry, TaggedEntry) else _dumps(entry)
    yield b"]"


def _dumps(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def parse_index(data: bytes, url: str) -> Index:
    """Raises InvalidContent that names the layout, and the entry that is no descriptor."""
    label = f"index.json of {url}"
    document = _parse_compact(data) or _parse(data, label)
    tagged: Dict[str, Entry] = {}
    for entry in document.get("manifests") or ():
        tag = entry.tag if isinstance(entry, TaggedEntry) else _checked_tag(entry, label)
        if tag is not None:
            tagged.setdefault(tag, entry)
    return Index(document, tagged)


def _checked_tag(entry: Entry, label: str) -> Optional[str]:
    try:
        Descriptor.from_dict(entry)
        return tag_of(entry)
    except (InvalidContent, AttributeError) as e:
        raise InvalidContent(f"{label} has an entry that is no descriptor: {str(entry)[:200]}") from e


# --- in the form that we write

#: how it begins: as we write it, and as Go's image-spec does without a media type
_HEADS = tuple(
    (head + '"manifests":[').encode()
    for head in (f'{{"schemaVersion":2,"mediaType":"{OCI_INDEX}",', '{"schemaVersion":2,')
)
_TYPE = rb'"mediaType":"([\w.+/-]+)","digest":"(sha256:[0-9a-f]{64})","size":(0|[1-9]\d{0,17}),'
_TAG = rb'"annotations":\{"%s":"([\w.-]+)"\}' % re.escape(REF_NAME).encode()
#: an entry with a tag; nothing in it is escaped
_ENTRY = re.compile(rb"\{%s%s\}" % (_TYPE, _TAG))
#: the same of an artifact, such as an index of packages
_ANY_ENTRY = re.compile(rb'\{%s(?:"artifactType":"[\w.+/-]+",)?%s\}' % (_TYPE, _TAG))
#: bytes that are enough for such an entry without its tag, and for any other
_SHORT, _LONG = 512, 4096


class _AnotherForm(Exception):
    """The document has to be read by a JSON parser."""


def _head_of(data: bytes) -> bytes:
    for head in _HEADS:
        if data.startswith(head):
            return head
    raise _AnotherForm


def _entries(data: bytes) -> "Iterator[Union[re.Match[bytes], Dict[str, Any]]]":
    """One after the other, in a document in that form: a match of an entry with a tag, else an object. Raises
    _AnotherForm, perhaps at the end."""
    position = len(_head_of(data))
    while True:
        found = _ENTRY.match(data, position)
        if found is not None:
            position = found.end()
            yield found
        else:
            other, length = _other_entry(data[position : position + _LONG])
            position += length
            yield other
        if not data.startswith(b",", position):
            break
        position += 1
    if data[position:].rstrip() != b"]}":
        raise _AnotherForm


def _tagged(found: "re.Match[bytes]") -> TaggedEntry:
    media_type, digest, size, tag = found.groups()
    return TaggedEntry(media_type.decode(), digest.decode(), int(size), tag.decode())


def _parse_compact(data: bytes) -> Optional[Dict[str, Any]]:
    """What :func:`_parse` would return, if the document is in that form; else None."""
    try:
        entries = [found if isinstance(found, dict) else _tagged(found) for found in _entries(data)]
        return {**json.loads(_head_of(data) + b"]}"), "manifests": entries}
    except _AnotherForm:
        return None


def entries_besides(data: bytes, endings: Tuple[str, ...]) -> Optional[Entries]:
    """Those whose tags do not end so, and those without a tag, of a document in that form; else None."""
    ends = tuple(ending.encode() for ending in endings)
    kept: Entries = []
    try:
        for found in _entries(data):
            if not isinstance(found, dict):
                if not found[4].endswith(ends):
                    kept.append(_tagged(found))
            elif not (_checked_tag(found, "") or "").endswith(endings):
                kept.append(found)
    except (_AnotherForm, InvalidContent):
        return None
    return kept


def _other_entry(data: bytes) -> Tuple[Dict[str, Any], int]:
    """A JSON object at the beginning of ``data``, and its length. Raises _AnotherForm: there is none, or one that needs
    a closer look: half of a surrogate pair is no text."""
    try:
        entry, length = _DECODER.raw_decode(data.decode("ascii"))
    except (ValueError, RecursionError):
        raise _AnotherForm from None
    if not isinstance(entry, dict) or b"\\u" in data[:length]:
        raise _AnotherForm
    return entry, length


_DECODER = json.JSONDecoder()


class Lookup(NamedTuple):
    """``entry``: the one of a tag, or None: there is none."""

    entry: Optional[Entry]


def look_up(data: bytes, tag: str) -> Optional[Lookup]:
    """A tag in a document in that form, of which nothing else is looked at. None: it has to be parsed to tell.

    In JSON, the tag with its name and their quotation marks can only be a member of an object, and its value. Where
    they stand for the first time, the object has to be an entry in that form. A tag that is not there in quotation
    marks is nowhere, if there are no escapes.
    """
    if not data.startswith(_HEADS):
        return None
    position = data.find(f'"{REF_NAME}":"{tag}"'.encode())
    if position < 0:
        return None if f'"{tag}"'.encode() in data or b"\\" in data else Lookup(None)
    begin = data.rfind(b'{"mediaType":', max(0, position - _SHORT), position)
    found = _ANY_ENTRY.match(data, begin) if begin > 0 else None
    if found is None or found[4] != tag.encode() or data[begin - 1 : begin] not in (b"[", b","):
        return None
    return Lookup(json.loads(found[0]))


# --- in any form


def _parse(data: bytes, label: str) -> Dict[str, Any]:
    document = parse_json(data, label, _compact)
    if not _is_plain(document):
        document = parse_json(data, label)
        validate(document, "layout-index", label)
    return document


def _compact(data: Dict[str, Any]) -> Entry:
    """An object of ``index.json``; as it is, if it is no entry as we write it."""
    annotations = data.get("annotations")
    if len(data) != len(_MEMBERS) or not isinstance(annotations, dict) or len(annotations) != 1:
        return data
    values: List[Any] = [data.get("mediaType"), data.get("digest"), data.get("size"), annotations.get(REF_NAME)]
    if list(map(type, values)) != [str, str, int, str]:
        return data
    entry = TaggedEntry(*values)
    return entry if _ENTRY.fullmatch(entry.to_json().encode()) else data


def _is_plain(document: Dict[str, Any]) -> bool:
    """Has what we write and no more; then the check of each entry is enough. To import what validates schemas takes as
    long as the rest of a command that only lists."""
    entries = document.get("manifests")
    return (
        document.keys() <= {"schemaVersion", "mediaType", "manifests"}
        and document.get("schemaVersion") == 2
        and document.get("mediaType", OCI_INDEX) == OCI_INDEX
        and isinstance(entries, list)
        and all(isinstance(entry, (dict, TaggedEntry)) for entry in entries)
    )
