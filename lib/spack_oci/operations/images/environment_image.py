# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Environment images: one image of several packages with all that they need (``--tag``, ``spack oci export``).

:func:`plan_image` says which layers the image will have, :func:`push_environment_image` makes them and the image. The
layers of the packages are those of the cache, which were pushed before. Where packages share a layer, or files are left
out, new layers are made of them, and remembered by what went into them.
"""

import hashlib
import os
import threading
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

from ...archive.codec import Compression
from ...archive.unpack.staging import temporary_directory
from ...content import BytesSource, ContentReader, FileSource, RepositoryWriter
from ...content.blob_cache import BlobCache, CachedBlob, KnownLayer, LayerKey
from ...content.platform import Platform
from ...descriptor import Descriptor
from ...errors import ContentError, ImageError, NotFound, StorageError
from ...image.base.layers import directories_of_base
from ...image.compose import LayerSource, compose_layers
from ...image.contents import CONTAINER_FILES, MOUNT_POINTS
from ...image.directories import PLAIN, Directories, parents
from ...image.exclusions import Exclusions
from ...image.files import FileEntry, files_layer, filter_layer
from ...image.index import push_platform
from ...image.layers import DEFAULT_MAX_LAYERS, VOLATILITY, Group, Member, Strategy, layers_left, plan_layers
from ...image.manifest import EMPTY_BASE, Base, BuiltImage, about_image, build_image
from ...image.results import Results
from ...image.runtime import RuntimeSettings, image_settings
from ...package.documents import read_package_documents
from ...package.record import Layer, Package, package_tag
from ...util.concurrency.threads import DaemonPool
from ...util.order import dependencies_first
from ...util.progress import Reporter, Silent, Work
from .checks import check_environment, check_image_tag, check_roots

#: in the image's history, of the layer with what is in no package
_FILES_LABEL = "what is in no package: sbang, view and lock file of the environment, /etc"


@dataclass(frozen=True)
class ImageRequest:
    """The image of ``roots`` and their runtime closure.

    ``environment``: computes the run environment of all roots together; ``files``: what is in the image besides the
    packages (:mod:`spack_oci.image.contents`); ``path_first``: directories in front of PATH; ``directories``: those of
    the base that the packages' layers would hide, which :func:`plan_image` finds.
    """

    roots: Sequence[Package]
    environment: Callable[[Dict[str, str]], Dict[str, str]] = field(repr=False)
    title: str
    version: str = ""
    description: str = ""
    licenses: str = ""
    source: str = ""
    base: Base = EMPTY_BASE
    runtime: RuntimeSettings = field(default_factory=RuntimeSettings)
    files: Mapping[str, FileEntry] = field(default_factory=dict, repr=False)
    path_first: Sequence[str] = ()
    directories: Directories = field(default_factory=lambda: PLAIN, repr=False)
    max_layers: int = DEFAULT_MAX_LAYERS
    strategy: Strategy = VOLATILITY
    squash: bool = False
    exclusions: Exclusions = field(default_factory=Exclusions)
    compression: Compression = field(default_factory=Compression)
    #: of the image's config; None: that of the roots
    platform: Optional[Platform] = None
    #: microarchitecture that the packages are built for, as the variant of an entry in an image index: "v3"
    level: Optional[str] = None
    #: :func:`~.image_checks.check_environment` was called before
    checked: bool = False
    created: Optional[str] = None

    @property
    def files_layers(self) -> int:
        """Layers for ``files`` and ``directories``: a squashed image has them in its one layer."""
        return 1 if (self.files or (self.directories and self.base.layers)) and not self.squash else 0


@dataclass(frozen=True)
class ImageSettings:
    """How to make it. ``stage``: where new layers are written before they are sent."""

    stage: Optional[str] = None
    cache: Optional[BlobCache] = None
    jobs: int = 4
    reporter: Reporter = field(default_factory=Silent)


@dataclass(frozen=True)
class ImagePlan:
    """``groups``: the packages of each layer from the bottom up; above the base's, below view and lock file."""

    request: ImageRequest
    platform: Platform
    groups: Sequence[Group]

    @property
    def layer_count(self) -> int:
        return len(self.request.base.layers) + len(self.groups) + self.request.files_layers

    @property
    def index_platform(self) -> Platform:
        """What a machine has to be to run it: the packages ask for a variant of the architecture, or the base does."""
        known = [variant for variant in (self.request.level, self.platform.variant) if variant]
        return replace(self.platform, variant=max(known, default=None))

    @property
    def shared_layers(self) -> int:
        """How many layers hold several packages."""
        return sum(1 for group in self.groups if len(group) > 1)

    def to_dict(self) -> Dict[str, Any]:
        return {
            "platform": str(self.platform),
            "base": self.request.base.name,
            "base_layers": len(self.request.base.layers),
            "layers": [[f"{member.name}/{member.dag_hash[:7]}" for member in group] for group in self.groups],
            "strategy": self.request.strategy.name,
        }


