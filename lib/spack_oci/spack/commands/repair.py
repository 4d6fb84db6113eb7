# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""``spack oci repair``: what of it needs Spack, which is to push what is installed."""

from typing import List, Sequence

import spack.llnl.util.tty as tty
import spack.spec
import spack.store

from ...maintenance import repair
from ...operations.check.findings import Level
from ...operations.check.repair import RepairResult
from ...package.record import dag_hash_of_tag
from ...util.text import by_cause
from ..configuration import mirrors, trust
from . import push
from .opened import OpenedMirror


def plan(opened: OpenedMirror, level: Level) -> repair.Request:
    return repair.plan(opened, level, lambda tag: bool(_installed(tag)))


def _installed(tag: str) -> List["spack.spec.Spec"]:
    """The package behind a tag, if it is in this store itself, and not in an upstream."""
    record = spack.store.STORE.db.query_local_by_spec_hash(dag_hash_of_tag(tag))
    return [record.spec] if record is not None and record.installed and not record.spec.external else []


def execute(opened: OpenedMirror, request: repair.Request) -> RepairResult:
    store = mirrors.open_store(opened.mirror, mirrors.PUSH)

    def push_again(tags: Sequence[str]) -> List[str]:
        specs = [spec for tag in tags for spec in _installed(tag)]
        # private: what is in the mirror may be in the mirror
        wanted = push.Request(opened.mirror, specs, dependencies=False, force=True, private=True, signer=trust.signer())
        result = push.push_specs(store, wanted, specs)
        if result.failed:
            tty.error("not pushed again:", *by_cause([(o.package.label, str(o.error)) for o in result.failed]))
        return [outcome.package.tag for outcome in result.pushed]

    return repair.execute(request, push_again)
