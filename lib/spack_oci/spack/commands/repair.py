# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""``spack oci repair``: what of it needs Spack, which is to push what is installed."""

from typing import List, Optional, Sequence, Tuple

import spack.llnl.util.tty as tty
import spack.spec
import spack.store

from ...package.record import dag_hash_of_tag
from ...util.text import by_cause
from ..configuration import mirrors, trust
from . import push
from .opened import OpenedMirror, find


class Repusher:
    """See :class:`spack_oci.maintenance.repair.Repusher`: what is installed in this store itself."""

    def __init__(self, opened: OpenedMirror) -> None:
        self._opened = opened

    def has(self, tag: str) -> bool:
        return bool(_installed(tag))

    def push(self, tags: Sequence[str]) -> List[str]:
        specs = [spec for tag in tags for spec in _installed(tag)]
        # private: what is in the mirror may be in the mirror
        wanted = push.Request(
            self._opened.mirror, specs, dependencies=False, force=True, private=True, signer=trust.signer()
        )
        result = push.push_specs(self._opened.open(), wanted, specs)
        if result.failed:
            tty.error("not pushed again:", *by_cause([(o.package.label, str(o.error)) for o in result.failed]))
        return [outcome.package.tag for outcome in result.pushed]


def _installed(tag: str) -> List["spack.spec.Spec"]:
    """The package behind a tag, if it is in this store itself, and not in an upstream."""
    record = spack.store.STORE.db.query_local_by_spec_hash(dag_hash_of_tag(tag))
    return [record.spec] if record is not None and record.installed and not record.spec.external else []


def to_repair(name: Optional[str]) -> Tuple[OpenedMirror, Repusher]:
    opened = find(name, mirrors.PUSH)
    return opened, Repusher(opened)
