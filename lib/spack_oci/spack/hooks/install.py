# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What `spack install` gets from us: a package's layer, and its extraction into the prefix."""

import contextlib
import inspect
import os
import re
import sys
from typing import Any, Callable, Dict, Iterable, Iterator, List, Optional, Set, Tuple

import spack.binary_distribution
import spack.config
import spack.database
import spack.deptypes as dt
import spack.hash_types
import spack.hooks.sbang
import spack.llnl.util.tty as tty
import spack.mirrors.mirror
import spack.package_prefs
import spack.platforms
import spack.relocate
import spack.spec
import spack.store
import spack.util.executable
import spack.util.timer

from ...archive.unpack.extraction import InstallSummary, PrefixAccess
from ...archive.unpack.layer import install_layer
from ...archive.unpack.metadata import SPEC_FILE, write_metadata
from ...errors import ConfigurationError, NotFound, SpackOciError, TrustError
from ...operations.install.fetch import find_package
from ...reference import is_oci_url
from ...relocate.aliases import ALIAS_DIRECTORY, Aliases, alias_directory, remove_aliases
from ...relocate.files import MachoRelocator
from ...relocate.mapping import PrefixMap, Relocation
from .. import compat, fetching
from ..configuration import settings
from ..configuration.mirrors import FETCH, open_store
from ..specs import packages
from . import database, install_manifest, notices, permissions
from .permissions import group_id

#: in the source of Spack's ``Database._add``, see :func:`_check_can_be_registered`
_ENDLESS = re.compile(r"if spec\.spliced:\s+self\._add\(spec\.build_spec\b")


def download_tarball(
    original: Callable,
    spec: "spack.spec.Spec",
    unsigned: Optional[bool] = False,
    mirrors_for_spec: Optional[List[Any]] = None,
) -> Any:
    """Hook of ``download_tarball``: the package from the first mirror that has it, or None.

    Mirrors are asked in Spack's order: those whose index names the package, then all others. Only "not found" is a
    miss; any other failure is shown with its remedy before the next mirror is asked. A package that the policy of a
    mirror refuses, and that no other mirror has, is an error (TrustError).
    """
    asked = fetching.candidates(spec, mirrors_for_spec or [])
    if not any(is_oci_url(m.fetch_url) for m in asked):
        return original(spec, unsigned, mirrors_for_spec)
    failures: List[SpackOciError] = []
    for mirror in asked:
        if is_oci_url(mirror.fetch_url):
            found = _try_mirror(mirror, spec, failures, bool(unsigned))
        else:
            with only(mirror):
                found = original(spec, unsigned, None)
        if found is not None:
            return found
    refused = [e for e in failures if isinstance(e, TrustError)]
    if refused:
        raise refused[0]  # to build from source would let whoever tampers with a mirror decide about that
    if failures and (_cache_only or settings.read().on_error == "fail"):
        raise failures[-1]  # with --cache-only, Spack would say that there is no binary
    return None


#: nothing may be built from source in this install
_cache_only = False


@contextlib.contextmanager
def cache_only(wanted: bool) -> Iterator[None]:
    """Around an install. Child processes are forked in it, or take the failure for a missing binary, as Spack does."""
    global _cache_only
    before, _cache_only = _cache_only, wanted
    try:
        yield
    finally:
        _cache_only = before


def only(*mirrors: "spack.mirrors.mirror.Mirror") -> Any:
    """A context in which Spack knows these mirrors alone, so that its own code does not ask the OCI mirrors."""
    scope = spack.config.InternalConfigScope("oci-mirrors", {"mirrors:": {m.name: m.to_dict() for m in mirrors}})
    return spack.config.override(scope)


def _try_mirror(
    mirror: "spack.mirrors.mirror.Mirror", spec: "spack.spec.Spec", failures: List[SpackOciError], unsigned: bool
) -> Optional[fetching.FetchedPackage]:
    # not in the try: a policy that cannot be read is no failure of the mirror
    guard = fetching.guard_of(mirror, unsigned, notices.tell)
    if (mirror.name, spec.dag_hash()) in absent:
        return None
    try:
        return fetching.fetch(mirror, spec, relocation_of(spec), guard=guard, tell=tty.info)
    except NotFound:
        return None
    except SpackOciError as e:
        notices.tell(cannot_be_had(spec, mirror, e))
        failures.append(e)
        return None


#: (name of a mirror, DAG hash) of what this install has asked for already, and the mirror does not have
absent: Set[Tuple[str, str]] = set()


