# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Which of the packages that a user means are pushed, and what is said of the others."""

from typing import List, Sequence, Set

import spack.llnl.util.tty as tty
import spack.mirrors.mirror
import spack.spec
import spack.version

from ...errors import ConfigurationError
from ...operations.push.plan import existing
from ...util.text import elided
from ..configuration import mirrors, settings
from ..specs import packages

Specs = Sequence["spack.spec.Spec"]


def leave_out(specs: Specs, constraints: Sequence[str]) -> List["spack.spec.Spec"]:
    """``specs`` without those that satisfy one of ``constraints`` (``--exclude``, ``oci:push:exclude``); says which."""
    if not constraints:
        return list(specs)
    wanted = [spack.spec.Spec(constraint) for constraint in constraints]
    excluded = [s for s in specs if any(s.satisfies(w) for w in wanted)]
    if excluded:
        tty.info(f"Excluded: {_labels(excluded)}")
    hashes = _hashes(excluded)
    return [s for s in specs if s.dag_hash() not in hashes]


def leave_out_what_is_in(specs: Specs, other: "spack.mirrors.mirror.Mirror") -> List["spack.spec.Spec"]:
    """``specs`` without those that the mirror ``other`` has by its tags (``--not-in``); says which."""
    store = mirrors.open_store(other, mirrors.FETCH)
    there = existing(store, packages.records_of(specs), settings.read().transfer_jobs)
    if there:
        tty.info(f"In {other.name} already: {_labels([s for s in specs if s.dag_hash() in there])}")
    return [s for s in specs if s.dag_hash() not in there]


def check_image_is_complete(roots: Specs, pushed: Specs, chosen: Specs) -> None:
    """Raise ConfigurationError if a package was left out of ``chosen`` that an image of ``roots`` needs."""
    left_out = _hashes(chosen) - _hashes(pushed)
    needed = [s for s in packages.runtime_closure(*roots) if s.dag_hash() in left_out]
    if needed:
        raise ConfigurationError(
            f"the image needs what is not to be pushed: {_labels(needed)}",
            remedy="install what is missing, and push it with the image: without --exclude and --not-in",
        )


def split_missing(missing: Specs, roots: Specs, is_private: bool) -> List["spack.spec.Spec"]:
    """Those of the packages that are not installed which were asked for by name. The others are told of in one line:
    what `spack oci install` has installed has no build dependencies."""
    asked = _hashes(roots)
    by_name = [s for s in missing if s.dag_hash() in asked and (is_private or packages.may_be_redistributed(s))]
    others = [s for s in missing if s.dag_hash() not in asked]
    if others:
        tty.info(f"Skipped, because they are not installed: {_labels(others)}")
    return by_name


def warn_of_content_outside_the_hash(specs: Specs) -> None:
    """A package that was built from a directory or a branch has a hash that says nothing of its content, so that two
    pushers have different content under one tag, and the last one wins."""
    found = [s for s in specs if _is_built_from_what_changes(s)]
    if found:
        tty.warn(
            f"{_labels(found)}: built from a directory or a branch, so that the hash says nothing of the content; "
            "others who push the same hash replace it"
        )


def _is_built_from_what_changes(spec: "spack.spec.Spec") -> bool:
    if "dev_path" in spec.variants:
        return True
    if "commit" in spec.variants:
        return False
    version = spec.version
    if isinstance(version, spack.version.GitVersion):
        return not version.is_commit
    return version.isdevelop()


def _labels(specs: Specs) -> str:
    return elided([packages.label(s) for s in specs])


def _hashes(specs: Specs) -> Set[str]:
    return {s.dag_hash() for s in specs}
