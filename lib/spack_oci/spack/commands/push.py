# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""A push as Spack's users know it: which specs, to which mirror, what is printed.

Most pushes of a pipeline find that all is there. So what packs, makes images and updates indexes is imported by the
functions that need it: it takes 30 ms, a third of such a push.
"""

import contextlib
import tempfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import spack.cmd
import spack.environment
import spack.llnl.util.tty as tty
import spack.mirrors.mirror
import spack.spec
import spack.stage
import spack.store
from spack.enums import InstallRecordStatus

from ...archive.codec import Compression
from ...content import ContentStore, MissingStore, RepositoryReader
from ...descriptor import OCI_LAYER_ZSTD
from ...errors import ConfigurationError, InvalidSpec, NotFound, SpackOciError
from ...operations.push import plan as push_plan
from ...operations.push.outcome import PushResult
from ...operations.push.plan import PushPlan, PushSettings
from ...package.record import Layer, Package
from ...reference import image_name
from ...util.concurrency.collector import relax_collector
from ...util.documents import print_json
from ...util.sizes import format_size
from ...util.text import by_cause, counted, elided
from .. import compat
from ..configuration import mirrors, settings
from ..output import reporter
from ..specs import packages
from . import selection
from .image_options import ImageOptions

if TYPE_CHECKING:
    from ...index.update.loop import IndexUpdate
    from ...trust.signers import Signer


class Request(NamedTuple):
    """What a user asked to be pushed, and where to."""

    mirror: "spack.mirrors.mirror.Mirror"
    roots: Sequence["spack.spec.Spec"]
    package: bool = True
    dependencies: bool = True
    build_dependencies: bool = True
    force: bool = False
    private: bool = False
    fail_fast: bool = False
    #: see :class:`~spack_oci.operations.push.plan.PushSettings`
    read_dependencies: bool = True
    update_index: bool = False
    compression: Optional[Compression] = None
    image: ImageOptions = ImageOptions()
    #: attach an SBOM; None: as oci:sbom says
    sbom: Optional[bool] = None
    #: attach a statement of provenance, signed by ``signer``; None: as oci:provenance says
    provenance: Optional[bool] = None
    #: signs what is pushed; None: nothing is signed
    signer: Optional["Signer"] = None
    #: packages that are packed at the same time; None: as oci:jobs:pack says
    jobs: Optional[int] = None
    #: constraints on specs that are left out, besides oci:push:exclude
    exclude: Sequence[str] = ()
    #: what this mirror has is left out
    not_in: "Optional[spack.mirrors.mirror.Mirror]" = None
    #: what was asked for and is not installed is no failure
    allow_missing: bool = False


@dataclass
class Selection:
    """Specs that can be pushed, and why others cannot."""

    specs: List["spack.spec.Spec"]
    not_installed: List["spack.spec.Spec"] = field(default_factory=list)


def installed_roots(words: Sequence[str]) -> List["spack.spec.Spec"]:
    """The installed specs that ``words`` name, or the roots of the active environment."""
    if words:
        environment = spack.environment.active_environment()
        with spack.store.STORE.db.read_transaction():
            return [
                (None if environment else _by_hash(spec)) or _one_installed(spec, environment)
                for spec in spack.cmd.parse_specs(words)
            ]
    environment = spack.environment.active_environment()
    if environment is None:
        raise ConfigurationError(
            "there is nothing to push: no spec is given and no environment is active",
            remedy="name a spec, or activate an environment with `spack env activate`",
        )
    roots = environment.concrete_roots()
    if not roots and list(environment.user_specs):
        raise ConfigurationError(
            f"the environment {environment.name} is not concretized",
            remedy="run `spack concretize` and `spack install` in it first",
        )
    if not roots:
        tty.info(f"There is nothing to push: the environment {environment.name} has no specs; `spack add` adds some")
    return roots


def roots_of_groups(groups: Sequence[str]) -> List["spack.spec.Spec"]:
    """The roots of groups of the active environment (`--group`), which environments have since Spack 1.2."""
    environment = spack.environment.active_environment()
    if environment is None:
        raise ConfigurationError("--group needs an active environment", remedy="run `spack env activate`")
    known = environment.manifest.groups() if hasattr(environment.manifest, "groups") else ()
    unknown = [group for group in groups if group not in known]
    if unknown:
        raise ConfigurationError(
            f"the environment {environment.name} has no group {elided(unknown)}",
            remedy=f"its groups: {elided(sorted(known)) or 'none'}",
        )
    return [concrete for group in groups for _, concrete in environment.concretized_specs_by(group=group)]


def _by_hash(spec: "spack.spec.Spec") -> Optional["spack.spec.Spec"]:
    """What `/HASH` alone names, if it is one; a query would compare it with every package of the store."""
    if not spec.abstract_hash or str(spec) != f"/{spec.abstract_hash}":
        return None
    found = spack.store.STORE.db.get_by_hash(spec.abstract_hash) or []
    return found[0] if len(found) == 1 else None


def _one_installed(
    spec: "spack.spec.Spec", environment: "Optional[spack.environment.Environment]"
) -> "spack.spec.Spec":
    """Spack ends the program if there are several, which it shows; that there is none it says without a remedy."""
    hashes = environment.all_hashes() if environment else None
    found = spack.store.STORE.db.query(spec, hashes=hashes, installed=InstallRecordStatus.ANY)
    if len(found) == 1:
        return found[0]
    if found:
        return spack.cmd.disambiguate_spec(spec, environment, installed=InstallRecordStatus.ANY)
    import difflib

    known = spack.store.STORE.db.query(hashes=hashes)
    named = sorted({f"{s.name}@{s.version}" for s in known if s.name == spec.name})
    near = named or difflib.get_close_matches(spec.name or "", {s.name for s in known}, 3, 0.8)
    raise InvalidSpec(
        f"no installed package{f' of {environment.name}' if environment else ''} matches {spec}",
        remedy=_what_is_installed(near, spec),
    )


def _what_is_installed(near: Sequence[str], spec: "spack.spec.Spec") -> str:
    if near:
        return f"did you mean {' or '.join(near)}?"
    return f"install it first: `spack install {spec}`" if spec.name else "`spack find --long` shows what there is"


def select(request: Request) -> Selection:
    """The specs that ``request`` means, with the filters that Spack's own push has."""
    specs = packages.select(
        request.roots,
        package=request.package,
        dependencies=request.dependencies,
        build_dependencies=request.build_dependencies,
    )
    specs = [s for s in specs if compat.matches_binary(request.mirror, s, "push")]
    specs = selection.leave_out(specs, [*settings.read().push_exclude, *request.exclude])
    installed, missing = packages.partition_installed(specs)
    chosen = selection.leave_out_what_is_in(installed, request.not_in) if request.not_in else installed
    if request.image.tags:
        selection.check_image_is_complete(request.roots, chosen, packages.runtime_closure(*request.roots))
    selection.warn_of_content_outside_the_hash(chosen)
    return Selection(chosen, selection.split_missing(missing, request.roots, request.private))


