# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack oci show`: all that a mirror has of one package, or of one image."""

import sys
from typing import Optional

import spack.llnl.util.tty as tty
import spack.mirrors.mirror
import spack.spec

from ...errors import ConfigurationError, NotFound
from ...operations import show as operation
from ...operations.images.described import image_tags
from ...util.documents import print_json
from ...util.text import counted
from ..configuration import mirror_arguments, mirrors
from .list import indexes, matching, nothing_matches
from .opened import OpenedMirror

#: packages named when a spec matches several
_SHOWN = 10


def show(mirror_name: Optional[str], word: str, as_json: bool, sbom: bool = False) -> int:
    """``word``: a tag, or a spec that one package of the mirror matches; ``sbom``: print that and nothing else."""
    mirror, note = mirror_arguments.find(mirror_name, mirrors.FETCH)
    if note and sys.stdout.isatty():
        tty.info(note)
    store = mirrors.open_store(mirror, mirrors.FETCH)

    def tag_of(spec: str) -> str:
        try:
            return _tag_of(mirror, spec)
        except NotFound as e:
            similar = mirror_arguments.similar_mirror(word) if mirror_name is None else ""
            if not similar:
                raise
            raise NotFound(e.message, remedy=f"did you mean the mirror `{similar}`? Then name what to show, too") from e

    if sbom:
        opened = OpenedMirror(mirror, mirrors.FETCH)
        found = operation.sbom(store, word, tag_of, opened.policy(), opened.known_keys(), tty.warn)
        sys.stdout.write(found.decode() + "\n")
        return 0
    shown = operation.show(store, word, tag_of)
    if as_json:
        print_json(shown.document)
    else:
        print("\n".join(shown.lines))
    return 0


def _tag_of(mirror: "spack.mirrors.mirror.Mirror", constraint: str) -> str:
    wanted = [spack.spec.Spec(constraint)]
    ((_, index),) = indexes([mirror], wanted)
    found = matching(mirror, index, wanted, all_architectures=True)
    if len(found) == 1:
        return found[0].record.tag
    if not found:
        tags = list(image_tags(mirrors.open_store(mirror, mirrors.FETCH)))
        raise nothing_matches(mirror, index, constraint, wanted[0], tags)
    shown = [p.spec.format("{name}{@version}{/hash:7}") for p in found[:_SHOWN]]
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    raise ConfigurationError(
        f"{counted(len(found), 'package')} of {mirror.fetch_url} match {constraint}: {', '.join(shown)}{more}",
        remedy="name one of them by its hash",
    )
