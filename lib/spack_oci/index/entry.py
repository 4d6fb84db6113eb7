# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What the package index knows of one package besides its spec: where its content is, what relocation will meet."""

from typing import Any, Dict, Mapping, NamedTuple, Optional

from ..descriptor import Descriptor, canonical_json, check_digest
from ..errors import InvalidContent, InvalidReference
from ..reference import check_tag


class PackageEntry(NamedTuple):
    """Sizes in bytes; ``None`` and ``False``: not known."""

    tag: str
    manifest: Descriptor
    #: the package's own layer: the last of the manifest
    layer: Descriptor
    #: digest of the uncompressed layer
    diff_id: Optional[str] = None
    #: length of the install prefix that the package was built for; a new prefix up to it always fits
    prefix_length: Optional[int] = None
    #: what the pusher recorded for relocation: name -> number
    relocation: Mapping[str, int] = {}
    #: version of the program that pushed it
    pusher: Optional[str] = None
    #: an SPDX expression, as the manifest has it
    licenses: Optional[str] = None
    #: a signature was seen in the tags, or reported by the pusher
    signed: bool = False

    def to_dict(self) -> Dict[str, Any]:
        result: Dict[str, Any] = {
            "tag": self.tag,
            "manifest": _bare(self.manifest),
            "layer": _bare(self.layer),
        }
        for key in ("diff_id", "prefix_length", "pusher", "licenses"):
            value = getattr(self, key)
            if value is not None:
                result[key] = value
        if self.relocation:
            result["relocation"] = dict(sorted(self.relocation.items()))
        result["signed"] = self.signed
        return result

    def check(self) -> None:
        """Raises InvalidContent if an index with this entry could not be read again."""
        try:
            canonical_json(self.to_dict())
        except ValueError as e:  # a lone surrogate in an annotation
            raise InvalidContent(f"{self.tag} has annotations that cannot be written as JSON: {e}") from None
        self.from_dict(self.to_dict())

    @classmethod
    def from_dict(cls, data: Any) -> "PackageEntry":
        """Raises InvalidContent if any member has another type than ``config_schema/index.json`` says."""
        try:
            diff_id = data.get("diff_id")
            return cls(
                tag=check_tag(data["tag"]),
                manifest=Descriptor.from_dict(data["manifest"]),
                layer=Descriptor.from_dict(data["layer"]),
                diff_id=None if diff_id is None else check_digest(diff_id),
                prefix_length=_count(data.get("prefix_length")),
                relocation={str(name): _number(value) for name, value in data.get("relocation", {}).items()},
                pusher=_text(data.get("pusher")),
                licenses=_text(data.get("licenses")),
                signed=_flag(data["signed"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError, InvalidReference) as e:
            message = f"the package index has an entry that cannot be read ({type(e).__name__}: {ascii(e)[:200]})"
            raise InvalidContent(message) from None


def _number(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise TypeError(f"not a number: {value!r:.40}")
    return value


def _count(value: Any) -> Optional[int]:
    return None if value is None else _number(value)


def _text(value: Any) -> Optional[str]:
    if value is not None and not isinstance(value, str):
        raise TypeError(f"not a text: {value!r:.40}")
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"not true or false: {value!r:.40}")
    return value


def _bare(descriptor: Descriptor) -> Dict[str, Any]:
    return {"mediaType": descriptor.media_type, "digest": descriptor.digest, "size": descriptor.size}
