# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack oci export`: the image of an environment, or of specs, as files."""

import contextlib
import os
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

import spack.llnl.util.tty as tty
import spack.spec
import spack.stage

from ...archive.codec import Compression
from ...archive.unpack.staging import temporary_directory
from ...content import ContentStore
from ...content.copy import GraphCopy
from ...errors import ConfigurationError
from ...layout import open_layout
from ...layout.gc import collect_garbage
from ...operations.images import checks
from ...operations.images import environment_image as image_engine
from ...operations.images import image_files as files
from ...operations.images.layers_only import LayersOnly
from ...operations.push import execute as engine
from ...reference import LayoutDirectory
from ...util.files import atomic_write, storage_errors
from ...util.text import elided
from ..configuration import settings
from ..output import reporter
from ..specs import packages
from . import images
from .image_options import ImageOptions

#: of an image whose tag nobody has named
_DEFAULT_TAG = "latest"


class Exported(NamedTuple):
    """What was written."""

    destination: files.Destination
    tag: str
    image: image_engine.PushedImage
    #: how container tools name it: ``docker run NAME`` after `docker load`, ``podman pull NAME``
    name: str

    def to_dict(self) -> Dict[str, Any]:
        return {
            "format": self.destination.format,
            "path": self.destination.path,
            "tag": self.tag,
            "image": self.name,
            "manifest": self.image.manifest.to_dict(),
            "size": self.image.size,
            **self.image.plan.to_dict(),
        }


def export(
    destination: files.Destination,
    roots: Sequence["spack.spec.Spec"],
    wanted: ImageOptions,
    compression: Optional[Compression] = None,
    sbom_path: Optional[str] = None,
) -> Exported:
    """Write the image of ``roots`` with its closure. Nothing is there before it is complete.

    ``sbom_path``: a file for its software bill of materials, which is then in the image too.
    Raises :class:`ConfigurationError` for what is not installed, and what packing and base images raise.
    """
    closure = packages.runtime_closure(*roots)
    installed, missing = packages.partition_installed(closure)
    if missing:
        raise ConfigurationError(
            f"not installed: {elided([packages.label(s) for s in missing])}", remedy="install them first"
        )
    wanted = images.checked(wanted, roots)
    with _stage(compression) as (push_settings, layout):
        records = packages.records_of(installed)
        base = images.prepare_base(layout, wanted, closure, records)
        layers = LayersOnly(layout)
        result = engine.execute_push(
            engine.plan_push(layers, records, settings=push_settings),
            layers,
            settings=push_settings,
            reporter=reporter(_tell_packed),
        )
        if result.failed:
            raise result.failed[0].error or ConfigurationError("a package could not be packed")
        tag = destination.tag or _DEFAULT_TAG
        checks.check_image_tag(tag)
        sbom = images.image_sbom(roots) if settings.read().sbom or sbom_path else b""
        request = images.image_request(wanted, roots, base, push_settings.compression, sbom)
        plan = image_engine.plan_image(layout, request, result.layers, images.base_image_results(settings.read()))
        image_settings = image_engine.ImageSettings(
            push_settings.stage, push_settings.cache, push_settings.packers, reporter()
        )
        image = image_engine.push_environment_image(layout, plan, tag, settings=image_settings)
        _write(destination, layout, tag, request.title)
        name = _name(destination, tag, request.title)
        if sbom_path:
            with storage_errors(f"writing {sbom_path}"), atomic_write(sbom_path, mode=0o644) as f:
                f.write(sbom)
    return Exported(destination, tag, image, name)


def _tell_packed(line: str) -> None:
    """Nothing is pushed here; the engine says so of every layer that it has written."""
    tty.info(line.replace("Pushed ", "Packed ", 1))


def _name(destination: files.Destination, tag: str, title: str) -> str:
    if destination.format == files.DOCKER_ARCHIVE:
        return f"{_repository_name(title)}:{tag}"
    return f"{'oci' if destination.format == files.LAYOUT else 'oci-archive'}:{destination.path}:{tag}"


@contextlib.contextmanager
def _stage(compression: Optional[Compression]) -> Iterator[Tuple[engine.PushSettings, Any]]:
    """The engine's settings, and a layout directory that goes when the image is where it shall be."""
    options = settings.read()
    with temporary_directory("spack-oci-export", spack.stage.get_stage_root()) as stage:
        layout = open_layout(LayoutDirectory(os.path.join(stage, "layout")), create=True)
        push_settings = engine.PushSettings(
            compression=compression or options.compression,
            pack_jobs=options.pack_jobs,
            transfer_jobs=options.transfer_jobs,
            stage=os.path.join(stage, "layers"),
            cache=settings.blob_cache(options),
        )
        yield push_settings, layout


def _write(destination: files.Destination, layout: Any, tag: str, title: str) -> None:
    if destination.format == files.DOCKER_ARCHIVE:
        files.write_docker_archive(layout, tag, [f"{_repository_name(title)}:{tag}"], destination.path)
    elif destination.format == files.OCI_ARCHIVE:
        collect_garbage(layout, grace=0)
        files.write_layout_archive(layout.path, destination.path)
    else:
        target: ContentStore = open_layout(LayoutDirectory(destination.path), create=True)
        with GraphCopy(layout, target) as copier:
            copier.copy(tag)


def _repository_name(title: str) -> str:
    """A name that Docker accepts."""
    kept = [c if c.isalnum() and c.isascii() else "-" for c in title.lower()]
    parts: List[str] = [part for part in "".join(kept).split("-") if part]
    return "-".join(parts) or "image"
