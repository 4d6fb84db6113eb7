# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Config and manifest of an image, as pure functions: documents in, bytes out (image-spec, config.md and manifest.md).

An image is a base image (perhaps an empty one) with further layers on top. A *package's* image is one whose config is
at the same time the spec file that every Spack reads: the spec document and a few numbers stand at its top level.
Same input, same bytes: nothing here looks at a clock, the environment or a random number.
"""

import copy
from dataclasses import dataclass, field
from typing import Any, Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ..descriptor import (
    DOCKER_CONFIG,
    DOCKER_LAYER_GZIP,
    DOCKER_MANIFEST,
    OCI_CONFIG,
    OCI_LAYER,
    OCI_LAYER_GZIP,
    OCI_LAYER_ZSTD,
    OCI_MANIFEST,
    Descriptor,
    canonical_json,
    check_digest,
)
from ..errors import ImageError, InvalidReference
from ..package.documents import spec_file_fields
from ..package.record import Layer, Package

DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
DOCKER_FOREIGN_GZIP = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
OCI_FOREIGN = "application/vnd.oci.image.layer.nondistributable.v1.tar"

#: what Spack gives an image whose base sets no PATH
DEFAULT_PATH = "/bin:/usr/bin"

#: the time of whatever has none: reproducible, and obviously not the time of the push
EPOCH = "1970-01-01T00:00:00+00:00"

#: (compression, foreign) of every layer type that may stand in a manifest
_LAYER_TYPES = {
    OCI_LAYER: ("none", False),
    OCI_LAYER_GZIP: ("gzip", False),
    OCI_LAYER_ZSTD: ("zstd", False),
    OCI_FOREIGN: ("none", True),
    OCI_FOREIGN + "+gzip": ("gzip", True),
    OCI_FOREIGN + "+zstd": ("zstd", True),
    DOCKER_LAYER: ("none", False),
    DOCKER_LAYER_GZIP: ("gzip", False),
    DOCKER_FOREIGN_GZIP: ("gzip", True),
}
_OCI_LAYER_TYPES = {key: name for name, key in _LAYER_TYPES.items() if "oci" in name}
_DOCKER_LAYER_TYPES = {key: name for name, key in _LAYER_TYPES.items() if "docker" in name}

#: of a Docker config: they describe the container that the base was committed from, not an image on top of it
_NOT_INHERITED = ("id", "parent", "container", "container_config", "docker_version")
#: of its ``config``: build triggers fire once (Dockerfile reference, ONBUILD), ``Image`` names the base's own parent
_SETTINGS_NOT_INHERITED = ("OnBuild", "Image", "Hostname", "Domainname")

#: prefix of what an image says about itself (image-spec, annotations.md), as annotations and as labels
ABOUT = "org.opencontainers.image."
#: of these the base's are about the base, not about what is built on it
_ABOUT_NOT_INHERITED = frozenset(
    ABOUT + key
    for key in (
        "created",
        "url",
        "documentation",
        "source",
        "version",
        "revision",
        "title",
        "description",
        "ref.name",
        "base.name",
        "base.digest",
    )
)


class Base(NamedTuple):
    """Manifest and config of a base image whose layers are in the target; without arguments, the empty image."""

    manifest: Mapping[str, Any] = {"mediaType": OCI_MANIFEST, "layers": []}
    config: Mapping[str, Any] = {}
    #: as the user wrote it, and what it was when it was read: ``org.opencontainers.image.base.name`` and ``.digest``
    name: str = ""
    digest: str = ""

    @property
    def layers(self) -> List[Mapping[str, Any]]:
        """Descriptors as they stand in the manifest; foreign layers have ``urls``."""
        return list(self.manifest.get("layers") or [])

    @property
    def diff_ids(self) -> List[str]:
        return list((self.config.get("rootfs") or {}).get("diff_ids") or [])

    @property
    def settings(self) -> Mapping[str, Any]:
        """The run-time configuration: Env, Entrypoint, Cmd, Labels, User, ..."""
        return self.config.get("config") or {}

    @property
    def is_docker(self) -> bool:
        return self.manifest.get("mediaType") == DOCKER_MANIFEST

    @property
    def platform(self) -> Optional[Tuple[str, str]]:
        """``("linux", "amd64")``, or None for the empty base, which is right for all."""
        if "architecture" not in self.config:
            return None
        return str(self.config.get("os", "linux")), str(self.config["architecture"])


EMPTY_BASE = Base()


@dataclass(frozen=True)
class BuiltImage:
    """What is to be stored: the config as a blob first, then the manifest."""

    config: bytes = field(repr=False)
    config_descriptor: Descriptor
    manifest: bytes = field(repr=False)
    manifest_descriptor: Descriptor

    @property
    def media_type(self) -> str:
        return self.manifest_descriptor.media_type


def compression_of(media_type: str) -> str:
    """``gzip``, ``zstd`` or ``none`` for a layer's media type; :class:`ImageError` for what is no layer."""
    try:
        return _LAYER_TYPES[media_type][0]
    except KeyError:
        raise ImageError(
            f"not the media type of a layer: {media_type}",
            remedy="the image holds something else than a file system; choose another",
        ) from None


