# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""``spack.lock``: which packages an environment has, without Spack."""

import contextlib
import re
from typing import AbstractSet, Any, Dict, Iterator, List, Mapping, Set, Tuple

from ...descriptor import parse_json
from ...errors import ConfigurationError, InvalidContent, StorageError
from ...util.text import visible
from .contents import LINK_RUN

#: as in the schema of pins
_HASH = re.compile(r"[a-z0-9]{1,64}\Z")
_NEWER = "concretize the environment again with Spack 1.0 or newer"


def hashes_of_lock_file(path: str, types: AbstractSet[str] = LINK_RUN) -> Set[str]:
    """DAG hashes of the roots of a lock file (or of the one in a directory) and of what they need.

    Raises StorageError if it cannot be read, ConfigurationError if it is none.
    """
    return _hashes_of_lock(read_lock_file(path), path, types)


def read_lock_file(path: str) -> Mapping[str, Any]:
    """The document; see :func:`hashes_of_lock_file` for errors."""
    try:
        with open(path, "rb") as file:
            return parse_json(file.read(), path)
    except OSError as e:
        raise StorageError.from_os_error(f"reading the lock file {path}", e) from e
    except InvalidContent as e:
        raise ConfigurationError(
            f"{e.message}, and no lock file", remedy="name the spack.lock of an environment"
        ) from e


def roots_of_lock(document: Mapping[str, Any], label: str) -> List[Tuple[str, str]]:
    """(DAG hash, spec as it was asked for) of the roots of a lock file. ``label``: what to call it in an error. Raises
    ConfigurationError."""
    with _known(label):
        return [(_hash(root), visible(str(root.get("spec") or ""))) for root in document["roots"]]


def _hash(entry: Mapping[str, Any]) -> str:
    value = entry["hash"]
    if not isinstance(value, str) or not _HASH.match(value):
        raise ValueError(f"{ascii(value)[:80]} is no hash")
    return value


@contextlib.contextmanager
def _known(label: str) -> Iterator[None]:
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError) as e:
        raise ConfigurationError(
            f"{label} is no lock file that is known ({type(e).__name__}: {e})", remedy=_NEWER
        ) from None


def _hashes_of_lock(document: Mapping[str, Any], label: str, types: AbstractSet[str]) -> Set[str]:
    pending = [dag_hash for dag_hash, _ in roots_of_lock(document, label)]
    with _known(label):
        specs: Dict[str, Mapping[str, Any]] = document["concrete_specs"]
        found: Set[str] = set()
        while pending:
            dag_hash = pending.pop()
            if dag_hash not in found:
                found.add(dag_hash)
                pending += _dependencies(specs.get(dag_hash) or {}, types)
        return found


def _dependencies(spec: Mapping[str, Any], types: AbstractSet[str]) -> Set[str]:
    """The edges of lock file versions 4 to 7: ``parameters.deptypes``, or ``type`` in older ones."""
    wanted = set()
    for edge in spec.get("dependencies") or ():
        edge_types = (edge.get("parameters") or {}).get("deptypes") or edge.get("type") or ()
        if types & set(edge_types):
            wanted.add(_hash(edge))
    build_spec = spec.get("build_spec")
    return wanted | {_hash(build_spec)} if build_spec else wanted
