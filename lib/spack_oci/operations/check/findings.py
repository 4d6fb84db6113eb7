# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What can be wrong with a cache, and what to do about it."""

import enum
from dataclasses import dataclass, field
from typing import Any, Dict, List, Sequence, Tuple

from ...errors import SpackOciError


class Level(enum.IntEnum):
    """How deep to look; each level includes those before it."""

    #: index against tags: some requests, and the pages of tags
    INDEX = 0
    #: manifest, config and signatures of each package: two requests and one for the signatures
    MANIFESTS = 1
    #: is every layer there: a HEAD request for each
    BLOBS = 2
    #: every package's layer is read and unpacked
    CONTENT = 3

    @property
    def has_blobs(self) -> bool:
        return self >= Level.BLOBS


class Kind(str, enum.Enum):
    """Part of the format of ``--json``."""

    #: there is no index, it cannot be read, or somebody has written ``index.spack`` without ours
    INDEX_UNUSABLE = "index-unusable"
    #: a package that the index lacks
    NOT_INDEXED = "not-indexed"
    #: a package of the index whose tag is gone
    GONE = "gone"
    #: the index says something else of a package than its tag
    INDEX_DIFFERS = "index-differs"
    #: manifest or config are not there, damaged, or no package
    UNREADABLE = "unreadable"
    #: something that it needs to run is not in the cache
    DEPENDENCY_MISSING = "dependency-missing"
    #: operating system or architecture of the config are not those of the spec
    PLATFORM_DIFFERS = "platform-differs"
    #: its own layer is not there: it cannot be installed
    LAYER_MISSING = "layer-missing"
    #: a layer of its image is not there: it can be installed, and not be pulled
    IMAGE_LAYER_MISSING = "image-layer-missing"
    #: its layer is not what its digest says, or no tarball of a package
    LAYER_DAMAGED = "layer-damaged"
    #: its layer has a member that no package has
    UNSAFE = "unsafe"
    #: a program or library needs a library that nothing it depends on has
    LIBRARY_MISSING = "library-missing"
    #: a library search path that leads nowhere
    SEARCH_PATH = "search-path"
    #: not signed as the policy asks, or a signature that cannot be read
    SIGNATURE = "signature"
    #: files that writers of a layout left behind when they were killed
    TEMPORARY_FILES = "temporary-files"
    #: it could not be looked at: no answer, not allowed
    NOT_CHECKED = "not-checked"


#: a package with one of these cannot be installed, whatever the reader does
BROKEN = frozenset({Kind.UNREADABLE, Kind.LAYER_MISSING, Kind.LAYER_DAMAGED, Kind.UNSAFE})

#: the index and the tags disagree
OF_THE_INDEX = frozenset({Kind.INDEX_UNUSABLE, Kind.NOT_INDEXED, Kind.GONE, Kind.INDEX_DIFFERS})


@dataclass(frozen=True)
class Finding:
    """``tag``: of the package; empty: of the cache as a whole. ``digest``: of the blob that it is about, if any."""

    kind: Kind
    tag: str
    message: str
    remedy: str
    digest: str = ""

    def __str__(self) -> str:
        return f"{self.message}; {self.remedy}" if self.remedy else self.message

    def to_dict(self) -> Dict[str, Any]:
        """For ``--json``."""
        return {
            "kind": self.kind.value,
            "tag": self.tag or None,
            "message": self.message,
            "remedy": self.remedy,
            "digest": self.digest or None,
        }


@dataclass(frozen=True)
class CheckedPackage:
    """``signed_by``: names of known keys that made a signature that holds, and ids of others that claim one."""

    tag: str
    manifest: str = ""
    signed_by: Tuple[str, ...] = ()

    def to_dict(self) -> Dict[str, Any]:
        """For ``--json``."""
        return {"tag": self.tag, "manifest": self.manifest or None, "signed_by": list(self.signed_by)}


@dataclass(frozen=True)
class Verification:
    """``total``: packages that were asked for, of which those in ``packages`` were looked at."""

    url: str
    level: Level
    total: int
    packages: Sequence[CheckedPackage] = ()
    findings: List[Finding] = field(default_factory=list)

    def failed_tags(self) -> List[str]:
        return sorted({finding.tag for finding in self.findings if finding.tag})

    def of(self, *kinds: Kind) -> List[Finding]:
        return [finding for finding in self.findings if finding.kind in kinds]

    def to_dict(self) -> Dict[str, Any]:
        """For ``--json``."""
        return {
            "mirror": self.url,
            "level": self.level.name.lower(),
            "total": self.total,
            "packages": [package.to_dict() for package in self.packages],
            "findings": [finding.to_dict() for finding in self.findings],
            "failed": len(self.failed_tags()),
        }


def finding_of(kind: Kind, tag: str, error: SpackOciError, remedy: str = "", digest: str = "") -> Finding:
    """What an error means. ``remedy``: where the error has none."""
    return Finding(kind, tag, error.message, error.remedy or remedy, digest)
