# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""``spack.lock``: which packages an environment has, without Spack."""

import json
from typing import AbstractSet, Any, Dict, Mapping, Set

from ...errors import ConfigurationError, StorageError
from .contents import LINK_RUN

_NEWER = "concretize the environment again with Spack 1.0 or newer"


def hashes_of_lock_file(path: str, types: AbstractSet[str] = LINK_RUN) -> Set[str]:
    """DAG hashes of the roots of a lock file (or of the one in a directory) and of what they need.

    Raises StorageError if it cannot be read, ConfigurationError if it is none.
    """
    try:
        with open(path, encoding="utf-8") as file:
            document = json.load(file)
    except OSError as e:
        raise StorageError.from_os_error(f"reading the lock file {path}", e) from e
    except ValueError as e:
        raise ConfigurationError(f"{path} is no lock file: {e}", remedy="name the spack.lock of an environment") from e
    return hashes_of_lock(document, path, types)


def hashes_of_lock(document: Any, label: str, types: AbstractSet[str] = LINK_RUN) -> Set[str]:
    """The same for a document that was read. ``label``: what to call it in an error."""
    try:
        specs: Dict[str, Mapping[str, Any]] = document["concrete_specs"]
        pending = [str(root["hash"]) for root in document["roots"]]
        found: Set[str] = set()
        while pending:
            dag_hash = pending.pop()
            if dag_hash not in found:
                found.add(dag_hash)
                pending += _dependencies(specs.get(dag_hash) or {}, types)
        return found
    except (KeyError, TypeError, AttributeError) as e:
        raise ConfigurationError(
            f"{label} is no lock file that is known ({type(e).__name__}: {e})", remedy=_NEWER
        ) from None


def _dependencies(spec: Mapping[str, Any], types: AbstractSet[str]) -> Set[str]:
    """The edges of lock file versions 4 to 7: ``parameters.deptypes``, or ``type`` in older ones."""
    wanted = set()
    for edge in spec.get("dependencies") or ():
        edge_types = (edge.get("parameters") or {}).get("deptypes") or edge.get("type") or ()
        if types & set(edge_types):
            wanted.add(str(edge["hash"]))
    build_spec = spec.get("build_spec")
    return wanted | {str(build_spec["hash"])} if build_spec else wanted
