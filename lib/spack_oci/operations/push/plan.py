# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What a push will do, as data: which packages are there, which will be packed or taken from the blob cache."""

import contextlib
from typing import (
    TYPE_CHECKING,
    Any,
    Callable,
    Dict,
    FrozenSet,
    Iterator,
    List,
    Mapping,
    NamedTuple,
    Optional,
    Sequence,
    Set,
    Tuple,
)

from ...archive.codec import Compression, memory_of
from ...archive.fingerprint import prefix_fingerprint
from ...content import ContentReader, RepositoryReader, Resolver
from ...content.blob_cache import BlobCache, KnownLayer, LayerKey
from ...content.transfer import mountable_repository
from ...errors import ContentError, NotFound, SpackOciError
from ...image.manifest import Base
from ...index.condemned import left_out_of_index
from ...package.documents import read_package_documents
from ...package.record import Layer, Package, package_tag
from ...util.concurrency.processes import available_cores, can_fork, mapped_in_processes
from ...util.concurrency.threads import DaemonPool
from ...util.sizes import format_size
from ...util.text import about
from .level import alternatives
from .outcome import SKIPPED, PackageOutcome, PushResult

if TYPE_CHECKING:
    from ...trust.signers import Signer

#: what is done with a package
SKIP = "skip"
PACK = "pack"
REUSE = "reuse"

#: so many tags of a list cost about as much as one HEAD request (docker-registry: 2000 tags as long as some 8 of them)
_TAGS_PER_HEAD = 250
#: bytes that a packer has besides the compressor: a Python process, its part of the tar, names, lists
_PER_PACKER = 28 << 20

#: packages for which processes are forked: it takes some 10 ms
WORTH_FORKING = 32
#: processes that look at prefixes; more than this do not help with the rest of a plan
_MOST_PLANNERS = 4
#: below this many packages, asking for each is as quick as the shortest list
_FEW = 3


class PushSettings(NamedTuple):
    """How to push. Sizes in bytes."""

    compression: Compression = Compression()
    #: packages that are packed at the same time; 0: one for each core
    pack_jobs: int = 0
    #: pack in worker processes (True) or threads (False); None: in processes when there is enough to do
    processes: Optional[bool] = None
    #: plan and tag in forked processes, too (True), or in threads only (False); None: when there is enough to do
    fork: Optional[bool] = None
    #: connections that send at the same time
    transfer_jobs: int = 4
    #: prefixes of at least so many bytes are sent while they are packed; 0: none. It costs a request for each piece of
    #: 32 MiB; what is smaller is packed in a second, while others are sent
    ahead_from: int = 128 << 20
    #: where layers are written before they are sent; None: the system's directory for temporary files
    stage: Optional[str] = None
    cache: Optional[BlobCache] = None
    #: of all that is held in memory at once
    memory: int = 512 << 20
    #: look in the store for layers of dependencies that are not pushed too, so that every image is complete: two
    #: requests for each, which some registries count as pulls. Otherwise these layers are left out, as Spack does
    read_dependencies: bool = True
    #: stop at the first package that fails
    fail_fast: bool = False
    #: base image whose layers are in the store already
    base: Optional[Base] = None
    #: attach an SBOM to every package
    sbom: bool = False
    #: attach a statement of provenance to every package, signed by ``signer``
    provenance: bool = False
    #: signs what is pushed; None: nothing is signed
    signer: Optional["Signer"] = None
    #: the index will be updated with what is pushed, which sees to it that no signature of others is lost
    index_follows: bool = False
    #: prefixes shorter than this are warned of (once); 0: never
    short_prefix: int = 0

    @property
    def packers(self) -> int:
        """How many packages are packed at the same time, so that ``memory`` suffices."""
        affordable = self.memory // (memory_of(self.compression) + _PER_PACKER)
        return max(1, min(self.pack_jobs or available_cores(), affordable))


def worth_forking(settings: PushSettings, packages: int) -> bool:
    """Whether processes are forked to plan and tag so many packages."""
    if settings.fork is not None:
        return settings.fork
    return can_fork() and available_cores() > 1 and packages >= WORTH_FORKING


class PlannedPackage(NamedTuple):
    """``action``: SKIP (the tag is there), PACK, or REUSE (the blob cache knows the layer of this very prefix)."""

    package: Package
    action: str
    #: bytes of the prefix's files, 0 if skipped
    size: int = 0
    #: under which the layer will be remembered
    key: Optional[LayerKey] = None
    #: of REUSE
    known: Optional[KnownLayer] = None
    #: of REUSE: repository of the same registry that may have the layer
    mount_from: Optional[str] = None
    #: why this package cannot be pushed, found while planning (its prefix cannot be read)
    problem: Optional[SpackOciError] = None

    def to_dict(self) -> Dict[str, Any]:
        result: Dict[str, Any] = {
            "name": self.package.name,
            "version": self.package.version,
            "hash": self.package.dag_hash,
            "tag": self.package.tag,
            "action": self.action,
            "size": self.size,
        }
        if self.known:
            result["layer"] = self.known.descriptor.to_dict()
        if self.mount_from:
            result["mount_from"] = self.mount_from
        if self.problem:
            result["error"] = str(self.problem)
        return result


