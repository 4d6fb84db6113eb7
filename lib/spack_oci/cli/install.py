# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack-oci install`"""

import argparse
import os
import shlex
from typing import Any, Dict, List, Mapping, Sequence

from ..commandline.common import print_json
from ..errors import ConfigurationError, NotAStore
from ..operations.install.execute import InstallLimits
from ..operations.install.outcome import FAILED, INSTALLED, InstallOutcome, failures_of
from ..store.database import Records
from ..store.install import InstallPlan, install_roots, plan
from ..store.layout import DATABASE_DIRECTORY
from ..store.source import Source, label
from ..store.store import Store
from ..util.sizes import format_size
from ..util.text import counted, table
from . import settings
from .activate import write_scripts
from .caches import read_source
from .output import error, info, reporter, warn
from .roots import roots_of, roots_of_lock, wanted_of


def install(args: argparse.Namespace) -> int:
    store = Store.open_or_create(settings.store_path(args.store))
    if store.mixed:
        warn(f"the packages of {store.root} follow several projections; new ones go to {store.layout.projection}")
    source = read_source(args.mirror, args.unsigned, None if args.image else wanted_of(args.specs))
    records = _records(store)
    roots = _roots(args, source, records)
    if args.dry_run:
        return _print_plan(plan(store, records, roots, source), args.json)
    options = settings.read()
    planned, outcomes = install_roots(
        store,
        roots,
        source,
        _blob_cache(),
        limits=InstallLimits(args.jobs or options.pack_jobs, options.transfer_jobs, max(1, options.prefetch_room)),
        alias_root=options.alias_root,
        reporter=None if args.json else reporter(print),
    )
    for node in planned.missing_externals:
        warn(
            f"{node['name']}@{node['version']} is expected in {node['external']['path']}, which is not there: "
            "packages that need it will not run"
        )
    write_scripts(store)
    errors, skipped = failures_of(outcomes, "installed")
    if errors:
        error("\n    ".join(errors))
    if skipped:
        warn(skipped)
    if args.json:
        print_json(_outcome_document(planned, outcomes, source.url))
    else:
        _print_outcome(store, planned, outcomes)
    return 0 if all(o.status == INSTALLED for o in outcomes) else 1


def _records(store: Store) -> Records:
    try:
        return store.database.read()
    except NotAStore:
        return Records()


def _blob_cache() -> Any:
    from ..configuration.settings import blob_cache

    return blob_cache(settings.read())


def _roots(args: argparse.Namespace, source: Source, records: Records) -> List[Mapping[str, Any]]:
    roots = roots_of(args.specs, source, records)
    if args.image:
        from .images import lock_of_image

        roots += roots_of_lock(lock_of_image(args.mirror, args.image), f"the image {args.image}", source)
    if not roots:
        raise ConfigurationError("there is nothing to install: no spec is given", remedy="name a spec or a spack.lock")
    return roots


def _names(node: Mapping[str, Any]) -> Dict[str, str]:
    return {"name": node["name"], "version": node["version"], "hash": node["hash"]}


def _print_plan(planned: InstallPlan, as_json: bool) -> int:
    if as_json:
        print_json(
            {
                "install": [
                    {
                        **_names(node),
                        "prefix": planned.prefixes[node["hash"]],
                        "size": planned.sizes.get(node["hash"]) or None,
                    }
                    for node in planned.missing
                ],
                "installed": [_names(node) for node in planned.installed],
            }
        )
        return 0
    known = [planned.sizes.get(node["hash"]) for node in planned.missing]
    rows = [
        (label(node), format_size(size) if size else "?", planned.prefixes[node["hash"]])
        for node, size in zip(planned.missing, known)
    ]
    for line in table(rows):
        print(line)
    total = f", {format_size(planned.size)} to fetch" if planned.size else ""
    info(f"{counted(len(planned.missing), 'package')} to install{total}; {len(planned.installed)} installed already")
    return 0


def _outcome_document(planned: InstallPlan, outcomes: Sequence[InstallOutcome], url: str) -> Dict[str, Any]:
    by_hash = {node["hash"]: node for node in planned.missing}
    return {
        "packages": [
            {
                **_names(by_hash[o.item.dag_hash]),
                "prefix": o.item.prefix,
                "status": o.status,
                "mirror": url,
                **({"error": str(o.error)} if o.error else {}),
            }
            for o in outcomes
        ],
        "installed_before": [_names(node) for node in planned.installed],
    }


def _print_outcome(store: Store, planned: InstallPlan, outcomes: Sequence[InstallOutcome]) -> None:
    done = sum(o.status == INSTALLED for o in outcomes)
    failed = sum(o.status == FAILED for o in outcomes)
    text = f"Installed {counted(done, 'package')} in {store.root}"
    if planned.installed:
        text += f", {len(planned.installed)} installed before"
    if len(outcomes) > done:
        text += f"; {failed} failed, {len(outcomes) - done - failed} not tried"
    info(text)
    if not os.path.isdir(os.path.join(store.root, DATABASE_DIRECTORY)) or len(outcomes) > done:
        return
    info(f"`. {shlex.quote(os.path.join(store.root, 'activate'))}` puts them on your PATH")
