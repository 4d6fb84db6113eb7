# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What recipes say of the packages of an SBOM: licenses, home pages, where the source code is."""

import contextlib
import functools
from typing import Any, Dict, Iterator, Sequence, Tuple

import spack
import spack.fetch_strategy
import spack.repo
import spack.spec
import spack.util.git

from ...package.provenance import without_credentials
from ...trust.provenance import BuildFacts
from ...trust.sbom import RecipeFacts, Source, sbom
from .environments import SPACK_LOCK
from .provenance import licenses_of

_known: Dict[str, RecipeFacts] = {}


def facts_of(spec: "spack.spec.Spec") -> RecipeFacts:
    """Loads the package's class. A recipe that is not there, or that fails, says nothing."""
    dag_hash = spec.dag_hash()
    if dag_hash not in _known:
        with contextlib.suppress(Exception), SPACK_LOCK:
            _known[dag_hash] = _facts(spec)
    return _known.setdefault(dag_hash, RecipeFacts())


def _facts(spec: "spack.spec.Spec") -> RecipeFacts:
    package = spec.package
    return RecipeFacts(
        licenses=licenses_of([spec]),
        homepage=without_credentials(getattr(package, "homepage", None)),
        sources=() if spec.external else tuple(_sources(package)),
    )


def _sources(package: Any) -> Iterator[Source]:
    if not getattr(package, "has_code", True):
        return
    with contextlib.suppress(Exception):  # a version that the recipe does not have any more
        yield from _source(spack.fetch_strategy.for_package_version(package, package.version))
    for condition, resources in getattr(package, "resources", {}).items():
        if package.spec.satisfies(condition):
            for resource in resources:
                yield from _source(resource.fetcher)


def _source(fetcher: Any) -> Iterator[Source]:
    url = getattr(fetcher, "url", None)
    if not isinstance(url, str) or not url:
        return
    commit = getattr(fetcher, "commit", None)
    if getattr(fetcher, "git", None) or commit:
        revision = commit or getattr(fetcher, "tag", None) or getattr(fetcher, "branch", None)
        scheme = url if url.startswith("git") else f"git+{url}"
        yield Source(without_credentials(f"{scheme}@{revision}" if revision else scheme))
        return
    digest = getattr(fetcher, "digest", None)
    yield Source(without_credentials(url), digest if isinstance(digest, str) else "")


def sbom_of(specs: Sequence["spack.spec.Spec"], documents: Sequence[Dict[str, Any]], name: str = "") -> bytes:
    """The SBOM of packages with all that they depend on. ``documents``: of the specs, see
    :attr:`spack_oci.package.record.Package.spec_document`; ``name``: of an image."""
    nodes = {node["hash"]: node for document in documents for node in document["spec"]["nodes"]}
    facts = {s.dag_hash(): facts_of(s) for spec in specs for s in spec.traverse()}
    return sbom([spec.dag_hash() for spec in specs], nodes.values(), facts, name=name or None)


def build_facts_of(spec: "spack.spec.Spec") -> BuildFacts:
    """What is known here of how a package was made; its repository of packages may have changed since."""
    return BuildFacts(facts_of(spec).sources, _repositories(), spack.spack_version)


@functools.cache
def _repositories() -> Tuple[Tuple[str, str], ...]:
    """(remote URL or name, commit) of the repositories of packages that are git checkouts."""
    found = {}
    for repository in spack.repo.PATH.repos:
        with contextlib.suppress(Exception):
            git = spack.util.git.git(required=True)
            root = repository.root
            commit = git("-C", root, "rev-parse", "HEAD", output=str, error=str).strip()
            url = git("-C", root, "remote", "get-url", "origin", output=str, error=str, fail_on_error=False).strip()
            found[without_credentials(url) if "://" in url else repository.namespace] = commit
    return tuple(sorted(found.items()))