def _plan(
    store: RepositoryReader,
    request: Request,
    specs: Sequence["spack.spec.Spec"],
    push_settings: PushSettings,
    prepare: Callable[[Sequence[Package]], None] = lambda packages: None,
) -> PushPlan:
    """The plan for installed specs. Their package classes are loaded only where it says more than "it is there"."""
    by_hash = {s.dag_hash(): s for s in specs}
    plan = push_plan.plan_push(
        store,
        packages.records_of(specs),
        force=request.force,
        settings=push_settings,
        may_be_pushed=lambda p: request.private or packages.may_be_redistributed(by_hash[p.dag_hash]),
        prepare=prepare,
    )
    if plan.refused:
        tty.info(
            "Left out, because they may not be redistributed (--private pushes them): "
            + elided([package.name for package in plan.refused])
        )
    return plan


@contextlib.contextmanager
def _push_settings(request: Request) -> Iterator[PushSettings]:
    """The engine's settings; its temporary files live in a directory of Spack's stage and go with it."""
    options = settings.read()
    with tempfile.TemporaryDirectory(prefix="spack-stage-oci-", dir=spack.stage.get_stage_root()) as stage:
        yield PushSettings(
            compression=request.compression or options.compression,
            pack_jobs=request.jobs or options.pack_jobs,
            transfer_jobs=options.transfer_jobs,
            stage=stage,
            cache=settings.blob_cache(options),
            fail_fast=request.fail_fast,
            read_dependencies=request.read_dependencies,
            short_prefix=options.short_prefix,
            signer=request.signer,
            index_follows=request.update_index,
            sbom=options.sbom if request.sbom is None else request.sbom,
            provenance=options.provenance if request.provenance is None else request.provenance,
        )


