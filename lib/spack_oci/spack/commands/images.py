# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Images as Spack's users ask for them: base image, tags of environments, run-time settings, views and lock files."""

import os
from dataclasses import replace
from typing import Any, Dict, List, Mapping, Optional, Sequence, Set, Tuple

import spack.environment
import spack.llnl.util.tty as tty
import spack.mirrors.mirror
import spack.spec

from ...archive.codec import Compression
from ...content import ContentStore
from ...content.platform import Platform
from ...errors import ImageError, StorageError
from ...image.base.resolve import copy_layers, resolve_base
from ...image.contents import VIEW, lock_entry, path_entries, sbang_entries, sbom_entry, view_entries
from ...image.manifest import EMPTY_BASE, Base
from ...image.results import ResultDirectory
from ...layout import open_layout
from ...operations.images import checks, package_checks
from ...operations.images import environment_image as engine
from ...operations.push.execute import PushSettings
from ...operations.push.tagging import created_from_environment
from ...operations.trust.attach import attach
from ...package.record import Layer, Package
from ...reference import Repository, image_name, parse_image_reference, parse_url
from ...registry import open_repository
from ...trust.sbom import MEDIA_TYPE as SBOM_TYPE
from ...util.sizes import format_size
from ...util.text import counted, elided
from ..configuration import mirrors, settings
from ..configuration.credentials import mirror_credentials
from ..output import reporter
from ..specs import packages
from ..specs.provenance import provenance
from .image_options import ImageOptions


def platform_of(specs: Sequence["spack.spec.Spec"]) -> Platform:
    """The platform that runs all ``specs``, with the microarchitecture level that they are built for."""
    pairs = sorted({packages.go_platform(s) for s in specs})
    if len(pairs) > 1:
        raise ImageError(
            f"the packages are for several platforms: {', '.join('/'.join(pair) for pair in pairs)}",
            remedy="push those of one platform at a time",
        )
    variants = [v for v in map(_microarchitecture_level, specs) if v]
    return Platform(*pairs[0], max(variants, default=None))


def _microarchitecture_level(spec: "spack.spec.Spec") -> Optional[str]:
    """``v3`` for x86_64_v3 and all that can run it."""
    target = spec.target
    names = {target.name, *(ancestor.name for ancestor in target.ancestors)}
    return max((name[len("x86_64_") :] for name in names if name.startswith("x86_64_v")), default=None)


#: (store, base image, platform) -> what was made of it in this process
_prepared: Dict[Tuple[str, str, Platform], Base] = {}
#: the same, of those that were warned of
_warned: Set[Tuple[str, str, Platform]] = set()


def prepare_base(
    store: ContentStore,
    wanted: ImageOptions,
    specs: Sequence["spack.spec.Spec"],
    records: Sequence[Package],
    mirror: Optional["spack.mirrors.mirror.Mirror"] = None,
) -> Base:
    """The base image for ``specs``, its C library checked against ``records``, its layers in ``store``.

    ``mirror``: its credentials are good for a base image on the same registry, if no others are configured for that.
    """
    if not wanted.base_image or not specs:
        return EMPTY_BASE
    key = (store.url, wanted.base_image, platform_of(specs))
    source = _open_source(wanted.base_image, mirror)
    base = _prepared.get(key) or resolve_base(source, parse_image_reference(wanted.base_image), key[2])
    if not wanted.skip_libc_check:
        configured = settings.read()
        kept, jobs = base_image_results(configured), configured.pack_jobs
        package_checks.check_base_libc(source, base, records, cache=kept, jobs=jobs)
        if key not in _warned:
            warning = package_checks.warning_of_libraries(source, base, records, cache=kept, jobs=jobs)
            if warning:
                tty.warn(warning)
                _warned.add(key)
    if key not in _prepared:
        _copy_base(source, base, store)
        _prepared[key] = base
    return base


def base_image_results(configured: settings.Settings) -> ResultDirectory:
    """What was read of layers of base images, and of what packages need of them."""
    return ResultDirectory(os.path.join(configured.cache_root, "results"))