class PushPlan(NamedTuple):
    """``packages``: in the order in which they were given, dependencies first."""

    packages: Sequence[PlannedPackage]
    #: DAG hash -> layer in the store, of the skipped packages that an image will need
    layers: Mapping[str, Layer] = {}
    #: what was odd but stops nothing
    warnings: Sequence[str] = ()
    #: packages that are not there and may not be pushed
    refused: Sequence[Package] = ()
    #: what is there is pushed too
    force: bool = False
    #: tags that a prune is going to delete
    condemned: FrozenSet[str] = frozenset()

    def of(self, action: str) -> List[PlannedPackage]:
        return [item for item in self.packages if item.action == action]

    @property
    def to_push(self) -> List[PlannedPackage]:
        return [item for item in self.packages if item.action != SKIP]

    @property
    def bytes_to_read(self) -> int:
        return sum(item.size for item in self.of(PACK))

    def result_of_nothing(self) -> PushResult:
        """What comes of a plan with nothing to push."""
        skipped = [PackageOutcome(i.package, SKIPPED, self.layers.get(i.package.dag_hash)) for i in self.packages]
        return PushResult(skipped, layers=dict(self.layers))

    def to_dict(self) -> Dict[str, Any]:
        return {
            "packages": [item.to_dict() for item in self.packages],
            "skip": len(self.of(SKIP)),
            "pack": len(self.of(PACK)),
            "reuse": len(self.of(REUSE)),
            "bytes_to_read": self.bytes_to_read,
            "warnings": list(self.warnings),
        }


def plan_push(
    store: RepositoryReader,
    packages: Sequence[Package],
    *,
    force: bool = False,
    settings: Optional[PushSettings] = None,
    may_be_pushed: Callable[[Package], bool] = lambda package: True,
    prepare: Callable[[Sequence[Package]], None] = lambda packages: None,
) -> PushPlan:
    """The plan for pushing ``packages`` (dependencies first) to ``store``. Reads, writes nothing.

    ``force``: also what is there; ``may_be_pushed``: asked of packages that are not there, as it may be expensive, and
    whose error is that of the package;
    ``prepare``: called with those that will be pushed, while other processes look at their prefixes. Raises what the
    store raises: an existence check that fails is no answer.
    """
    settings = settings or PushSettings()
    packages = list({package.dag_hash: package for package in packages}.values())
    there = set() if force else existing(store, packages, settings.transfer_jobs)
    condemned = left_out_of_index(store) if there else set()
    # what a prune is going to delete is not there
    there = {package.dag_hash for package in packages if package.dag_hash in there and package.tag not in condemned}
    missing = [package for package in packages if package.dag_hash not in there]
    with _planned_apart(missing, settings, store.url) as planned_apart:
        refused, unclear = _refused(missing, may_be_pushed)
        left_out = {package.dag_hash for package in refused}  # comparing records would make all their lazy parts
        packages = [package for package in packages if package.dag_hash not in left_out]
        layers, warnings = _layers_of_existing(store, packages, there, settings)
        prepare([package for package in packages if package.dag_hash not in there])
        found = {item.package.dag_hash: item for item in planned_apart()}
    planned = [
        PlannedPackage(package, SKIP)
        if package.dag_hash in there
        else unclear.get(package.dag_hash) or found.get(package.dag_hash) or _plan_one(package, settings, store.url)
        for package in packages
    ]
    return PushPlan(planned, layers, warnings, refused, force, frozenset(condemned))


def _refused(
    packages: Sequence[Package], may_be_pushed: Callable[[Package], bool]
) -> Tuple[List[Package], Dict[str, PlannedPackage]]:
    """Those that may not be pushed; and, by DAG hash, those of which nobody can say."""
    refused: List[Package] = []
    unclear: Dict[str, PlannedPackage] = {}
    for package in packages:
        try:
            if not may_be_pushed(package):
                refused.append(package)
        except SpackOciError as e:
            unclear[package.dag_hash] = PlannedPackage(package, PACK, problem=e)
    return refused, unclear


def existing(store: RepositoryReader, packages: Sequence[Package], jobs: int) -> Set[str]:
    """The DAG hashes of those packages whose tag is in the store.

    The tags are listed; when the list turns out so long that asking for each package is cheaper, the rest is asked for,
    by concurrent HEAD requests. Only "no such tag" counts as missing.
    """
    wanted = {package.tag: package.dag_hash for package in packages}
    found: Set[str] = set()
    if len(wanted) > _FEW:
        budget = _TAGS_PER_HEAD * len(wanted)
        for seen, tag in enumerate(store.tags(), 1):
            if tag in wanted:
                found.add(wanted.pop(tag))
            if not wanted or seen >= budget:
                break
        else:
            return found  # the whole list was read: what is not in it is not there
    with DaemonPool(jobs, "look") as pool:
        for tag, there in zip(wanted, pool.map(lambda tag: has_tag(store, tag), wanted)):
            if there:
                found.add(wanted[tag])
    return found