@dataclass(frozen=True)
class PushedImage:
    """``manifest``: of the image; ``index``: of the tag, with --multi-arch; ``sent``: bytes of new layers; ``sbom``:
    digest of the SBOM that is attached to it."""

    plan: ImagePlan
    image: BuiltImage = field(repr=False)
    layers: Sequence[Layer] = field(repr=False)
    index: Optional[Descriptor] = None
    sent: int = 0
    sbom: Optional[str] = None

    @property
    def manifest(self) -> Descriptor:
        return self.image.manifest_descriptor

    @property
    def size(self) -> int:
        """Compressed bytes that a client without any of it pulls, base included."""
        base = sum(int(entry.get("size", 0)) for entry in self.plan.request.base.layers)
        return base + sum(layer.descriptor.size for layer in self.layers)


def plan_image(
    store: ContentReader,
    request: ImageRequest,
    known: Optional[Mapping[str, Layer]] = None,
    cache: Optional[Results] = None,
) -> ImagePlan:
    """Which layers the image will have. Reads the tags of packages whose layer is not in ``known`` (by DAG hash).

    ``store`` has the base's layers; what was read of them is kept in ``cache``. Raises :class:`ImageError` if a package
    is not in ``store``, roots have several platforms or contradict each other.
    """
    check_roots(request.roots)
    platform = _platform_of(request)
    if not request.checked:
        check_environment(request.roots, request.environment, request.runtime, request.base)
    members = _members(store, request.roots, known or {})
    above = parents([*request.files, *(member.prefix for member in members)])
    request = replace(request, directories=directories_of_base(store, request.base, above, cache))
    if not request.base.layers:
        files, directories = {**CONTAINER_FILES, **request.files}, {**MOUNT_POINTS, **request.directories}
        request = replace(request, files=files, directories=directories)
    limit = layers_left(request.max_layers, len(request.base.layers), request.files_layers)
    return ImagePlan(request, platform, plan_layers(members, 1 if request.squash else limit, request.strategy))


def _platform_of(request: ImageRequest) -> Platform:
    platforms = sorted({package.platform for package in request.roots})
    if len(platforms) > 1:
        raise ImageError(
            f"the roots are for several platforms: {', '.join('/'.join(pair) for pair in platforms)}",
            remedy="make an image of the roots of one platform, and add the others with --multi-arch",
        )
    return request.platform or Platform(*platforms[0])


def _members(store: ContentReader, roots: Sequence[Package], known: Mapping[str, Layer]) -> List[Member]:
    """Every package of the image once, dependencies first, with its layer."""
    nodes: Dict[str, Mapping[str, Any]] = {}
    labels: Dict[str, str] = {}
    prefixes: Dict[str, str] = {}
    for root in roots:
        nodes.update({node["hash"]: node for node in root.spec_document["spec"]["nodes"]})
        labels.update(dict(root.runtime))
        prefixes.update(root.build_info["hash_to_prefix"])
        prefixes[root.dag_hash] = root.prefix
    layers = _layers(store, roots, labels, known)
    needs = {dag_hash: [d["hash"] for d in _runtime_dependencies(nodes.get(dag_hash, {}))] for dag_hash in labels}
    return [
        Member(
            dag_hash,
            labels[dag_hash].partition("@")[0],
            layers[dag_hash],
            frozenset(h for h in needs[dag_hash] if h in labels),
            str(prefixes.get(dag_hash, "")),
        )
        for dag_hash in dependencies_first(needs)  # each root's closure is sorted; they may overlap
    ]


def _runtime_dependencies(node: Mapping[str, Any]) -> List[Mapping[str, Any]]:
    return [
        dependency
        for dependency in node.get("dependencies") or ()
        if {"link", "run"} & set((dependency.get("parameters") or {}).get("deptypes") or dependency.get("type") or ())
    ]