def _open_source(image: str, mirror: Optional["spack.mirrors.mirror.Mirror"]) -> ContentStore:
    location = parse_image_reference(image).location
    if isinstance(location, Repository):
        repository, registry = mirrors.registry_of(location)
        more = _credentials_of_registry(mirror, location.host) if mirror else []
        return open_repository(repository, registry._replace(credentials=(*registry.credentials, *more)))
    try:
        return open_layout(location)
    except StorageError as e:
        raise ImageError(f"base image {image} is not there: {e.message}", remedy="check its name") from e


def _credentials_of_registry(mirror: "spack.mirrors.mirror.Mirror", host: str) -> List[Any]:
    """The mirror's own credentials, which are for its repository, made good for all of its registry."""
    there = parse_url(mirror.push_url)
    if not isinstance(there, Repository) or there.host != host:
        return []
    return [replace(source, scope=host) for source in mirror_credentials(mirror, mirrors.PUSH)]  # type: ignore


def _copy_base(source: ContentStore, base: Base, store: ContentStore) -> None:
    moved = copy_layers(base, source, store, jobs=settings.read().transfer_jobs, reporter=reporter())
    if moved.sent or moved.mounted:
        tty.info(
            f"Base image {base.name}: {counted(len(base.layers), 'layer')}, "
            f"{moved.mounted} mounted, {moved.sent} copied ({format_size(moved.sent_bytes)})"
        )


def environment_of(roots: Sequence["spack.spec.Spec"]) -> Optional["spack.environment.Environment"]:
    """The active environment, if ``roots`` are its roots."""
    active = spack.environment.active_environment()
    if active is None or {s.dag_hash() for s in active.concrete_roots()} != {s.dag_hash() for s in roots}:
        return None
    return active


def image_request(
    wanted: ImageOptions,
    roots: Sequence["spack.spec.Spec"],
    base: Base,
    compression: Compression,
    sbom: bytes = b"",
) -> engine.ImageRequest:
    """What the image of ``roots`` is to be: of the active environment with its views and lock file, or of specs.

    ``sbom``: a file in it; empty: none.
    """
    checks.check_roots(roots)
    environment = environment_of(roots)
    externals = [s for s in packages.runtime_externals(*roots) if s.name not in ("glibc", "musl")]
    if externals:
        tty.warn(
            f"External packages are not in the image, the base image has to have them: "
            f"{elided([packages.label(s) for s in externals])}"
        )
    records = packages.records_of(roots)
    packages.prepare_environments(records)
    about = provenance(roots)
    request = engine.ImageRequest(
        roots=records,
        environment=packages.run_environment(records),
        title=_title(roots, environment),
        version=str(roots[0].version) if len(roots) == 1 else "",
        description=" ".join(packages.label(s) for s in roots),
        licenses=about["licenses"],
        source=about["source"],
        base=base,
        runtime=wanted.runtime,
        max_layers=wanted.max_layers,
        strategy=wanted.strategy,
        squash=wanted.squash,
        checked=wanted.checked,
        exclusions=wanted.exclusions,
        compression=compression,
        platform=Platform(*packages.go_platform(roots[0]), base.config.get("variant")),
        level=platform_of(packages.runtime_closure(*roots)).variant,
        created=created_from_environment(),
        files={
            **sbang_entries(sorted({root.build_info["sbang_install_path"] for root in records})),
            **(sbom_entry(sbom) if sbom else {}),
        },
    )
    return _with_environment(request, environment, wanted) if environment else request


def _with_environment(
    request: engine.ImageRequest, environment: "spack.environment.Environment", wanted: ImageOptions
) -> engine.ImageRequest:
    files = dict(request.files)
    mounts: List[str] = []
    if wanted.views:
        prefixes = sorted({prefix for root in request.roots for prefix in root.build_info["hash_to_prefix"].values()})
        prefixes += [root.prefix for root in request.roots]
        for name, view in environment.views.items():
            if os.path.isdir(view.root):
                mounts.append(VIEW if name == "default" else f"/views/{name}")
                files.update(view_entries(view.root, prefixes, mounts[-1]))
    if os.path.exists(environment.lock_path):
        with open(environment.lock_path, "rb") as f:
            files.update(lock_entry(f.read()))
    return replace(request, files=files, path_first=path_entries(files, mounts))