def why_not_writable(mirror: "spack.mirrors.mirror.Mirror") -> Optional[SpackOciError]:
    """For ``--if-writable``; see :func:`spack_oci.operations.push.writable.why_not_writable`."""
    from ...operations.push import writable

    return writable.why_not_writable(lambda: mirrors.open_store(mirror, mirrors.PUSH, create=True))


def print_skipped(mirror: "spack.mirrors.mirror.Mirror", reason: SpackOciError, as_json: bool) -> None:
    from ...operations.push import writable

    if as_json:
        print_json(writable.skipped_document(mirror.push_url, reason))
    else:
        tty.info(writable.skipped_line(mirror.push_url, reason))


class NotInstalled(ConfigurationError):
    """A package that was asked for and is not installed."""


def plan(request: Request) -> PushPlan:
    """What :func:`run` would do."""
    chosen = select(request)
    with _push_settings(request) as push_settings:
        store: RepositoryReader
        try:
            store = mirrors.open_store(request.mirror, mirrors.PUSH)
        except NotFound:
            store = MissingStore(request.mirror.push_url)
        return _plan(store, request, chosen.specs, push_settings)


def run(request: Request) -> "Outcome":
    """Push. What cannot be pushed is in the outcome, not raised, unless ``fail_fast`` says otherwise.

    For a process that does nothing else: not what an autopush calls for each package.
    """
    if request.provenance and request.signer is None:
        raise ConfigurationError(
            "a statement of provenance has to be signed, and no key is set", remedy="name one: --sign KEY"
        )
    relax_collector()
    if request.image.tags:
        from . import images

        request = request._replace(image=images.checked(request.image, request.roots))
    chosen = select(request)
    if chosen.not_installed and request.fail_fast and not request.allow_missing:
        raise NotInstalled(
            f"not installed: {elided([packages.label(s) for s in chosen.not_installed])}",
            remedy="install them first, or leave --fail-fast away to push the others",
        )
    if len(chosen.specs) > 1:
        tty.info(f"Selected {len(chosen.specs)} specs to push to {request.mirror.push_url}")
    store = mirrors.open_store(request.mirror, mirrors.PUSH, create=True)
    result = push_specs(store, request, chosen.specs)
    outcome = Outcome(request, result, chosen.not_installed)
    if request.update_index:
        from .. import indexes

        outcome.index = indexes.update_after_push(request.mirror, result, request.signer)
    if request.image.tags and not outcome.failed:
        outcome.images = tag_images(store, request, request.roots, result.layers)
    elif request.image.tags:
        tty.warn(f"No image was tagged {elided(request.image.tags)}, because packages of it are missing")
    return outcome


def push_specs(store: ContentStore, request: Request, specs: Sequence["spack.spec.Spec"]) -> PushResult:
    """Plan and push installed specs, telling about it on Spack's output."""
    with _push_settings(request) as push_settings:
        plan = _plan(store, request, specs, push_settings, packages.prepare_environments)
        to_push = [item.package for item in plan.to_push]
        if not to_push:
            return plan.result_of_nothing()
        from ...operations.push.execute import execute_push

        if len(to_push) < len(specs):
            tty.info(f"{len(to_push)} specs need to be pushed to {store.url}")
        if request.image.base_image:
            from . import images

            base = images.prepare_base(store, request.image, specs, to_push, request.mirror)
            push_settings = push_settings._replace(base=base)
        result = execute_push(plan, store, settings=push_settings, reporter=reporter())
    for outcome in result.pushed:
        tty.info(f"Tagged {outcome.package.label} as {image_name(store.url, outcome.package.tag)}")
    return result


