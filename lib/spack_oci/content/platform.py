# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Platforms as Go and the image-spec name them, and which image of an index serves which platform."""

from dataclasses import dataclass
from typing import Any, Mapping, Optional, Sequence, Tuple

from ..errors import ImageError, InvalidReference

#: variants of an architecture from the oldest to the newest; a machine runs its own and what stands before it.
#: image-spec, image-index.md, "Platform Variants"; amd64 after Go's GOAMD64 and the x86-64 psABI's levels
_VARIANTS = {
    "amd64": ("v1", "v2", "v3", "v4"),
    "arm": ("v5", "v6", "v7", "v8"),
    "arm64": ("v8",),
    "ppc64le": ("power8", "power9", "power10"),
}
#: what an image without variant is
_IMPLIED = {"amd64": "v1", "arm": "v7", "arm64": "v8", "ppc64le": "power8"}
_OSES = frozenset(("linux", "darwin", "windows", "freebsd"))
_ARCHITECTURES = frozenset(
    ("386", "amd64", "arm", "arm64", "loong64", "mips64le", "ppc64", "ppc64le", "riscv64", "s390x")
)
#: names of Spack's (and archspec's) families that Go has others for
_GO = {"aarch64": "arm64", "x86_64": "amd64"}


def go_architecture(family: str) -> str:
    """``x86_64`` -> ``amd64``."""
    return _GO.get(family, family)


@dataclass(frozen=True)
class Platform:
    """``Platform("linux", "amd64", "v3")``. Without variant: the architecture's common baseline."""

    os: str
    architecture: str
    variant: Optional[str] = None

    @classmethod
    def parse(cls, text: str) -> "Platform":
        """``os/architecture[/variant]``."""
        parts = text.split("/")
        if len(parts) not in (2, 3) or not all(parts):
            raise InvalidReference(f"not a platform: {text!r}", remedy="write it as linux/amd64 or linux/arm64/v8")
        return cls(*parts)

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Optional["Platform"]:
        """Of the ``platform`` of a descriptor, or of a config. None if it does not say, or says "unknown"."""
        os, architecture, variant = (document.get(key) for key in ("os", "architecture", "variant"))
        if not (isinstance(os, str) and isinstance(architecture, str)) or "unknown" in (os, architecture):
            return None
        return cls(os, architecture, variant if isinstance(variant, str) and variant else None)

    def to_document(self) -> Mapping[str, str]:
        document = {"architecture": self.architecture, "os": self.os}
        if self.variant:
            document["variant"] = self.variant
        return document

    @property
    def is_known(self) -> bool:
        """Whether these are names of Go (https://go.dev/doc/install/source#environment)."""
        variants = _VARIANTS.get(self.architecture, ())
        known_variant = self.variant is None or self.variant in variants
        return self.os in _OSES and self.architecture in _ARCHITECTURES and known_variant

    @property
    def pair(self) -> Tuple[str, str]:
        return self.os, self.architecture

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)

    def rank_for(self, wanted: "Platform") -> Optional[int]:
        """How well an image of this platform serves ``wanted``: the higher the better, None: it does not run there."""
        if self.pair != wanted.pair:
            return None
        order = _VARIANTS.get(self.architecture, ())
        mine = self.variant or _IMPLIED.get(self.architecture)
        asked = wanted.variant or _IMPLIED.get(self.architecture)
        if mine == asked:
            return len(order)
        if mine in order and asked in order and order.index(mine) < order.index(asked):
            return order.index(mine)
        return None


def variants_of(architecture: str) -> Sequence[str]:
    """From the oldest to the newest."""
    return _VARIANTS.get(architecture, ())


def select(candidates: Sequence[Tuple[Platform, Any]], wanted: Platform, label: str) -> Any:
    """The value whose platform serves ``wanted`` best, the first of equals; ``label``: the index, for the error.

    Raises :class:`ImageError` that lists what there is.
    """
    ranked = [(platform.rank_for(wanted), value) for platform, value in candidates]
    fitting = [(rank, value) for rank, value in ranked if rank is not None]
    if fitting:
        return max(fitting, key=lambda pair: pair[0])[1]
    there = ", ".join(sorted({str(platform) for platform, _ in candidates})) or "no platform at all"
    raise ImageError(
        f"{label} has no image for {wanted}, only for {there}", remedy="choose a base image of the packages' platform"
    )
