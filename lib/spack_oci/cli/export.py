# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack-oci export`: an image of packages of a cache, composed of the layers that it has, without a store."""

import argparse
import os
from typing import Any, List, Mapping, Sequence

from ..archive.unpack.staging import temporary_directory
from ..commandline.common import messages_apart, print_json
from ..commandline.image_options import runtime_settings
from ..configuration.settings import blob_cache
from ..content import ContentStore
from ..content.copy import GraphCopy
from ..errors import ConfigurationError, ImageError, StorageError
from ..image.base.resolve import copy_layers, resolve_base
from ..image.exclusions import BUILD_INFO, Exclusions
from ..image.files import FileEntry
from ..image.layers import strategy_named
from ..image.manifest import EMPTY_BASE, Base
from ..image.needs.libc import Need, check_libc
from ..image.results import ResultDirectory
from ..image.runtime import RuntimeSettings
from ..layout import open_layout
from ..layout.gc import collect_garbage
from ..operations.images import image_files as files
from ..operations.images.environment_image import (
    ImageRequest,
    ImageSettings,
    PushedImage,
    plan_image,
    push_environment_image,
)
from ..reference import LayoutDirectory, Repository, parse_image_reference
from ..store.cached_packages import CachedPackage, cached_package, merged_environment
from ..store.database import Records
from ..store.machine import libc_of
from ..store.sbang import SBANG
from ..store.source import Source
from ..util.progress import Work
from ..util.sizes import format_size
from ..util.text import counted, elided
from . import settings
from .caches import open_cache, read_source
from .output import info, reporter
from .roots import roots_of, wanted_of

_DEFAULT_TAG = "latest"


def export(args: argparse.Namespace) -> int:
    with messages_apart(args.json):
        source = read_source(args.mirror, wanted=wanted_of(args.specs))
        nodes = roots_of(args.specs, source, Records())
        if not nodes:
            raise ConfigurationError("there is nothing to export: no spec is given", remedy="name a spec")
        store = open_cache(args.mirror)
        packages = [cached_package(store, node, source.graph) for node in nodes]
        if args.destination.startswith("tag:"):
            tag = args.destination[len("tag:") :]
            image = _compose(args, store, source, packages, tag)
            where = f"{store.url}:{tag}"
        else:
            image, where = _to_files(args, store, source, packages)
    document = {"image": where, "manifest": image.manifest.to_dict(), "size": image.size, **image.plan.to_dict()}
    if args.json:
        print_json(document)
    else:
        members = sum(len(group) for group in image.plan.groups)
        layers = counted(image.plan.layer_count, "layer")
        info(f"Wrote {where}: {counted(members, 'package')} in {layers}, {format_size(image.size)}")
    return 0


def _to_files(args: argparse.Namespace, store: ContentStore, source: Source, packages: Sequence[CachedPackage]) -> Any:
    destination = files.parse_destination(args.destination, args.format)
    tag = destination.tag or _DEFAULT_TAG
    with temporary_directory("spack-oci-export") as stage:
        layout: Any = open_layout(LayoutDirectory(os.path.join(stage, "layout")), create=True)
        shown = reporter()
        shown.begin(Work(len(packages), "packages", verb="copied"))
        with GraphCopy(store, layout, progress=shown.moved) as copier:
            for package in packages:
                copier.copy(package.tag)
                shown.finished(package.tag)
        shown.end()
        image = _compose(args, layout, source, packages, tag)
        if destination.format == files.DOCKER_ARCHIVE:
            files.write_docker_archive(layout, tag, [f"{packages[0].name}:{tag}"], destination.path)
        elif destination.format == files.OCI_ARCHIVE:
            for package in packages:
                layout.delete_manifest(package.tag)
            collect_garbage(layout, grace=0)
            files.write_layout_archive(layout.path, destination.path)
        else:
            with GraphCopy(layout, open_layout(LayoutDirectory(destination.path), create=True)) as copier:
                copier.copy(tag)
    return image, f"{destination.path} ({destination.format}, tag {tag})"


def _compose(
    args: argparse.Namespace, store: ContentStore, source: Source, packages: Sequence[CachedPackage], tag: str
) -> PushedImage:
    """The image in ``store``, which has the packages."""
    options = settings.read()
    results = ResultDirectory(os.path.join(options.cache_root, "results"))
    base = _base(args, store, source, packages)
    section: Mapping[str, Any] = options.image
    patterns = (*(section.get("exclude") or ()), *args.exclude_files, *(BUILD_INFO if args.strip_build_info else ()))
    request = ImageRequest(
        roots=packages,
        environment=lambda start: merged_environment(packages, start),
        title=elided([package.name for package in packages], keep=3),
        version=packages[0].version if len(packages) == 1 else "",
        description=" ".join(package.label for package in packages),
        base=base,
        runtime=RuntimeSettings.create(**runtime_settings(args)),
        max_layers=options.max_layers,
        strategy=strategy_named(args.layer_strategy or section["strategy"]),
        squash=args.squash,
        exclusions=Exclusions(patterns),
        files={path: FileEntry(SBANG.encode(), 0o755) for path in _sbang_paths(packages)},
    )
    plan = plan_image(store, request, None, results)
    return push_environment_image(
        store, plan, tag, settings=ImageSettings(None, blob_cache(options), options.pack_jobs, reporter())
    )


def _sbang_paths(packages: Sequence[CachedPackage]) -> List[str]:
    return sorted({path for package in packages for path in (package.build_info["sbang_install_path"],) if path})


def _base(args: argparse.Namespace, store: ContentStore, source: Source, packages: Sequence[CachedPackage]) -> Base:
    """The base image, its C library checked against what the packages were built with, its layers in ``store``."""
    from ..image.base.layers import libcs_of_base

    name = args.base_image or settings.read().base_image
    if not name:
        return EMPTY_BASE
    reference = parse_image_reference(name)
    origin = _open_base(reference, name)
    base = resolve_base(origin, reference, packages[0].image_platform)
    if not args.skip_libc_check:
        needs = {}
        for package in packages:
            libc = libc_of(package.node, source.graph)
            needs[package.label] = Need(libc) if libc else None
        check_libc(base.name, libcs_of_base(origin, base, None), needs)
    copy_layers(base, origin, store, jobs=settings.read().transfer_jobs, reporter=reporter())
    return base


def _open_base(reference: Any, name: str) -> ContentStore:
    if isinstance(reference.location, Repository):
        from ..registry import open_repository

        return open_repository(*settings.network().registry_of(reference.location))
    try:
        return open_layout(reference.location)
    except StorageError as e:
        raise ImageError(f"base image {name} is not there: {e.message}", remedy="check its name") from e
