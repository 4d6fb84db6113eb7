# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Descriptors (image-spec, descriptor.md), digests, media types, and a reader that verifies while it reads."""

import hashlib
import json
import re
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Callable, Dict, List, Mapping, Optional, Union

from .errors import DigestMismatch, InvalidContent, InvalidReference

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
OCI_LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
OCI_LAYER_ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"
OCI_EMPTY = "application/vnd.oci.empty.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER_GZIP = "application/vnd.docker.image.rootfs.diff.tar.gzip"

MANIFEST_TYPES = (OCI_MANIFEST, DOCKER_MANIFEST)
INDEX_TYPES = (OCI_INDEX, DOCKER_INDEX)

#: bytes; sizes are signed 64 bit integers (image-spec, descriptor.md)
_MAX_SIZE = (1 << 63) - 1
_LONGEST_SHOWN = 200
_DIGEST = re.compile(r"(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})\Z")

_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def check_digest(digest: str) -> str:
    """Return ``digest`` if it is ``sha256:<64 hex>`` or ``sha512:<128 hex>``, else raise :class:`InvalidReference`."""
    if not isinstance(digest, str) or _DIGEST.match(digest) is None:
        shown = str(digest)[:_LONGEST_SHOWN]  # it may be of others, and of any length
        raise InvalidReference(f"not a digest: {shown!r}", remedy="a digest looks like sha256:<64 hexadecimal digits>")
    return digest


def hasher_for(digest: str) -> Any:
    """A new ``hashlib`` object of the algorithm of ``digest``."""
    return hashlib.new(check_digest(digest).partition(":")[0])


def sha256_digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def canonical_json(document: Any) -> bytes:
    """The bytes of ``document`` that every document of ours has: UTF-8, no spaces, keys in the order given."""
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode("utf-8")


def is_string_map(value: Any) -> bool:
    """Whether it is what annotations and labels are: strings to strings."""
    return isinstance(value, Mapping) and all(isinstance(k, str) and isinstance(v, str) for k, v in value.items())


def parse_json(
    data: bytes, label: str, object_hook: Optional[Callable[[Dict[str, Any]], Any]] = None
) -> Dict[str, Any]:
    """The JSON object in ``data``; :class:`InvalidContent` that names ``label`` if it is none.

    ``object_hook``: as of :func:`json.loads`.

    Half of a surrogate pair, which JSON can escape and UTF-8 cannot express, is no text: it could not be written again.
    """
    try:
        document = json.loads(data, object_hook=object_hook)
        if _SURROGATE.search(data):
            json.dumps(json.loads(data), ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError) as e:
        raise InvalidContent(f"{label} is not JSON: {e}") from e
    if not isinstance(document, dict):
        raise InvalidContent(f"{label} is not a JSON object")
    return document


@dataclass(frozen=True)
class Descriptor:
    """What a piece of content is: media type, digest, size in bytes."""

    media_type: str
    digest: str
    size: int
    annotations: Mapping[str, str] = field(default_factory=dict, compare=False)
    platform: Optional[Mapping[str, Any]] = field(default=None, compare=False)
    artifact_type: Optional[str] = field(default=None, compare=False)

    def __post_init__(self) -> None:
        check_digest(self.digest)
        if type(self.size) is not int or not 0 <= self.size <= _MAX_SIZE:
            raise InvalidContent(f"descriptor of {self.digest} has no valid size: {str(self.size)[:40]!r}")
        if not isinstance(self.media_type, str):
            raise InvalidContent(f"descriptor of {self.digest} has no media type")
        if self.annotations and not is_string_map(self.annotations):
            raise InvalidContent(f"descriptor of {self.digest} has annotations that are no strings")
        if self.platform is not None and not isinstance(self.platform, Mapping):
            raise InvalidContent(f"descriptor of {self.digest} has no valid platform")
        if self.artifact_type is not None and not isinstance(self.artifact_type, str):
            raise InvalidContent(f"descriptor of {self.digest} has no valid artifact type")

    @classmethod
    def of(cls, data: bytes, media_type: str, **kwargs: Any) -> "Descriptor":
        return cls(media_type, sha256_digest(data), len(data), **kwargs)

    @property
    def bare(self) -> "Descriptor":
        """Media type, digest and size alone."""
        if not self.annotations and self.platform is None and self.artifact_type is None:
            return self
        return Descriptor(self.media_type, self.digest, self.size)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Descriptor":
        try:
            return cls(
                data["mediaType"],
                data["digest"],
                data["size"],
                data.get("annotations") or {},
                data.get("platform"),
                data.get("artifactType"),
            )
        except (KeyError, TypeError, AttributeError, InvalidReference) as e:
            raise InvalidContent(f"not a descriptor ({type(e).__name__}: {e}): {str(data)[:_LONGEST_SHOWN]}") from e

    def to_dict(self) -> Dict[str, Any]:
        result: Dict[str, Any] = {"mediaType": self.media_type, "digest": self.digest, "size": self.size}
        if self.artifact_type:
            result["artifactType"] = self.artifact_type
        if self.platform:
            result["platform"] = dict(self.platform)
        if self.annotations:
            result["annotations"] = dict(self.annotations)
        return result


