# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack-oci doctor`"""

import argparse
import functools
import os
import platform
import sys
from dataclasses import replace
from typing import Dict, List

from .. import __version__
from ..configuration.checks import check_cache, check_codecs, print_reports
from ..errors import SpackOciError
from ..registry.probe import FAIL, OK, WARN, Check
from ..store.machine import this_machine
from ..store.store import Store
from ..util.files import room_at
from ..util.text import counted
from . import settings
from .caches import location_of, open_cache, open_index


def doctor(args: argparse.Namespace) -> int:
    """Check this machine, a store, and caches. Exit code 1: something fails."""
    reports: Dict[str, List[Check]] = {"spack-oci": _environment()}
    if args.store or os.environ.get("SPACK_OCI_STORE"):
        path = settings.store_path(args.store)
        reports[path] = _store(path)
    for word in args.mirrors:
        reports[word] = _cache(word)
    return print_reports(reports, args.json)


def _environment() -> List[Check]:
    machine = this_machine()
    where = f"{platform.python_implementation()} {platform.python_version()} ({sys.executable})"
    libc = str(machine.libc) if machine.libc else "a C library that is not known"
    return [
        Check("versions", OK, f"spack-oci {__version__}, {where}"),
        Check("machine", OK, f"{machine.platform}-{machine.os}-{machine.target}, {libc}"),
        Check("cache", OK, f"{settings.read().cache_root} ({room_at(settings.read().cache_root)})"),
        check_codecs(f"{os.path.abspath(sys.executable)} -m pip install isal"),
    ]


def _store(path: str) -> List[Check]:
    try:
        store = Store.open(path)
        records = store.database.read()
    except SpackOciError as e:
        return [Check("store", FAIL, str(e))]
    installed = [h for h in records.installed() if not records.by_hash[h]["spec"].get("external")]
    gone = [h for h in installed if not os.path.isdir(records.by_hash[h]["path"] or "")]
    checks = [
        Check("database", OK, f"{counted(len(installed), 'installed package')}, layout {store.layout.projection}"),
        Check("disk", OK, room_at(store.root)),
    ]
    if not os.access(store.root, os.W_OK):
        checks.append(Check("permissions", WARN, "read-only for you: `run` and `activate` work, `install` does not"))
    if store.mixed:
        checks.append(Check("layout", WARN, "packages follow several projections"))
    if gone:
        names = ", ".join(records.by_hash[h]["path"] for h in gone[:3])
        checks.append(Check("prefixes", FAIL, f"{counted(len(gone), 'package')} without a prefix: {names}"))
    return checks


def _cache(word: str) -> List[Check]:
    try:
        location = location_of(word)
    except SpackOciError as e:
        return [Check("url", FAIL, str(e))]
    opened, index = functools.partial(open_cache, word), functools.partial(open_index, word)
    checks = check_cache(location, opened, index, None, f"spack-oci update-index {word}")
    return [replace(check, detail=check.detail.replace("`spack oci ", "`spack-oci ")) for check in checks]