def cannot_be_had(spec: "spack.spec.Spec", mirror: "spack.mirrors.mirror.Mirror", error: SpackOciError) -> str:
    return f"{packages.label(spec)} cannot be had from the mirror {mirror.name}: {error}"


def extract_tarball(
    original: Callable,
    spec: "spack.spec.Spec",
    tarball_stage: Any,
    force: bool = False,
    timer: Any = spack.util.timer.NULL_TIMER,
) -> None:
    """Hook of ``extract_tarball``: extract and relocate in one pass; the prefix appears when it is complete."""
    if not isinstance(tarball_stage, fetching.FetchedPackage):
        original(spec, tarball_stage, force, timer)
        return
    try:
        timer.start("extract")
        if os.path.exists(spec.prefix) and not force:
            raise spack.binary_distribution.NoOverwriteException(str(spec.prefix))
        install_fetched(spec, tarball_stage, force)
        timer.stop("extract")
        timer.start("relocate")  # done on the way
        timer.stop("relocate")
        permissions.will_be_set(spec.dag_hash())
        install_manifest.will_be_updated(spec.dag_hash())
        database.will_register(spec.dag_hash())
    finally:
        tarball_stage.destroy()


def install_fetched(
    spec: "spack.spec.Spec",
    fetched: fetching.Package,
    replace: bool = False,
    relocation: Optional[Relocation] = None,
) -> None:
    """Extract and relocate a package that is in the blob cache; the prefix appears when it is complete.

    ``relocation``: :func:`relocation_of` the spec, if the caller has it.
    """
    if relocation is None:
        # a spliced package was fetched as the one that was built
        known = None if spec.spliced else fetched.relocation
        relocation = known or relocation_of(spec)
    _check_can_be_registered(spec)
    make_parents(str(spec.prefix))
    _extract(spec, fetched, replace, relocation)
    _renew_alias(spec, relocation)


def _check_can_be_registered(spec: "spack.spec.Spec") -> None:
    """Raise ConfigurationError for a spec that Spack's database would follow without end: nothing is installed then.

    Seen in Spack 1.2.0.dev0: ``_add`` goes on to ``build_spec`` as long as any dependency was spliced, also where
    ``build_spec`` is the spec itself.
    """
    built = spec
    while built.spliced and built.build_spec is not built:
        built = built.build_spec
    if built.spliced and _ENDLESS.search(inspect.getsource(spack.database.Database._add)):
        raise ConfigurationError(
            f"this Spack cannot register {packages.label(spec)}: it was built with dependencies that were spliced",
            remedy="use Spack 1.1, or splice only what was built with packages as they were built themselves",
        )


def _renew_alias(spec: "spack.spec.Spec", relocation: Relocation) -> None:
    """Binaries of other packages may name this one by an alias that went with its uninstall."""
    if os.path.isdir(alias_directory(relocation)):
        Aliases(relocation).make(spec.dag_hash(), str(spec.prefix), len(spec.dag_hash()))


def after_uninstall(original: Callable, spec: "spack.spec.Spec") -> None:
    """Hook of ``post_uninstall`` of Spack's module files: an alias goes with its package."""
    original(spec)
    root = settings.read().alias_root or os.path.join(str(spack.store.STORE.layout.root), ALIAS_DIRECTORY)
    remove_aliases(root, str(spec.prefix))


def _extract(spec: "spack.spec.Spec", fetched: fetching.Package, replace: bool, relocation: Relocation) -> None:
    remote = fetched.remote
    macho = _macho_relocator(spec)

    def install(layer: Any) -> InstallSummary:
        return install_layer(
            layer,
            remote.layer.media_type,
            str(spec.prefix),
            relocation,
            dag_hash=remote.dag_hash,
            label=packages.label(spec),
            access=_access(spec),
            compressed_size=remote.layer.size,
            announced=remote.relocation_summary,
            replace=replace,
            macho=macho,
            before_rename=lambda directory, _: _write_spliced_metadata(spec, directory) if spec.spliced else None,
        )

    summary = fetched.use(install, str(spec.prefix))
    if macho is not None:
        _sign(os.path.join(summary.prefix, name) for name in summary.relocated.binaries)


def _access(spec: "spack.spec.Spec") -> PrefixAccess:
    """As Spack makes the prefix of a package that it builds: a restricted one is never open to all."""
    group = spack.package_prefs.get_package_group(spec)
    return PrefixAccess(spack.package_prefs.get_package_dir_permissions(spec), group_id(group))


