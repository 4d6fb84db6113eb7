# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What a user says of images. Apart from what makes them (``images``), which a push of packages needs not import."""

from typing import Any, Mapping, NamedTuple, Optional, Sequence

from ...errors import ConfigurationError
from ...image import layers
from ...image.exclusions import BUILD_INFO, Exclusions
from ...image.runtime import RuntimeSettings
from ...operations.images import checks
from ..configuration import settings


class ImageOptions(NamedTuple):
    """What a user asked for; :func:`options` adds the configuration."""

    base_image: Optional[str] = None
    tags: Sequence[str] = ()
    runtime: RuntimeSettings = RuntimeSettings()
    max_layers: int = layers.DEFAULT_MAX_LAYERS
    strategy: layers.Strategy = layers.VOLATILITY
    squash: bool = False
    exclusions: Exclusions = Exclusions()
    multi_arch: bool = False
    skip_libc_check: bool = False
    views: bool = True
    #: the roots do not contradict each other
    checked: bool = False


def options(
    *,
    base_image: Optional[str] = None,
    tags: Sequence[str] = (),
    runtime: Optional[RuntimeSettings] = None,
    strategy: Optional[str] = None,
    squash: bool = False,
    strip_build_info: bool = False,
    exclude: Sequence[str] = (),
    multi_arch: bool = False,
    skip_libc_check: bool = False,
) -> ImageOptions:
    """Options of a command line on top of ``oci:base_image``, ``oci:max_layers`` and ``oci:image``."""
    configured = settings.read()
    section = configured.image
    for tag in tags:
        checks.check_image_tag(tag)
    patterns = (*(section.get("exclude") or ()), *exclude, *(BUILD_INFO if strip_build_info else ()))
    made = ImageOptions(
        base_image=base_image if base_image is not None else configured.base_image or None,
        tags=tuple(tags),
        runtime=(runtime or RuntimeSettings()).over(_configured_runtime(section)),
        max_layers=configured.max_layers,
        strategy=layers.strategy_named(strategy or section["strategy"]),
        squash=squash,
        exclusions=Exclusions(patterns),
        multi_arch=multi_arch,
        skip_libc_check=skip_libc_check,
        views=section["view"],
    )
    if not tags and (runtime not in (None, RuntimeSettings()) or squash or strip_build_info or exclude or multi_arch):
        raise ConfigurationError(
            "entrypoint, env, squash and the like are for the image of an environment, and none is asked for",
            remedy="name the image with --tag NAME; the images of single packages keep Spack's form",
        )
    return made


def _configured_runtime(section: Mapping[str, Any]) -> RuntimeSettings:
    return RuntimeSettings.create(
        entrypoint=section.get("entrypoint"),
        cmd=section.get("cmd"),
        env=section.get("env"),
        labels=section.get("labels"),
        user=section.get("user"),
        workdir=section.get("workdir"),
        ports=section.get("ports") or (),
        volumes=section.get("volumes") or (),
    )