def _layers(
    store: ContentReader, roots: Sequence[Package], labels: Mapping[str, str], known: Mapping[str, Layer]
) -> Dict[str, Layer]:
    """The layer of each package. The image of a root tells those of its closure, so few images need to be read."""
    found = {dag_hash: known[dag_hash] for dag_hash in labels if dag_hash in known}
    with DaemonPool(8, "image-layer") as pool:
        for layers in pool.map(lambda package: _layers_of_closure(store, package), _covering(roots, found)):
            found = {**layers, **found}
        missing = [dag_hash for dag_hash in labels if dag_hash not in found]
        found.update(zip(missing, pool.map(lambda dag_hash: _own_layer(store, dag_hash, labels[dag_hash]), missing)))
    return {h: Layer(found[h].descriptor, found[h].diff_id, label) for h, label in labels.items()}


def _covering(roots: Sequence[Package], found: Mapping[str, Layer]) -> List[Package]:
    """Some of ``roots``, each of which has several packages in its closure that no other one has."""
    chosen = []
    covered = set(found)
    for package in sorted(roots, key=lambda package: -len(package.runtime)):
        closure = {dag_hash for dag_hash, _ in package.runtime}
        if len(closure - covered) > 1:
            chosen.append(package)
            covered |= closure
    return chosen


def _layers_of_closure(store: ContentReader, package: Package) -> Dict[str, Layer]:
    """DAG hash -> layer, as far as the history in the image of ``package`` names them; ours does, Spack's does not."""
    try:
        layers = read_package_documents(store, package.tag).layers
    except ContentError:
        return {}  # what is wrong is said where the package itself is read
    named = {layer.label: layer for layer in layers if layer.diff_id and layer.label}
    return {dag_hash: named[label] for dag_hash, label in package.runtime if label in named}


def _own_layer(store: ContentReader, dag_hash: str, label: str) -> Layer:
    name, _, rest = label.partition("@")
    tag = package_tag(name, rest.rpartition("/")[0], dag_hash)
    try:
        return read_package_documents(store, tag, expected_hash=dag_hash).layer_for_image()
    except NotFound as e:
        raise ImageError(
            f"{label} is not in {store.url}, and the image needs it",
            remedy="push it too: without --only, and with --private if it may not be redistributed",
        ) from e


def push_environment_image(
    store: RepositoryWriter,
    plan: ImagePlan,
    tag: Optional[str],
    *,
    settings: Optional[ImageSettings] = None,
    multi_arch: bool = False,
) -> PushedImage:
    """Make the layers of ``plan`` that are not there, then the image, and give it ``tag``.

    The layers of the base image are in ``store`` (:func:`~spack_oci.image.base.resolve.copy_layers`). ``tag`` None: the
    image has its digest only. ``multi_arch``: the tag becomes an index, or gains a platform.
    """
    if tag is not None:
        check_image_tag(tag)
    request = plan.request
    with temporary_directory("spack-oci-image", _existing(settings)) as stage:
        maker = _LayerMaker(store, request, settings or ImageSettings(), stage)
        layers = maker.layers_of(plan.groups)
    image = _build(plan, layers)
    store.put_blob(image.config_descriptor, BytesSource(image.config))
    index = None
    if multi_arch and tag is not None:
        index = push_platform(store, tag, image.manifest, image.media_type, plan.index_platform)
    else:
        store.put_manifest(image.manifest, image.media_type, tag)
    return PushedImage(plan, image, layers, index, maker.sent)


def _existing(settings: Optional[ImageSettings]) -> Optional[str]:
    stage = settings.stage if settings else None
    try:
        if stage:
            os.makedirs(stage, exist_ok=True)
    except OSError as e:
        raise StorageError.from_os_error("making a directory for layers", e) from e
    return stage


def _build(plan: ImagePlan, layers: Sequence[Layer]) -> BuiltImage:
    request = plan.request
    about = about_image(
        title=request.title,
        version=request.version,
        description=request.description,
        licenses=request.licenses,
        source=request.source,
        created=request.created,
        base=request.base,
    )
    settings = image_settings(
        request.base, request.environment, request.runtime, path_first=request.path_first, labels=about
    )
    return build_image(
        platform=plan.platform.pair,
        variant=plan.platform.variant,
        layers=layers,
        settings=settings,
        base=request.base,
        annotations=about,
        created=request.created,
    )


