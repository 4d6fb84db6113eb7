# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What `spack oci install` and `spack oci fetch` would do: which packages, how large, from what is known already."""

import contextlib
import difflib
import sys
from dataclasses import dataclass, field, replace
from typing import Any, Dict, FrozenSet, List, NamedTuple, Sequence

import spack.cmd
import spack.environment
import spack.llnl.util.tty as tty
import spack.mirrors.mirror
import spack.repo
import spack.spec

from ...errors import ConfigurationError, InvalidSpec, StorageError
from ...util.sizes import format_size
from ...util.text import counted, elided, table
from .. import fetching
from ..configuration import mirrors
from ..specs import packages


class Wanted(NamedTuple):
    """What of the closure of the roots is installed; ``overwrite``: the roots again, also if they are installed."""

    package: bool = True
    dependencies: bool = True
    build_dependencies: bool = False
    overwrite: bool = False


ALL = Wanted()


@dataclass
class Plan:
    """What would be installed. Specs by DAG hash."""

    roots: List["spack.spec.Spec"]
    #: dependencies first
    missing: List["spack.spec.Spec"]
    installed: List["spack.spec.Spec"]
    #: compressed bytes, as far as an index knows them
    sizes: Dict[str, int] = field(default_factory=dict)
    #: DAG hashes of those of ``missing`` that are installed and will be replaced
    overwritten: FrozenSet[str] = frozenset()
    #: DAG hash -> URL of the mirror that a package came from
    origins: Dict[str, str] = field(default_factory=dict)

    @property
    def size(self) -> int:
        return sum(self.sizes.values())


def concretized_roots(
    words: Sequence[str], *, add: bool = False, only_concrete: bool = False
) -> List["spack.spec.Spec"]:
    """What `spack install WORDS` would install, concretized; the active environment's roots if there are no words.

    ``add``: the words become specs of the environment; ``only_concrete``: what it has is not concretized.
    """
    environment = spack.environment.active_environment()
    _refuse_mirrors(words)
    if environment is None:
        if not words:
            raise ConfigurationError(
                "there is nothing to install: no spec is given and no environment is active",
                remedy="name a spec, or activate an environment with `spack env activate`",
            )
        _check_names(words)
        return spack.cmd.parse_specs(words, concretize=True)
    with environment.write_transaction():
        for spec in spack.cmd.parse_specs(words) if add else ():
            environment.add(spec)
        if not only_concrete and environment.concretize():
            environment.write(regenerate=False)
    if not words or add:
        return environment.concrete_roots()
    roots = environment.all_matching_specs(*spack.cmd.parse_specs(words))
    if not roots:
        raise ConfigurationError(
            f"the active environment has no {' or '.join(words)}",
            remedy="add it with `spack add`, or leave the environment with `spack env deactivate`",
        )
    return roots


def _refuse_mirrors(words: Sequence[str]) -> None:
    """Other sub-commands have a mirror before the specs; an install asks all mirrors, as `spack install` does."""
    configured = spack.mirrors.mirror.MirrorCollection()
    for word in words:
        is_url = "://" in word
        if is_url or (word in configured and not spack.repo.PATH.exists(word)):
            specs = " ".join(other for other in words if other != word)
            name_it = f"add it with `spack mirror add NAME {word}`, then " if is_url else ""
            raise ConfigurationError(
                f"{word} is a mirror, and an install takes none: it asks all that are configured",
                remedy=f"{name_it}leave it out: `spack oci install {specs}`" if specs else f"{name_it}name specs",
            )


def _check_names(words: Sequence[str]) -> None:
    """Raises InvalidSpec for a name that no repository has; Spack says only that it "does not exist"."""
    path = spack.repo.PATH
    for spec in spack.cmd.parse_specs(words):
        for part in spec.traverse() if not spec.concrete else ():
            if part.name and not path.exists(part.name) and not path.is_virtual(part.name):
                near = difflib.get_close_matches(part.name, path.all_package_names(include_virtuals=True), 3, 0.8)
                raise InvalidSpec(
                    f"no package repository has {part.name}",
                    remedy=f"did you mean {' or '.join(near)}?"
                    if near
                    else "`spack repo list` shows those that are known here, `spack repo add` adds the one that has it",
                )


