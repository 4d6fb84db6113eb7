# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What can be wrong with the image that a user asks for, and can be known before anything is read or sent."""

from typing import Any, Callable, Dict, Sequence

from ...errors import ConfigurationError, InvalidReference
from ...image.manifest import EMPTY_BASE, Base, parse_environment
from ...image.runtime import RuntimeSettings, check_conflicts
from ...package.record import Package
from ...reference import check_tag


def check_image_tag(tag: str) -> str:
    """A tag for an image. Spack takes every tag that ends in ``.spack`` for a package."""
    check_tag(tag)
    if tag.endswith(".spack"):
        raise InvalidReference(
            f"an image cannot have the tag {tag}: Spack takes tags that end in .spack for packages",
            remedy="choose a tag with another end",
        )
    return tag


def check_roots(roots: Sequence[Any]) -> None:
    """Raise :class:`ConfigurationError` if there are none."""
    if not roots:
        raise ConfigurationError(
            "there is nothing to make an image of", remedy="name specs, or activate an environment with roots"
        )


def check_environment(
    roots: Sequence[Package],
    environment: Callable[[Dict[str, str]], Dict[str, str]],
    runtime: RuntimeSettings,
    base: Base = EMPTY_BASE,
) -> None:
    """Raise :class:`ImageError` if ``roots`` set a variable to different values and ``runtime`` does not decide.

    ``environment``: that of all roots together.
    """
    start = parse_environment(base.settings.get("Env") or ())
    separate = {root.label: root.environment(dict(start)) for root in roots}
    check_conflicts(start, separate, environment(dict(start)), runtime.env)
