# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack oci show`: all that a mirror has of one package, or of one image."""

import sys
from typing import Optional

import spack.llnl.util.tty as tty
import spack.mirrors.mirror
import spack.spec

from ...errors import ConfigurationError, NotFound
from ...operations import show as operation
from ...util.documents import print_json
from ...util.text import counted
from .. import mirror_arguments, mirrors
from .list import indexes, matching, word_for

#: packages named when a spec matches several
_SHOWN = 10


def show(mirror_name: Optional[str], word: str, as_json: bool, sbom: bool = False) -> int:
    """``word``: a tag, or a spec that one package of the mirror matches; ``sbom``: print that and nothing else."""
    mirror, note = mirror_arguments.find(mirror_name, mirrors.FETCH)
    if note and sys.stdout.isatty():
        tty.info(note)
    if sbom:
        store = mirrors.open_store(mirror, mirrors.FETCH)
        sys.stdout.write(operation.sbom(store, word, lambda spec: _tag_of(mirror, spec)).decode() + "\n")
        return 0
    shown = operation.show(mirrors.open_store(mirror, mirrors.FETCH), word, lambda spec: _tag_of(mirror, spec))
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
        raise NotFound(
            f"the index of {mirror.fetch_url} has no package that matches {constraint}",
            remedy=f"see `spack oci list --allarch {word_for(mirror)}`, or name a tag",
        )
    shown = [p.spec.format("{name}{@version}{/hash:7}") for p in found[:_SHOWN]]
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    raise ConfigurationError(
        f"{counted(len(found), 'package')} of {mirror.fetch_url} match {constraint}: {', '.join(shown)}{more}",
        remedy="name one of them by its hash",
    )
