# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack-oci activate` and `run`: the run environment of installed packages."""

import argparse
import os
import shlex
import sys
from typing import Any, List, Mapping, Sequence

from ..errors import ConfigurationError, SpackOciError, StorageError
from ..store.activation import SHELLS, Changes, Merged, environment, merge, script, shell_of
from ..store.database import Records
from ..store.default_environment import default_changes
from ..store.install import kept_environment
from ..store.source import label
from ..store.store import Store
from ..util.files import atomic_write
from . import settings
from .output import warn
from .roots import installed_roots

#: in a store, for each shell
_SCRIPTS = {"sh": "activate", "fish": "activate.fish", "csh": "activate.csh"}


def activate(args: argparse.Namespace) -> int:
    """Print the script of a shell, to be read with ``eval``."""
    store = Store.open(settings.store_path(args.store))
    roots, merged = _merged(store, args.specs)
    shell = shell_of(args.shell or os.environ.get("SHELL", "sh"))
    sys.stdout.write(script(merged.changes, shell, _named(roots, store)))
    return 0


def run(args: argparse.Namespace) -> int:
    """Replace this process by a program in the run environment of packages."""
    store = Store.open(settings.store_path(args.store))
    words = list(args.words)
    if "--" in words:
        at = words.index("--")
        specs, command = words[:at], words[at + 1 :]
    else:
        specs, command = [], words
    if not command:
        raise ConfigurationError("no program is named", remedy="write `spack-oci run --store DIR SPEC -- PROGRAM ...`")
    _, merged = _merged(store, specs)
    env = environment(merged.changes, os.environ)
    try:
        os.execvpe(command[0], command, env)
    except FileNotFoundError:
        raise ConfigurationError(
            f"there is no program {command[0]} in {store.root} or on your PATH",
            remedy=_what_to_run(store, specs, command),
        ) from None
    except OSError as e:
        raise StorageError.from_os_error(f"running {command[0]}", e) from e


def _what_to_run(store: Store, specs: Sequence[str], command: Sequence[str]) -> str:
    """The remedy for a program that is not there: often the ``--`` was forgotten."""
    records, root = store.database.read(), shlex.quote(store.root)
    if not specs and command[0] in {records.nodes[dag_hash]["name"] for dag_hash in records.installed()}:
        program = " ".join(command[1:]) or "PROGRAM"
        return f"if it is the package, write `spack-oci run --store {root} {command[0]} -- {program}`"
    return f"see what is installed with `spack-oci list --store {root}`"


def _merged(store: Store, words: Sequence[str]) -> "tuple[List[Mapping[str, Any]], Merged]":
    records = store.database.read()
    roots = installed_roots(words, records, store.root)
    merged = merge(changes_of(store, root, records) for root in roots)
    for name in merged.conflicts:
        warn(f"packages set {name} to different values; {label(roots[0])} and what comes first decide")
    return roots, merged


def changes_of(store: Store, node: Mapping[str, Any], records: Records) -> Changes:
    """What its image said; of a package that another program has installed, what its prefixes hold."""
    kept = kept_environment(store, node["hash"])
    if kept is not None:
        return kept
    nodes = records.nodes
    return default_changes([node], nodes, store.prefixes(nodes, records))


def _named(roots: Sequence[Mapping[str, Any]], store: Store) -> str:
    return f"{', '.join(label(root) for root in roots) or 'nothing'} in {store.root}"


def write_scripts(store: Store) -> None:
    """``activate``, ``activate.fish``, ``activate.csh`` in the store, for what was asked for in it."""
    try:
        roots, merged = _merged(store, ())
        for shell in SHELLS:
            path = os.path.join(store.root, _SCRIPTS[shell])
            data = script(merged.changes, shell, _named(roots, store)).encode("utf-8", "surrogateescape")
            if not _holds(path, data):  # where nothing changed, a store that is only read needs no warning
                with atomic_write(path, mode=0o644, exact=True) as file:
                    file.write(data)
    except OSError as e:
        warn(f"the scripts to activate {store.root} could not be written: {e.strerror}")
    except SpackOciError as e:
        warn(f"the scripts to activate {store.root} could not be written: {e}")


def _holds(path: str, data: bytes) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read() == data
    except OSError:
        return False