def is_foreign(media_type: str) -> bool:
    """Whether it is a layer that only its owner may distribute."""
    compression_of(media_type)
    return _LAYER_TYPES[media_type][1]


def layer_media_type(media_type: str, docker: bool) -> str:
    """The name of the same kind of layer in Docker's or in OCI's vocabulary.

    :class:`ImageError` when the vocabulary has none: Docker's schema 2 knows no zstd.
    """
    compression_of(media_type)
    table = _DOCKER_LAYER_TYPES if docker else _OCI_LAYER_TYPES
    try:
        return table[_LAYER_TYPES[media_type]]
    except KeyError:
        raise ImageError(f"Docker's manifests have no media type for {media_type}") from None


def parse_environment(entries: Iterable[str]) -> Dict[str, str]:
    """``Env`` of a config as a dictionary, in its order. PATH is there even if the base sets none."""
    environment = {"PATH": DEFAULT_PATH}
    for entry in entries:
        name, equals, value = entry.partition("=")
        if equals and name:
            environment[name] = value
    return environment


def environment_entries(environment: Mapping[str, str], first: Iterable[str] = ()) -> List[str]:
    """``Env`` from a dictionary: the variables of ``first`` in their order, then the others by name."""
    leading = [name for name in dict.fromkeys(first) if name in environment]
    return [f"{name}={environment[name]}" for name in (*leading, *sorted(set(environment) - set(leading)))]


def build_image(
    *,
    platform: Tuple[str, str],
    layers: Sequence[Layer],
    settings: Mapping[str, Any],
    base: Optional[Base] = None,
    document: Optional[Mapping[str, Any]] = None,
    annotations: Optional[Mapping[str, str]] = None,
    created: Optional[str] = None,
    variant: Optional[str] = None,
) -> BuiltImage:
    """An image: ``base`` with ``layers`` on top.

    ``platform``: operating system and architecture as Go names them; ``variant``: of the latter, default the base's.
    ``settings``: the config's whole run-time part (``Env``, ``Labels``, ...); what the base sets is in it already.
    ``document``: what else stands at the top level of the config (image-spec, config.md: unknown fields are to be
    ignored). ``created``: RFC 3339; default: the base's.

    The image has Docker's media types if the base has them and every layer can be said in them, else OCI's, and never
    both: Apptainer refuses a mixture. Docker's manifests have no annotations. Raises :class:`ImageError` for a base of
    another platform, or one whose config does not fit its manifest.
    """
    base = base or EMPTY_BASE
    _check_base(base, platform)
    created = _known_time(created)
    docker = base.is_docker and all(compression_of(layer.descriptor.media_type) != "zstd" for layer in layers)
    root = _config_document(platform, layers, settings, base, created)
    if variant:
        root["variant"] = variant
    # the image's own fields win: a document cannot claim another root file system
    config = canonical_json({**(document or {}), **root})
    config_descriptor = Descriptor.of(config, DOCKER_CONFIG if docker else OCI_CONFIG)
    manifest: Dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": DOCKER_MANIFEST if docker else OCI_MANIFEST,
        "config": config_descriptor.to_dict(),
        "layers": [*_base_layers(base, docker), *(_layer_entry(layer.descriptor, docker) for layer in layers)],
    }
    if annotations and not docker:
        manifest["annotations"] = dict(sorted(annotations.items()))
    data = canonical_json(manifest)
    return BuiltImage(config, config_descriptor, data, Descriptor.of(data, manifest["mediaType"]))


def build_package_image(
    *,
    package: Package,
    layers: Sequence[Layer],
    base: Optional[Base] = None,
    annotations: Optional[Mapping[str, str]] = None,
    created: Optional[str] = None,
) -> BuiltImage:
    """The image of one package, which every Spack since 1.0 also takes for the package's build cache entry.

    ``layers``: the runtime closure's, dependencies first and the package's own last (readers take the last one as the
    tarball). A dependency whose layer is unknown is left out by the caller. ``annotations``: added to those that say
    what the package is. Raises :class:`ImageError` without a layer, and as :func:`build_image` does.
    """
    if not layers:
        raise ImageError(f"the image of {package.description} has no layer")
    base = base or EMPTY_BASE
    base_environment = parse_environment(base.settings.get("Env") or ())
    environment = package.environment(dict(base_environment))
    about = about_image(
        title=package.name,
        version=package.version,
        description=package.description,
        created=created,
        base=base,
        **package.provenance(),
    )
    about.update(annotations or {})
    tarball = layers[-1].descriptor
    settings = inherited_settings(base)
    settings["Env"] = environment_entries(environment, base_environment)
    labels = {key: value for key, value in about.items() if key.startswith(ABOUT)}
    settings["Labels"] = dict(sorted({**settings["Labels"], **labels}.items()))
    return build_image(
        platform=package.platform,
        layers=layers,
        settings=settings,
        base=base,
        document=spec_file_fields(package, tarball, compression_of(tarball.media_type), created or EPOCH),
        annotations=about,
        created=created,
    )