def _macho_relocator(spec: "spack.spec.Spec") -> Optional[MachoRelocator]:
    """Spack's own functions for Mach-O, where this platform has such files."""
    if "macho" not in spack.platforms.by_name(spec.platform).binary_formats:
        return None

    def relocate(paths: List[str], mapping: PrefixMap) -> None:
        spack.relocate.relocate_macho_binaries(paths, mapping.changes())

    return relocate


def _sign(paths: Iterable[str]) -> None:
    """Sign changed Mach-O files again, ad hoc as Spack does: macOS kills a program whose signature is broken."""
    codesign = spack.util.executable.which("codesign") if sys.platform == "darwin" else None
    if codesign is None:
        return
    for path in paths:
        with compat.filesystem.edit_in_place_through_temporary_file(path) as copy:
            codesign("-fs-", copy)


def make_parents(prefix: str) -> None:
    """The directories above the prefix, with the permissions and group of the one that is there (as Spack does)."""
    parent = os.path.dirname(prefix)
    existing = parent
    while not os.path.isdir(existing):
        existing = os.path.dirname(existing)
    if existing != parent:
        status = os.stat(existing)
        compat.filesystem.mkdirp(parent, mode=status.st_mode & 0o7777, group=status.st_gid, default_perms="parents")


def relocation_of(spec: "spack.spec.Spec") -> Relocation:
    """Where the packages that ``spec`` refers to are here, under the hashes that it was built with."""
    new_prefixes: Dict[str, str] = {}
    earlier: List[Tuple[str, str]] = []
    spliced = spec.build_spec is not spec
    built_with = {id(s) for s in spec.build_spec.traverse(deptype=dt.ALL & ~dt.BUILD)} if spliced else set()
    for node in spack.binary_distribution.specs_to_relocate(spec):
        replaced = _replaced_by_splice(node, spec) if spliced and id(node) not in built_with else node
        new_prefixes[replaced.dag_hash()] = str(node.prefix)
        earlier += [(dag_hash, str(node.prefix)) for dag_hash in _hashes_of_builds(replaced)]
    # the spec that was built may have spliced dependencies itself: the build info has one of these hashes
    new_prefixes = {**dict(earlier), **new_prefixes}
    return Relocation(
        new_prefixes=new_prefixes,
        store_root=str(spack.store.STORE.layout.root),
        sbang_path=spack.hooks.sbang.sbang_install_path(),
        alias_root=settings.read().alias_root,
    )


def _hashes_of_builds(spec: "spack.spec.Spec") -> Iterator[str]:
    """Of the spec that it was built as, of the one that that was built as, and so on."""
    while spec.build_spec is not spec:
        spec = spec.build_spec
        yield spec.dag_hash()


def _replaced_by_splice(node: "spack.spec.Spec", spec: "spack.spec.Spec") -> "spack.spec.Spec":
    """The node of the spec that was built in whose place ``node`` was spliced; ``node`` itself if there is none."""
    analogs = [
        d
        for d in spec.build_spec.traverse(deptype=dt.ALL & ~dt.BUILD)
        if node._splice_match(d, self_root=spec, other_root=spec.build_spec)
    ]
    # the preference of Spec.splice: the same name, then the higher version
    return max(analogs, key=lambda a: (a.name == node.name, a.version)) if analogs else node


def _write_spliced_metadata(spec: "spack.spec.Spec", directory: str) -> None:
    """The tarball describes the spec that was built."""
    write_metadata(directory, SPEC_FILE, spec.to_json(hash=spack.hash_types.dag_hash).encode("utf-8"))


def try_direct_fetch(original: Callable, spec: "spack.spec.Spec", mirrors: Any = None) -> List[Any]:
    """Hook of ``try_direct_fetch``: OCI mirrors too are asked for a package that no index names (Spack skips them)."""
    configured = spack.mirrors.mirror.MirrorCollection(mirrors, binary=True).values()
    others = [m for m in configured if not is_oci_url(m.fetch_url)]
    found: List[Any] = []
    if others:
        with only(*others):
            found.extend(original(spec))
    return found + [compat.indexed_mirror(m.fetch_url, spec) for m in configured if _has_package(m, spec)]


def _has_package(mirror: "spack.mirrors.mirror.Mirror", spec: "spack.spec.Spec") -> bool:
    if not is_oci_url(mirror.fetch_url):
        return False
    try:
        find_package(open_store(mirror, FETCH), fetching.tag_of(spec), expected_hash=spec.dag_hash())
    except NotFound:
        return False
    except SpackOciError as e:
        tty.warn(f"cannot look for {packages.label(spec)} in the mirror {mirror.name}: {e}")
        return False
    return True