def tag_images(
    store: ContentStore, request: Request, roots: Sequence["spack.spec.Spec"], known: Mapping[str, Layer]
) -> List[Dict[str, Any]]:
    """Make the image of ``roots`` and give it its tags; what was made, as ``--json`` prints it."""
    from . import images

    closure = packages.runtime_closure(*roots)
    with _push_settings(request) as push_settings:
        base = images.prepare_base(store, request.image, closure, packages.records_of(closure), request.mirror)
        made = images.push_tags(store, request.image, roots, base, known, push_settings)
        if request.signer is not None:
            from .sign import sign_images

            sign_images(store, request.signer, made)
    return [images.image_document(store, tag, image) for tag, image in zip(request.image.tags, made)]


def planned_images(request: Request) -> List[Dict[str, Any]]:
    """The images that :func:`run` would make, for ``--dry-run``."""
    if not request.image.tags:
        return []
    from . import images

    return images.planned(request.mirror.push_url, request.image, request.roots)


@dataclass
class Outcome:
    """What came of a request."""

    request: Request
    result: PushResult
    not_installed: Sequence["spack.spec.Spec"] = ()
    index: Optional["IndexUpdate"] = None
    #: images that were tagged, as ``--json`` prints them
    images: Sequence[Dict[str, Any]] = ()

    @property
    def failures(self) -> List[Tuple[str, str]]:
        """(package, why), one line each."""
        missing = () if self.request.allow_missing else self.not_installed
        not_installed = [(packages.label(s), "package not installed") for s in missing]
        return not_installed + [(o.package.label, str(o.error)) for o in self.result.failed]

    @property
    def failed(self) -> bool:
        return bool(self.failures)


def pushed_references(outcome: Outcome) -> List[str]:
    """``HOST/NAME@DIGEST`` of every package and image that was pushed."""
    from ...trust.payload import repository_of

    repository = repository_of(outcome.request.mirror.push_url)
    digests = [o.manifest.digest for o in outcome.result.pushed if o.manifest is not None]
    digests += [image.get("index", image["manifest"])["digest"] for image in outcome.images]
    return [f"{repository}@{digest}" for digest in dict.fromkeys(digests)]


def print_plan(plan: PushPlan) -> None:
    for line in push_plan.lines_of(plan):
        print(line)
    tty.info(push_plan.summary_of(plan))


def print_outcome(outcome: Outcome) -> None:
    result = outcome.result
    skipped = result.skipped
    if skipped and not result.pushed and not outcome.failed:
        subject = "the spec is" if len(skipped) == 1 else f"all {len(skipped)} specs are"
        tty.info(f"Nothing to push: {subject} already in the mirror (--force pushes again)")
    elif skipped:
        tty.info(
            f"{len(skipped)} specs were skipped as they are in the mirror already (--force pushes them again): "
            f"{elided([o.package.label for o in skipped])}"
        )
    if result.pushed:
        saved = f", {format_size(result.bytes_saved)} saved" if result.bytes_saved else ""
        tty.info(
            f"Pushed {counted(len(result.pushed), 'package')} to {outcome.request.mirror.push_url} "
            f"in {result.seconds:.1f} s: {format_size(result.bytes_read)} read, "
            f"{format_size(result.bytes_sent)} sent{saved}"
        )
    zstd = sum(o.layer is not None and o.layer.descriptor.media_type == OCI_LAYER_ZSTD for o in result.pushed)
    if zstd:
        tty.info(f"{counted(zstd, 'package')} with zstd: Spack without spack-oci cannot install them")
    signed = [o for o in result.pushed if o.signature]
    if signed and outcome.request.signer:
        public = outcome.request.signer.public
        tty.info(f"Signed {counted(len(signed), 'package')} with the key {public.name} ({public.short_id})")
    if outcome.index:
        from ...maintenance.update_index import print_update

        print_update(tty, outcome.request.mirror.push_url, outcome.index)
    if outcome.failed:
        tty.error(
            f"{counted(len(outcome.failures), 'package')} not pushed:",
            *by_cause(outcome.failures),
        )


def plan_document(plan: PushPlan) -> Dict[str, Any]:
    """For ``--dry-run --json``."""
    return plan.to_dict()


def outcome_document(outcome: Outcome) -> Dict[str, Any]:
    """For ``--json``."""
    document = {"mirror": outcome.request.mirror.push_url, **outcome.result.to_dict()}
    if outcome.images:
        document["images"] = list(outcome.images)
    document["not_installed"] = [packages.label(s) for s in outcome.not_installed]
    if outcome.index:
        document["index"] = outcome.index.to_dict()
    return document
