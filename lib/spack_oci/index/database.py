# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Spack's database as it was fetched: checked before Spack's code reads it.

Spack reads the indexes of all mirrors into one table and gives up (``CorruptDatabaseError``) at the first record that
it cannot read, without naming the mirror. So a record that it could not read is left out here, by name, together with
what depends on it.
"""

import re
from typing import Any, Callable, Dict, Iterable, List, Mapping, NamedTuple, Optional, Set, Tuple, Union

from ..descriptor import canonical_json, parse_json
from ..errors import InvalidContent, NotAPackage
from .lines import CURRENT_DATABASE, DatabaseOfLines, Header, Line
from .nodes import check_node, cycle_in, to_version_5

#: versions of Spack's database with nodes of specfile version 4
_OLDER = ("5", "6", "7")
#: parameters of ``spack.database.InstallRecord`` that a record of a build cache may have; others make it fail
_RECORD_MEMBERS = {"spec", "ref_count", "in_buildcache", "installed", "path", "explicit", "installation_time", "origin"}


#: half of a character outside the basic plane: most databases have none, and need not be encoded again to find it alone
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


class CheckedDatabase(NamedTuple):
    #: a database whose every record Spack reads: its JSON, or what gives it
    data: Union[bytes, DatabaseOfLines]
    #: label of what was left out -> why
    left_out: Mapping[str, str]


def check_database(data: bytes, label: str) -> CheckedDatabase:
    """``data`` as it is if all its records can be read. Raises InvalidContent that names ``label`` if it is none."""
    database = parse_json(data, label).get("database")
    if not isinstance(database, dict) or not isinstance(database.get("installs"), dict):
        raise InvalidContent(f"{label} is no database of Spack")
    installs, version = database["installs"], database.get("version")
    check = _RecordCheck(version, label)
    has_surrogates = _SURROGATE.search(data) is not None
    for dag_hash, record in installs.items():
        check.add(dag_hash, record, has_surrogates)
    left_out = check.left_out()
    if not left_out:
        return CheckedDatabase(data, {})
    kept = {dag_hash: record for dag_hash, record in installs.items() if dag_hash not in left_out}
    named = {_name_of(dag_hash, installs[dag_hash]): reason for dag_hash, reason in left_out.items()}
    return CheckedDatabase(canonical_json({"database": {**database, "installs": kept}}), named)


def checked_database_of_lines(lines: Callable[[], Iterable[bytes]], digest: str, label: str) -> CheckedDatabase:
    """The same for the database that our document gives; ``lines``: as of :class:`DatabaseOfLines`. Raises
    InvalidContent also when it gives another than the one with ``digest``.
    """
    check: Optional[_RecordCheck] = None

    def see(header: Header, line: Line) -> None:
        nonlocal check
        if check is None:
            check = _RecordCheck(header.database_version, label)
        record = {"spec": line.spec}
        check.add(line.dag_hash, record, _SURROGATE.search(line.spec_data) is not None)

    database = DatabaseOfLines(lines, digest, see)
    if check is not None and check.left_out():
        return check_database(database.read(), label)
    return CheckedDatabase(database, {})


class _RecordCheck:
    """Which of the records, added one by one, Spack cannot read. Raises InvalidContent for a version that is newer."""

    def __init__(self, version: Any, label: str) -> None:
        if version != CURRENT_DATABASE and version not in _OLDER:
            raise InvalidContent(
                f"{label} has the database version {ascii(version)[:40]}, the newest one known is {CURRENT_DATABASE}",
                remedy="update spack-oci: a newer Spack wrote it",
            )
        self._older = version in _OLDER
        self._needs: Dict[str, Tuple[str, ...]] = {}
        #: of packages that were spliced: the hash of the spec that was built
        self._built: Dict[str, str] = {}
        self._unreadable: Dict[str, str] = {}
        self._texts: Dict[str, str] = {}

    def add(self, dag_hash: str, record: Any, has_surrogates: bool) -> None:
        try:
            needs = _check_record(dag_hash, record, self._older)
            if has_surrogates:
                canonical_json(record)
        except NotAPackage as e:
            self._unreadable[dag_hash] = e.message
        except UnicodeEncodeError:
            self._unreadable[dag_hash] = "it has a text that cannot be encoded"
        else:
            # a hash that many need is the same text each time it is parsed
            self._needs[dag_hash] = needs = tuple(map(self._texts.setdefault, needs, needs))
            if "build_spec" in record["spec"]:
                self._built[dag_hash] = needs[-1]

    def left_out(self) -> Dict[str, str]:
        """DAG hash -> why the record, or one that it depends on, cannot be read."""
        result, needs = dict(self._unreadable), dict(self._needs)
        for dag_hash, built in self._built.items():
            if built not in needs and built not in result:
                result[dag_hash] = f"it lacks its build_spec {built}"
                del needs[dag_hash]
        while True:
            cyclic = cycle_in(needs)
            if cyclic is None:
                break
            result[cyclic] = "it depends on itself"
            del needs[cyclic]
        if result:
            _add_dependents(result, needs)
        return result


def _check_record(dag_hash: str, record: Any, older: bool) -> Tuple[str, ...]:
    """What it needs. Raises NotAPackage."""
    if not isinstance(record, dict) or not isinstance(record.get("spec"), dict):
        raise NotAPackage(f"the index entry {dag_hash[:40]} has no spec")
    foreign = record.keys() - _RECORD_MEMBERS
    if foreign or not isinstance(record.get("in_buildcache", False), bool) or record.get("installed"):
        raise NotAPackage(f"the index entry {dag_hash[:40]} is no record of a build cache")
    if type(record.get("ref_count", 0)) is not int:
        raise NotAPackage(f"the index entry {dag_hash[:40]} has no valid ref_count")
    spec = to_version_5(record["spec"]) if older else record["spec"]
    if spec.get("hash", dag_hash) != dag_hash:
        raise NotAPackage(f"the index entry {dag_hash[:40]} has another hash in its spec")
    return check_node(dag_hash, spec if "hash" in spec else {**spec, "hash": dag_hash})


def _add_dependents(left_out: Dict[str, str], needs: Mapping[str, Tuple[str, ...]]) -> None:
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
