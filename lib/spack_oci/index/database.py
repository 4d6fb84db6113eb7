# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Spack's database as it was fetched: checked before Spack's code reads it.

Spack reads the indexes of all mirrors into one table and gives up (``CorruptDatabaseError``) at the first record that
it cannot read, without naming the mirror. So a record that it could not read is left out here, by name, together with
what depends on it.
"""

from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Set

from ..descriptor import canonical_json, parse_json
from ..errors import InvalidContent, NotAPackage
from .nodes import Node, cycle_in, node_of_entry, to_version_5

#: versions of Spack's database with nodes of specfile version 4, and of version 5
_OLDER = ("5", "6", "7")
_CURRENT = "8"
#: parameters of ``spack.database.InstallRecord`` that a record of a build cache may have; others make it fail
_RECORD_MEMBERS = {"spec", "ref_count", "in_buildcache", "installed", "path", "explicit", "installation_time", "origin"}


class CheckedDatabase(NamedTuple):
    #: the JSON of a database whose every record Spack reads
    data: bytes
    #: label of what was left out -> why
    left_out: Mapping[str, str]


def check_database(data: bytes, label: str) -> CheckedDatabase:
    """``data`` as it is if all its records can be read. Raises InvalidContent that names ``label`` if it is none."""
    database = parse_json(data, label).get("database")
    if not isinstance(database, dict) or not isinstance(database.get("installs"), dict):
        raise InvalidContent(f"{label} is no database of Spack")
    installs = database["installs"]
    version = database.get("version")
    if version != _CURRENT and version not in _OLDER:
        raise InvalidContent(
            f"{label} has the database version {ascii(version)[:40]}, the newest one known is {_CURRENT}",
            remedy="update spack-oci: a newer Spack wrote it",
        )
    left_out = _unreadable(installs, version in _OLDER)
    if not left_out:
        return CheckedDatabase(data, {})
    kept = {dag_hash: record for dag_hash, record in installs.items() if dag_hash not in left_out}
    named = {_name_of(dag_hash, installs[dag_hash]): reason for dag_hash, reason in left_out.items()}
    return CheckedDatabase(canonical_json({"database": {**database, "installs": kept}}), named)


def _unreadable(installs: Mapping[str, Any], older: bool) -> Dict[str, str]:
    """DAG hash -> why the record, or one that it depends on, cannot be read."""
    result: Dict[str, str] = {}
    needs: Dict[str, tuple] = {}
    for dag_hash, record in installs.items():
        try:
            needs[dag_hash] = _check_record(dag_hash, record, older, installs).needs
        except NotAPackage as e:
            result[dag_hash] = e.message
    while True:
        cyclic = cycle_in(needs)
        if cyclic is None:
            break
        result[cyclic] = f"{cyclic} depends on itself"
        del needs[cyclic]
    _add_dependents(result, needs)
    return result


def _check_record(dag_hash: str, record: Any, older: bool, installs: Mapping[str, Any]) -> Node:
    if not isinstance(record, dict) or not isinstance(record.get("spec"), dict):
        raise NotAPackage(f"the index entry {dag_hash[:40]} has no spec")
    foreign = record.keys() - _RECORD_MEMBERS
    if foreign or not isinstance(record.get("in_buildcache", False), bool) or record.get("installed"):
        raise NotAPackage(f"the index entry {dag_hash} is no record of a build cache")
    if type(record.get("ref_count", 0)) is not int:
        raise NotAPackage(f"the index entry {dag_hash} has no valid ref_count")
    spec = {**record["spec"], "hash": record["spec"].get("hash", dag_hash)}
    node = node_of_entry(dag_hash, to_version_5(spec) if older else spec)
    build_spec = node.needs[len(node.dependencies) :]
    if any(needed not in installs for needed in build_spec):
        raise NotAPackage(f"the index entry {dag_hash} lacks its build_spec")
    return node


def _add_dependents(left_out: Dict[str, str], needs: Mapping[str, tuple]) -> None:
    dependents: Dict[str, Set[str]] = {}
    for dag_hash, needed in needs.items():
        for other in needed:
            dependents.setdefault(other, set()).add(dag_hash)
    pending: List[str] = list(left_out)
    while pending:
        missing = pending.pop()
        for dag_hash in dependents.get(missing, ()):
            if dag_hash not in left_out:
                left_out[dag_hash] = f"it needs {missing}, which is left out"
                pending.append(dag_hash)


def _name_of(dag_hash: str, record: Any) -> str:
    """For people; of a record that may be anything."""
    spec: Optional[Any] = record.get("spec") if isinstance(record, dict) else None
    name, version = (spec.get("name"), spec.get("version")) if isinstance(spec, dict) else (None, None)
    known = isinstance(name, str) and isinstance(version, str)
    text = f"{name}@{version}/{dag_hash[:7]}" if known else dag_hash
    return text.encode("ascii", "backslashreplace").decode()[:80]