def has_tag(store: Resolver, tag: str) -> bool:
    try:
        store.resolve(tag)
    except NotFound:
        return False
    return True


def _layers_of_existing(
    store: RepositoryReader,
    packages: Sequence[Package],
    there: Set[str],
    settings: PushSettings,
) -> Tuple[Dict[str, Layer], List[str]]:
    """The layers, in the store, that the images of the packages to be pushed will have.

    These are those of ``packages`` that are there, and whatever else of their closures is (`--only package`). Takes
    those out of ``there`` whose tag turns out not to exist (a list may be older than the last deletion). A tag that is
    there but is no package gives a warning, and its layer is left out of the images.
    """
    layers: Dict[str, Layer] = {}
    warnings: List[str] = []
    asked: Set[str] = set()
    tags = {package.dag_hash: package.tag for package in packages}
    elsewhere = settings.read_dependencies
    with DaemonPool(settings.transfer_jobs, "read") as pool:
        while True:
            # DAG hash -> label of all that the images of what is to be pushed will hold
            wanted = dict(entry for package in packages if package.dag_hash not in there for entry in package.runtime)
            needed = {
                dag_hash
                for dag_hash in wanted.keys() - asked
                if dag_hash in there or (elsewhere and dag_hash not in tags)
            }
            if not needed:
                return layers, warnings
            asked |= needed
            unknown = sorted(needed)
            asked_for = [tags.get(dag_hash) or _tag_of_label(wanted[dag_hash], dag_hash) for dag_hash in unknown]
            for dag_hash, answer in zip(unknown, pool.map(lambda tag: _try_read(store, tag), asked_for)):
                if isinstance(answer, Layer):
                    layers[dag_hash] = answer
                elif isinstance(answer, NotFound):
                    there.discard(dag_hash)
                else:
                    warnings.append(f"{answer}; images of the packages that depend on it will lack its layer")


def _tag_of_label(label: str, dag_hash: str) -> str:
    """``name@version/abcdefg`` -> the package's tag."""
    name, _, version = label.rpartition("/")[0].partition("@")
    return package_tag(name, version, dag_hash)


def _try_read(store: ContentReader, tag: str) -> object:
    try:
        return read_layer(store, tag)
    except ContentError as e:
        return e


def read_layer(store: ContentReader, tag: str) -> Layer:
    """The layer that holds the package of ``tag``. Raises NotFound (no such tag), NotAPackage, DigestMismatch."""
    return read_package_documents(store, tag).layer_for_image()


def _plan_one(package: Package, settings: PushSettings, target: str) -> PlannedPackage:
    try:
        state = prefix_fingerprint(package.prefix, package.build_info)
    except SpackOciError as e:
        return PlannedPackage(package, PACK, problem=e)
    keys = [LayerKey(package.dag_hash, each.encoder, state.fingerprint) for each in alternatives(settings.compression)]
    for key in keys if settings.cache else ():
        known = settings.cache.lookup_layer(key) if settings.cache else None
        if known is not None:
            source = mountable_repository(target, known.origins)
            return PlannedPackage(package, REUSE, state.size, key, known, source)
    return PlannedPackage(package, PACK, state.size, keys[0])


@contextlib.contextmanager
def _planned_apart(
    packages: Sequence[Package], settings: PushSettings, target: str
) -> Iterator[Callable[[], List[PlannedPackage]]]:
    """Plan ``packages`` in forked processes, meanwhile; to be called for what came of it. Nothing if it is not worth
    it: what is not in the list is planned by the caller.
    """
    if not packages or not worth_forking(settings, len(packages)):
        yield lambda: []
        return

    def look(package: Package) -> Tuple[Mapping[str, Any], Mapping[str, Any]]:
        """What was made of the package itself, and what is planned."""
        plan = _plan_one(package, settings, target)._asdict()
        parts = {name: getattr(package, name) for name in ("prefix", "build_info", "description")}
        return parts, {**plan, "package": None}

    # this process has enough to do meanwhile
    processes = max(1, min(available_cores() - 1, _MOST_PLANNERS))
    with mapped_in_processes(look, packages, processes) as results:

        def planned() -> List[PlannedPackage]:
            result = []
            for package, (parts, plan) in zip(packages, results()):
                package.know(parts)
                result.append(PlannedPackage(**{**plan, "package": package}))
            return result

        yield planned


def lines_of(plan: PushPlan) -> List[str]:
    """What would be done with each package, for people."""
    words = {SKIP: "skip", PACK: "pack", REUSE: "send"}
    lines = []
    for item in plan.packages:
        if item.problem:
            lines.append(f"fail  {about(item.package.label, str(item.problem))}")
            continue
        word = "mount" if item.mount_from else words[item.action]
        size = format_size(item.size) if item.size else ""
        lines.append(f"{word:5} {item.package.label:40} {size:>10}".rstrip())
    return lines


def summary_of(plan: PushPlan) -> str:
    return (
        f"{len(plan.of(SKIP))} are there already, {len(plan.of(PACK))} would be packed "
        f"({format_size(plan.bytes_to_read)}), {len(plan.of(REUSE))} would be sent from the local cache"
    )