def check_recipes(specs: Sequence["spack.spec.Spec"]) -> None:
    """Raises ConfigurationError where Spack could not install packages, because no repository here has their recipes:
    an index brings packages, but not those."""
    known = {repository.namespace for repository in spack.repo.PATH.repos}
    foreign = [spec for spec in specs if spec.namespace not in known]
    if foreign:
        namespaces = sorted({str(spec.namespace) for spec in foreign})
        raise ConfigurationError(
            f"no package repository here is called {' or '.join(namespaces)}, which has the recipes of "
            f"{elided(sorted({spec.name for spec in foreign}))}",
            remedy="get it from who pushed them, and `spack repo add` it; `spack-oci install` needs no recipes",
        )


def plan(roots: Sequence["spack.spec.Spec"], wanted: Wanted = ALL) -> Plan:
    """The link and run closure of ``roots``, or what of it is wanted, and what of that is not installed."""
    closure = packages.runtime_closure(*roots, build=wanted.build_dependencies)
    named = {s.dag_hash() for s in roots}
    chosen = [s for s in closure if (wanted.package if s.dag_hash() in named else wanted.dependencies)]
    if not wanted.dependencies:
        _check_dependencies_are_installed([s for s in closure if s.dag_hash() not in named])
    installed, _ = packages.partition_installed(chosen)
    replaced = frozenset(s.dag_hash() for s in installed if wanted.overwrite and s.dag_hash() in named)
    kept = [s for s in installed if s.dag_hash() not in replaced]
    staying = {s.dag_hash() for s in kept}
    missing = [s for s in chosen if s.dag_hash() not in staying]
    result = Plan(list(roots), missing, kept, overwritten=replaced)
    cache = fetching.index_cache()
    configured = mirrors.in_use(mirrors.FETCH)
    if missing:
        fetching.confirm_indexes(configured)
    unknown = {spec.dag_hash() for spec in missing}
    for mirror in configured:
        with contextlib.suppress(StorageError):
            entries = cache.lookup_all(mirror.fetch_url, unknown) if unknown else {}
            result.sizes.update((dag_hash, entry.layer.size) for dag_hash, entry in entries.items())
            unknown -= entries.keys()
    return result


def _check_dependencies_are_installed(dependencies: Sequence["spack.spec.Spec"]) -> None:
    _, missing = packages.partition_installed(dependencies)
    if missing:
        raise ConfigurationError(
            f"--only package, and these dependencies are not installed: {elided([packages.label(s) for s in missing])}",
            remedy="leave --only away, or install them first with --only dependencies",
        )


def confirm_overwrite(roots: Sequence["spack.spec.Spec"], yes: bool) -> None:
    """Ask before packages that others may use are replaced, as `spack install --overwrite` does."""
    installed, _ = packages.partition_installed(list(roots))
    if not installed or yes:
        return
    labels = elided([packages.label(s) for s in installed])
    if not sys.stdin.isatty():
        raise ConfigurationError(f"{labels} would be overwritten", remedy="confirm it with --yes-to-all (-y)")
    tty.info(f"These packages will be installed again: {labels}")
    if not tty.get_yes_or_no("Do you want to proceed?", default=False):
        raise ConfigurationError("nothing was overwritten")


def still_missing(planned: Plan) -> Plan:
    """The plan without what others have installed meanwhile."""
    installed, _ = packages.partition_installed(planned.missing)
    theirs = [s for s in installed if s.dag_hash() not in planned.overwritten]
    gone = {s.dag_hash() for s in theirs}
    missing = [s for s in planned.missing if s.dag_hash() not in gone]
    return replace(planned, missing=missing, installed=planned.installed + theirs)


def print_plan(planned: Plan) -> None:
    known = [planned.sizes.get(spec.dag_hash()) for spec in planned.missing]
    rows = [
        (packages.label(spec), format_size(size) if size else "?", str(spec.prefix))
        for spec, size in zip(planned.missing, known)
    ]
    for line in table(rows):
        print(line)
    total = f", {format_size(planned.size)} to fetch" if planned.size else ""
    tty.info(
        f"{counted(len(planned.missing), 'package')} to install{total}; {len(planned.installed)} installed already"
    )


def plan_document(planned: Plan) -> Dict[str, Any]:
    """For ``--json``."""
    return {
        "install": [
            {**names(spec), "prefix": str(spec.prefix), "size": planned.sizes.get(spec.dag_hash())}
            for spec in planned.missing
        ],
        "installed": [names(spec) for spec in planned.installed],
    }


def names(spec: "spack.spec.Spec") -> Dict[str, str]:
    return {"name": spec.name, "version": str(spec.version), "hash": spec.dag_hash()}