def inherited_settings(base: Base) -> Dict[str, Any]:
    """A copy of the base's run-time configuration that an image on top of it starts from; ``Labels`` is there."""
    settings = {key: copy.deepcopy(value) for key, value in base.settings.items() if key not in _SETTINGS_NOT_INHERITED}
    labels = settings.get("Labels") or {}
    settings["Labels"] = {key: value for key, value in labels.items() if key not in _ABOUT_NOT_INHERITED}
    return settings


def _known_time(created: Optional[str]) -> Optional[str]:
    """None for the epoch, which stands for "unknown": no image should be shown as 50 years old."""
    return None if created == EPOCH else created


def _check_base(base: Base, platform: Tuple[str, str]) -> None:
    label = base.name or "the base image"
    if len(base.layers) != len(base.diff_ids):
        raise ImageError(
            f"{label} is damaged: {len(base.layers)} layers, but {len(base.diff_ids)} diff IDs in its config",
            remedy="pull and push it anew with a container tool, or choose another base image",
        )
    for diff_id in base.diff_ids:
        try:
            check_digest(diff_id)
        except InvalidReference as e:
            raise ImageError(f"{label} is damaged: {e.message}") from e
    if base.platform and base.platform != tuple(platform):
        raise ImageError(
            f"{label} is for {'/'.join(base.platform)}, the packages are for {'/'.join(platform)}",
            remedy="choose a base image of the packages' platform",
        )


def _config_document(
    platform: Tuple[str, str],
    layers: Sequence[Layer],
    settings: Mapping[str, Any],
    base: Base,
    created: Optional[str],
) -> Dict[str, Any]:
    config = {key: copy.deepcopy(value) for key, value in base.config.items() if key not in _NOT_INHERITED}
    if created:
        config["created"] = created
    config["os"], config["architecture"] = platform
    config["config"] = dict(settings)
    config["rootfs"] = {"type": "layers", "diff_ids": [*base.diff_ids, *(layer.diff_id for layer in layers)]}
    config["history"] = [*_base_history(base), *(_history_entry(layer, created) for layer in layers)]
    return config


def _history_entry(layer: Layer, created: Optional[str]) -> Dict[str, Any]:
    entry = {"created": created} if created else {}
    entry["created_by"] = "spack oci push"
    return {**entry, "comment": layer.label} if layer.label else entry


def _base_history(base: Base) -> List[Dict[str, Any]]:
    """The base's history; if it is shorter than its layers, the missing entries are put in front.

    Engines match the entries that are not ``empty_layer`` one by one with the layers, so that ours have to come after
    exactly as many as the base has layers.
    """
    history = [dict(entry) for entry in base.config.get("history") or []]
    with_layer = sum(1 for entry in history if not entry.get("empty_layer"))
    if with_layer > len(base.layers):
        return [{"comment": f"layer of {base.name or 'the base image'}"} for _ in base.layers]
    missing = len(base.layers) - with_layer
    return [{"comment": f"layer of {base.name or 'the base image'}"} for _ in range(missing)] + history


def _base_layers(base: Base, docker: bool) -> List[Dict[str, Any]]:
    result = []
    for entry in base.layers:
        # checks digest and size; the entry itself is kept, because a foreign layer has urls
        descriptor = Descriptor.from_dict(entry)
        result.append({**entry, "mediaType": layer_media_type(descriptor.media_type, docker)})
    return result


def _layer_entry(descriptor: Descriptor, docker: bool) -> Dict[str, Any]:
    """A layer as it stands in a manifest: without annotations, which Docker does not know and readers need not."""
    return {
        "mediaType": layer_media_type(descriptor.media_type, docker),
        "digest": descriptor.digest,
        "size": descriptor.size,
    }


def about_image(
    *,
    title: str,
    version: str = "",
    description: str = "",
    licenses: str = "",
    source: str = "",
    created: Optional[str] = None,
    base: Optional[Base] = None,
) -> Dict[str, str]:
    """``org.opencontainers.image.*`` of what is known, as annotations and as labels (image-spec, annotations.md)."""
    values = {
        "title": title,
        "version": version,
        "description": description,
        "licenses": licenses,
        "source": source,
        "created": _known_time(created) or "",
        "base.name": base.name if base and not base.name.startswith("oci+file:") else "",
        "base.digest": base.digest if base else "",
    }
    return {ABOUT + key: value for key, value in values.items() if value}
