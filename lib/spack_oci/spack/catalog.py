# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack oci list`: what the indexes of mirrors name, shown as `spack find` shows installed packages."""

import argparse
import os
import sys
import tempfile
from typing import Any, Dict, List, Optional, Sequence

import spack.binary_distribution
import spack.cmd
import spack.llnl.util.tty as tty
import spack.mirrors.mirror
import spack.spec
import spack.stage
from spack.enums import InstallRecordStatus

from ..cache.package import package_tag
from ..errors import NotFound
from ..index.read import fetch_index
from . import compat, mirrors


def list_packages(mirror_name: Optional[str], constraints: Sequence[str], args: argparse.Namespace) -> int:
    chosen = _mirrors(mirror_name)
    wanted = [spack.spec.Spec(c) for c in constraints]
    found: Dict[str, List[spack.spec.Spec]] = {}
    for mirror in chosen:
        found[mirror.fetch_url] = [s for s in _specs_of(mirror) if _matches(s, wanted, args.allarch)]
    if args.json:
        from json import dump

        dump([_record(s, url) for url, specs in found.items() for s in specs], sys.stdout, indent=2)
        print()
        return 0
    unique = list({s.dag_hash(): s for specs in found.values() for s in specs}.values())
    if sys.stdout.isatty():
        tty.msg(f"{len(unique)} cached packages in {', '.join(found)}")
    if not unique and not args.allarch:
        tty.msg("No package matches for this platform and operating system; --allarch searches all.")
    spack.cmd.display_specs(unique, args, all_headers=True)
    return 0


def _mirrors(name: Optional[str]) -> List["spack.mirrors.mirror.Mirror"]:
    """The named mirror; else every configured OCI mirror; else the embedded default."""
    if name is None and mirrors.configured(mirrors.FETCH):
        return mirrors.configured(mirrors.FETCH)
    mirror, note = mirrors.find(name, mirrors.FETCH)
    if note and sys.stdout.isatty():
        tty.info(note)
    return [mirror]


def _specs_of(mirror: "spack.mirrors.mirror.Mirror") -> List["spack.spec.Spec"]:
    store = mirrors.open_store(mirror, mirrors.FETCH)  # its NotFound says that there is no such layout
    try:
        index = fetch_index(store)
    except NotFound as e:
        raise NotFound(
            f"{mirror.fetch_url} has no index", remedy=f"make one with `spack oci update-index {_word(mirror)}`"
        ) from e
    return read_database(index.data)


def _word(mirror: "spack.mirrors.mirror.Mirror") -> str:
    """What a user would write for this mirror."""
    return mirror.fetch_url if mirror.name == "<unnamed>" else mirror.name


def read_database(data: bytes) -> List["spack.spec.Spec"]:
    """The packages in an index, read by Spack's own database code."""
    with tempfile.TemporaryDirectory(dir=spack.stage.get_stage_root()) as directory:
        database = spack.binary_distribution.BuildCacheDatabase(directory)
        path = os.path.join(directory, "oci-index.json")
        with open(path, "wb") as f:
            f.write(data)
        compat.read_database(database, path)
        return [
            s
            for s in database.query_local(installed=InstallRecordStatus.ANY)
            if s.external or database._data[s.dag_hash()].in_buildcache
        ]


def _matches(spec: "spack.spec.Spec", wanted: Sequence["spack.spec.Spec"], all_architectures: bool) -> bool:
    if not all_architectures and not _is_for_this_system(spec):
        return False
    return not wanted or any(spec.intersects(w) for w in wanted)


def _is_for_this_system(spec: "spack.spec.Spec") -> bool:
    """Platform and operating system are this machine's; its target may be any (a cache often has generic ones)."""
    here = spack.spec.ArchSpec.default_arch()
    return (spec.platform, str(spec.architecture.os)) == (here.platform, str(here.os))


def _record(spec: "spack.spec.Spec", url: str) -> Dict[str, Any]:
    return {
        "name": spec.name,
        "version": str(spec.version),
        "hash": spec.dag_hash(),
        "arch": str(spec.architecture),
        "spec": spec.format(),
        "tag": package_tag(spec.name, str(spec.version), spec.dag_hash()),
        "mirror": url,
    }
