# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""A store with thousands of records: only Spack's database of it, which is what costs with each package installed.

The records are those of real packages, again and again, under other names and hashes; there are no prefixes.
"""

import hashlib
import json
import uuid
from pathlib import Path
from typing import Any, Dict


def _other(dag_hash: str, copy: int) -> str:
    digest = hashlib.sha256(f"{dag_hash}{copy}".encode()).hexdigest()[:32]
    return digest.translate(str.maketrans("0189", "wxyz"))


def _record(record: Dict[str, Any], dag_hash: str, copy: int, tree: Path) -> Dict[str, Any]:
    """``record`` as that of another package, whose dependencies are copies as well."""
    made = json.loads(json.dumps(record))
    node = made["spec"]
    node["name"] = f"{node['name']}-{copy}"
    node["hash"] = _other(dag_hash, copy)
    for dependency in node.get("dependencies", ()):
        dependency["name"] = f"{dependency['name']}-{copy}"
        dependency["hash"] = _other(dependency["hash"], copy)
    if made.get("path") and "external" not in node:
        made["path"] = str(tree / "linux" / f"{node['name']}-{node['hash']}")
    return made


def filled_database(model: Path, tree: Path, count: int) -> str:
    """``index.json`` of the store ``tree``, with at least ``count`` records, made of those in the store ``model``."""
    database = json.loads((model / ".spack-db" / "index.json").read_text())["database"]
    installs: Dict[str, Any] = {}
    copy = 0
    while len(installs) < count:
        copy += 1
        for dag_hash, record in database["installs"].items():
            installs[_other(dag_hash, copy)] = _record(record, dag_hash, copy, tree)
    return json.dumps({"database": {**database, "installs": installs}})


def write_database(tree: Path, document: str) -> None:
    """With a verifier beside it, without which Spack reads the database anew in every transaction."""
    directory = tree / ".spack-db"
    directory.mkdir(parents=True)
    (directory / "index.json").write_text(document)
    (directory / "index_verifier").write_text(str(uuid.uuid4()))