class VerifyingReader:
    """Reads a stream and raises :class:`DigestMismatch` at the latest with its last byte.

    ``read`` never returns the end of the content (an empty read, or ``read(-1)``) before digest and size were checked,
    and never more bytes than the descriptor says. ``readinto`` needs a stream that has it.
    """

    def __init__(
        self,
        stream: BinaryIO,
        descriptor: Descriptor,
        source: str = "",
        remedy: Callable[[], Optional[str]] = lambda: None,
    ) -> None:
        """``remedy``: where something is known of what may have damaged the content; None: nothing is."""
        self._stream = stream
        self._remedy = remedy
        self._descriptor = descriptor
        self._source = source
        self._hasher = hasher_for(descriptor.digest)
        self._seen = 0
        self._checked = False

    def read(self, size: int = -1) -> bytes:
        if size is None or size < 0:
            chunks: List[bytes] = []
            while True:
                chunk = self.read(1 << 20)
                if not chunk:
                    return b"".join(chunks)
                chunks.append(chunk)
        chunk = self._stream.read(min(size, self._most()))
        self._take(chunk, size)
        return chunk

    def readinto(self, buffer: Any) -> int:
        """As :meth:`read`, without a copy: the bytes at the start of ``buffer`` that were read, 0 at the end.

        After an error, what ``buffer`` holds is nothing to be used.
        """
        view = memoryview(buffer).cast("B")
        count: int = self._stream.readinto(view[: self._most()])  # type: ignore[attr-defined]
        self._take(view[:count], len(view))
        return count

    def _most(self) -> int:
        """One byte beyond the end, so that content that is too long does not pass for the right one."""
        return self._descriptor.size - self._seen + 1

    def _take(self, chunk: Union[bytes, memoryview], wanted: int) -> None:
        self._seen += len(chunk)
        if self._seen > self._descriptor.size:
            self._fail(f"more than {self._descriptor.size} bytes")
        self._hasher.update(chunk)
        if wanted and (not chunk or self._seen == self._descriptor.size):
            self._check()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        """Who sends the rest of a blob asks whether the first part can be skipped: what is skipped is not verified."""
        return False

    def _check(self) -> None:
        if self._checked:
            return
        if self._seen < self._descriptor.size:
            self._fail(f"{self._seen} bytes")
        if self._stream.read(1):
            self._fail(f"more than {self._descriptor.size} bytes")
        found = f"{self._hasher.name}:{self._hasher.hexdigest()}"
        if found != self._descriptor.digest:
            self._fail(f"the digest {found}")
        self._checked = True

    def _fail(self, found: str) -> None:
        where = f" from {self._source}" if self._source else ""
        message = f"{self._descriptor.digest} ({self._descriptor.size} bytes){where} came back with {found}"
        raise DigestMismatch(message, remedy=self._remedy())

    def close(self) -> None:
        self._stream.close()

    def __enter__(self) -> "VerifyingReader":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()