class _LayerMaker:
    """Makes the layers that no package has as its own, and sends them."""

    def __init__(self, store: RepositoryWriter, request: ImageRequest, settings: ImageSettings, stage: str) -> None:
        self._store = store
        self._request = request
        self._cache = settings.cache
        self._jobs = max(1, settings.jobs)
        self._reporter = settings.reporter
        self._stage = stage
        self._lock = threading.Lock()
        self.sent = 0

    def layers_of(self, groups: Sequence[Group]) -> List[Layer]:
        self._reporter.begin(Work(len(groups), "layers of the image"))
        try:
            return self._layers_of(groups)
        finally:
            self._reporter.end()

    def _layers_of(self, groups: Sequence[Group]) -> List[Layer]:
        if self._request.files and self._request.squash:
            return [self._with_files(group) for group in groups]
        with DaemonPool(self._jobs, "image") as pool:
            layers = list(pool.map(self._told_of, groups))
        if self._request.files_layers:
            layers.append(self._write("files", self._files_layer))
        return layers

    def _told_of(self, group: Group) -> Layer:
        name = group[-1].name
        self._reporter.started(name)
        layer = self._layer_of(group)
        self._reporter.finished(name)
        return layer

    def _with_files(self, group: Group) -> Layer:
        """The squashed image's layer: the packages, then the files that no package has."""
        path = os.path.join(self._stage, "files")
        with open(path, "w+b") as sink:
            files = self._files_layer(sink)
        return self._layer_of(group, (files, LayerSource(files.descriptor, lambda: open(path, "rb"))))

    def _files_layer(self, sink: BinaryIO) -> Layer:
        request = self._request
        return files_layer(request.files, request.compression, sink, _FILES_LABEL, request.directories)

    def _layer_of(self, group: Group, files: Optional[Tuple[Layer, LayerSource]] = None) -> Layer:
        request = self._request
        as_it_is = not request.exclusions and files is None and not (request.squash and request.directories)
        if len(group) == 1 and as_it_is:
            return group[0].layer
        parts = "\n".join(f"{member.layer.diff_id} {member.prefix}" for member in group)
        if files is not None:
            parts += f"\n{files[0].diff_id}"
        if request.directories:
            parts += f"\n{sorted(request.directories.items())}"
        state = hashlib.sha256(f"{request.exclusions.key}\n\n{parts}".encode()).hexdigest()
        key = LayerKey("image-layer", request.compression.encoder, state)
        label = ", ".join(member.layer.label for member in group)
        return self._remembered(key, label) or self._make(key, group, label, [files[1]] if files else [])

    def _remembered(self, key: LayerKey, label: str) -> Optional[Layer]:
        known = self._cache.lookup_layer(key) if self._cache else None
        if known is None or self._cache is None:
            return None
        path = self._cache.get(known.descriptor.digest)
        if path is not None:
            self._send(known.descriptor, CachedBlob(path, known.descriptor))
        elif not self._store.has_blob(known.descriptor.digest):
            return None
        return Layer(known.descriptor, known.diff_id, label)

    def _make(self, key: LayerKey, group: Group, label: str, more: Sequence[LayerSource]) -> Layer:
        def write(sink: BinaryIO) -> Layer:
            sources = [*(self._source(member, key.state) for member in group), *more]
            request = self._request
            return compose_layers(sources, request.compression, sink, label, request.directories).layer

        return self._write(key.state, write, key)

    def _write(self, name: str, write: Callable[[BinaryIO], Layer], key: Optional[LayerKey] = None) -> Layer:
        path = os.path.join(self._stage, name)
        try:
            with open(path, "w+b") as sink:
                layer = write(sink)
            self._send(layer.descriptor, FileSource(path))
            if key is not None and self._cache is not None:
                self._cache.add(layer.descriptor.digest, path)
                self._cache.remember_layer(key, KnownLayer(layer.descriptor, layer.diff_id, 0, {}))
        except OSError as e:
            raise StorageError.from_os_error("writing a layer of the image", e) from e
        if os.path.exists(path):
            os.unlink(path)
        return layer

    def _send(self, descriptor: Descriptor, source: Any) -> None:
        if self._store.put_blob(descriptor, source, lambda count: self._reporter.moved(sent=count)):
            with self._lock:
                self.sent += descriptor.size

    def _source(self, member: Member, group: str) -> LayerSource:
        """A member's layer to be read, without what is left out."""
        source = LayerSource(member.layer.descriptor, lambda: self._open(member.layer.descriptor))
        if not self._request.exclusions:
            return source
        if not member.prefix:
            raise ImageError(f"nothing can be left out of {member.layer.label}: its prefix is not known")
        path = os.path.join(self._stage, f"{group}-{member.dag_hash}")
        with open(path, "w+b") as sink:
            layer = filter_layer(source, member.prefix, self._request.exclusions, self._request.compression, sink)
        return LayerSource(layer.descriptor, lambda: open(path, "rb"))

    def _open(self, descriptor: Descriptor) -> BinaryIO:
        path = self._cache.get(descriptor.digest) if self._cache else None
        if path is not None:
            return CachedBlob(path, descriptor).open()
        return self._store.open_blob(descriptor)  # type: ignore[return-value]  # it has what is needed of a file
