# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Spack's database of installed packages, read and written without Spack."""

import json
import os
import stat
import subprocess
import sys

import pytest
from spack_oci.errors import CorruptDatabase, NotAStore, StorageError, UnknownDatabase
from spack_oci.store.database import Database
from support.specs.spec_nodes import edge, graph_of, make_node

GCC = make_node("gcc@12.2.0", external="/usr")
ZLIB = make_node("zlib@1.3.1", edge(GCC, "build", virtuals=["c"]))
CMAKE = make_node("cmake@3.30", edge(GCC, "build", virtuals=["c"]))
HDF5 = make_node("hdf5@1.14.3", edge(GCC, "build"), edge(CMAKE, "build"), edge(ZLIB, "build", "link"))
GRAPH = graph_of(GCC, ZLIB, CMAKE, HDF5)
PREFIXES = {h: f"/store/{n['name']}" for h, n in GRAPH.items()}


@pytest.fixture
def database(tmp_path):
    return Database(str(tmp_path))


def add(database, *nodes, explicit=()):
    with database.transaction() as records:
        for node in nodes:
            records.add(GRAPH, node["hash"], PREFIXES, explicit=node in explicit, now=5.0)


def document(tmp_path):
    return json.loads((tmp_path / ".spack-db" / "index.json").read_text())["database"]


def counts(records):
    """(name -> count, as there; the same, counted anew)."""
    has = {r["spec"]["name"]: r["ref_count"] for r in records.by_hash.values()}
    real = dict.fromkeys(has, 0)
    for record in records.by_hash.values():
        for one in record["spec"].get("dependencies", ()):
            if one["hash"] in records.by_hash:
                real[records.by_hash[one["hash"]]["spec"]["name"]] += 1
    return has, real


def test_an_installed_package_is_recorded_as_spack_does(database, tmp_path):
    add(database, ZLIB, HDF5, explicit=[HDF5])
    found = document(tmp_path)
    assert found["version"] == "8"
    assert found["installs"][HDF5["hash"]] == {
        "spec": HDF5,
        "ref_count": 0,
        "path": "/store/hdf5",
        "installed": True,
        "explicit": True,
        "installation_time": 5.0,
        "deprecated_for": None,
    }
    # an external is where it is, a dependency of the build alone is missing
    assert found["installs"][GCC["hash"]]["path"] == "/usr" and found["installs"][GCC["hash"]]["installed"]
    assert not found["installs"][CMAKE["hash"]]["installed"]
    has, real = counts(database.read())
    assert has == real


def test_every_write_has_a_new_verifier_and_none_without_a_change(database, tmp_path):
    verifier = tmp_path / ".spack-db" / "index_verifier"
    add(database, ZLIB)
    first = verifier.read_text()
    with database.transaction():
        pass
    assert verifier.read_text() == first
    add(database, HDF5)
    assert verifier.read_text() != first


def test_what_somebody_asked_for_stays_so_when_it_is_installed_again_as_a_dependency(database):
    add(database, ZLIB, explicit=[ZLIB])
    add(database, ZLIB)
    assert database.read().by_hash[ZLIB["hash"]]["explicit"]


def test_a_removed_package_stays_as_missing_while_another_needs_it(database):
    add(database, ZLIB, HDF5)
    with database.transaction() as records:
        records.remove(ZLIB["hash"])
    records = database.read()
    assert not records.is_installed(ZLIB["hash"]) and ZLIB["hash"] in records.by_hash
    with database.transaction() as records:
        records.remove(HDF5["hash"])
    records = database.read()
    assert set(records.by_hash) == {GCC["hash"]}
    assert counts(records)[0] == {"gcc": 0}


def test_what_is_deprecated_counts_for_what_takes_its_place(database, tmp_path):
    add(database, ZLIB, CMAKE)
    with database.transaction() as records:
        records.by_hash[CMAKE["hash"]].update(deprecated_for=ZLIB["hash"], installed=False)
        records.by_hash[ZLIB["hash"]]["ref_count"] += 1
        records.changed = True
    with database.transaction() as records:
        records.remove(ZLIB["hash"])
    assert ZLIB["hash"] in database.read().by_hash
    with database.transaction() as records:
        records.remove(CMAKE["hash"])
    assert set(database.read().by_hash) == {GCC["hash"]}