def _title(roots: Sequence["spack.spec.Spec"], environment: Optional["spack.environment.Environment"]) -> str:
    if environment is None:
        return elided([s.name for s in roots], keep=3)
    # an environment in a directory has the directory's path as its name, which is of this machine
    return os.path.basename(environment.name.rstrip("/"))


def checked(wanted: ImageOptions, roots: Sequence["spack.spec.Spec"]) -> ImageOptions:
    """What can be known of an image before anything is pushed: raises for roots that contradict each other."""
    if not wanted.tags:
        return wanted
    checks.check_roots(roots)
    platform_of(roots)
    records = packages.records_of(roots)
    packages.prepare_environments(records)
    checks.check_environment(records, packages.run_environment(records), wanted.runtime)
    installed, _ = packages.partition_installed(packages.runtime_closure(*roots))
    configured = settings.read()
    package_checks.check_whiteouts(
        packages.records_of(installed),
        wanted.exclusions,
        cache=base_image_results(configured),
        jobs=configured.pack_jobs,
    )
    return wanted._replace(checked=True)


def planned(store_url: str, wanted: ImageOptions, roots: Sequence["spack.spec.Spec"]) -> List[Dict[str, Any]]:
    """The images that a push would make, for ``--dry-run``; which packages share layers depends on their sizes."""
    if not wanted.tags:
        return []
    checks.check_roots(roots)
    closure = [packages.label(s) for s in packages.runtime_closure(*roots)]
    return [
        {"image": image_name(store_url, tag), "base": wanted.base_image or "", "packages": closure}
        for tag in wanted.tags
    ]


def push_tags(
    store: ContentStore,
    wanted: ImageOptions,
    roots: Sequence["spack.spec.Spec"],
    base: Base,
    known: Mapping[str, Layer],
    push_settings: PushSettings,
) -> List[engine.PushedImage]:
    """Give the image of ``roots`` every tag that was asked for."""
    sbom = image_sbom(roots) if push_settings.sbom else b""
    request = image_request(wanted, roots, base, push_settings.compression, sbom)
    plan = engine.plan_image(store, request, known, base_image_results(settings.read()))
    image_settings = engine.ImageSettings(push_settings.stage, push_settings.cache, push_settings.packers, reporter())
    result = []
    for tag in wanted.tags:
        image = engine.push_environment_image(store, plan, tag, settings=image_settings, multi_arch=wanted.multi_arch)
        if sbom:
            image = replace(image, sbom=attach(store, image.manifest, sbom, SBOM_TYPE).digest)
        result.append(image)
        tty.info(describe(store, tag, image))
    return result


def image_sbom(roots: Sequence["spack.spec.Spec"]) -> bytes:
    """The software bill of materials (SPDX) of the image of ``roots``, or of the active environment."""
    from ..specs.recipes import sbom_of

    records = packages.records_of(roots)
    return sbom_of(roots, [dict(record.spec_document) for record in records], _title(roots, environment_of(roots)))


def describe(store: ContentStore, tag: str, image: engine.PushedImage) -> str:
    shared = f", {counted(image.plan.shared_layers, 'layer')} shared" if image.plan.shared_layers else ""
    return (
        f"Tagged {image_name(store.url, tag)}: {counted(sum(len(g) for g in image.plan.groups), 'package')} in "
        f"{counted(image.plan.layer_count, 'layer')}{shared}, {format_size(image.size)}"
    )


def image_document(store: ContentStore, tag: str, image: engine.PushedImage) -> Dict[str, Any]:
    """For ``--json``."""
    return {
        "image": image_name(store.url, tag),
        "manifest": image.manifest.to_dict(),
        **({"index": image.index.to_dict()} if image.index else {}),
        "size": image.size,
        "sent": image.sent,
        **image.plan.to_dict(),
    }