def test_a_deprecated_package_that_is_installed_again_is_no_longer_deprecated(database):
    add(database, ZLIB, CMAKE)
    with database.transaction() as records:
        records.by_hash[CMAKE["hash"]].update(deprecated_for=ZLIB["hash"], installed=False)
        records.by_hash[ZLIB["hash"]]["ref_count"] += 1
        records.changed = True
    add(database, CMAKE)
    records = database.read()
    assert records.by_hash[CMAKE["hash"]]["deprecated_for"] is None
    assert counts(records)[0] == counts(records)[1]


def test_only_what_nobody_needs_to_run_is_unused(database):
    add(database, ZLIB, CMAKE, HDF5, explicit=[HDF5])
    assert database.read().unused() == [CMAKE["hash"]]


def test_fields_that_are_not_known_here_stay(database, tmp_path):
    add(database, ZLIB)
    path = tmp_path / ".spack-db" / "index.json"
    changed = json.loads(path.read_text())
    changed["database"]["installs"][ZLIB["hash"]]["origin"] = "external-db"
    path.write_text(json.dumps(changed))
    add(database, HDF5)
    assert document(tmp_path)["installs"][ZLIB["hash"]]["origin"] == "external-db"


def test_nothing_is_written_when_the_change_fails(database, tmp_path):
    add(database, ZLIB)
    before = (tmp_path / ".spack-db" / "index.json").read_bytes()
    with pytest.raises(ZeroDivisionError), database.transaction() as records:
        records.remove(ZLIB["hash"])
        raise ZeroDivisionError
    assert (tmp_path / ".spack-db" / "index.json").read_bytes() == before
    assert not list((tmp_path / ".spack-db").glob("*.temp"))


def test_a_write_that_fails_registers_nothing_whichever_file_it_fails_at(database, tmp_path):
    """What was installed is removed then."""
    add(database, ZLIB)
    before = (tmp_path / ".spack-db" / "index.json").read_bytes()
    (tmp_path / ".spack-db" / "index_verifier").unlink()
    (tmp_path / ".spack-db" / "index_verifier").mkdir()
    with pytest.raises(StorageError):
        add(database, HDF5)
    assert (tmp_path / ".spack-db" / "index.json").read_bytes() == before


@pytest.mark.parametrize("version", ["9", "7", "0.9.3", "\u00b2", pytest.param("9" * 5000, id="digits")])
def test_a_database_of_another_version_is_named_and_not_touched(database, tmp_path, version):
    add(database, ZLIB)
    path = tmp_path / ".spack-db" / "index.json"
    path.write_text(json.dumps({"database": {"version": version, "installs": {}}}))
    before = path.read_bytes(), path.stat().st_mtime_ns
    with pytest.raises(UnknownDatabase, match=f"version {version}"), database.transaction() as records:
        records.changed = True
    with pytest.raises(UnknownDatabase):
        database.read()
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"database": {"version": "8"}}', '{"database":{"version":"8","installs":{"a":1}}}']
)
def test_a_damaged_database_is_named(database, tmp_path, text):
    (tmp_path / ".spack-db").mkdir()
    (tmp_path / ".spack-db" / "index.json").write_text(text)
    with pytest.raises(CorruptDatabase):
        database.read()


def test_a_directory_without_a_database_is_no_store(database):
    with pytest.raises(NotAStore):
        database.read()


def test_many_writers_lose_nothing(tmp_path):
    code = (
        "import sys, json; from spack_oci.store.database import Database\n"
        "from support.specs.spec_nodes import make_node\n"
        "for i in range(8):\n"
        "    node = make_node(f'p{sys.argv[2]}-{i}@1')\n"
        "    with Database(sys.argv[1]).transaction() as records:\n"
        "        records.add({node['hash']: node}, node['hash'], {node['hash']: '/x'})\n"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    writers = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path), str(n)], env=env) for n in range(4)]
    assert [w.wait() for w in writers] == [0] * 4
    assert len(Database(str(tmp_path)).read().by_hash) == 32


def test_others_may_read_what_they_could_read_before_whatever_the_umask(database, tmp_path):
    tmp_path.chmod(0o755)
    (tmp_path / ".spack-db").mkdir(mode=0o755)
    before = os.umask(0o077)
    try:
        add(database, ZLIB)
    finally:
        os.umask(before)
    for name in ("index.json", "index_verifier"):
        assert stat.S_IMODE((tmp_path / ".spack-db" / name).stat().st_mode) == 0o644
