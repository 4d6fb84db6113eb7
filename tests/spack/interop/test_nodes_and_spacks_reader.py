# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""No node that passes our checks makes Spack's reader of databases fail: seeded mutations of valid nodes."""

import json
import os
import time

import pytest

TESTS = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

#: runs in Spack; argv: the tests' directory, a seed, a number of nodes
COMPARE = """
import json, os, sys, tempfile
tests, seed, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
sys.path.insert(0, tests)
import spack.binary_distribution
from spack_oci.errors import NotAPackage
from spack_oci.index.database import check_database
from spack_oci.index.nodes import nodes_of_document
from spack_oci.spack import compat
from spack_oci.spack.specs import node_reader
from support.specs.node_mutations import BUILT, DEPENDENCIES, base_nodes, mutated_nodes

def read_by_spack(specs):
    installs = {s["hash"]: {"spec": s, "ref_count": 0, "in_buildcache": True} for s in specs}
    for other in (*DEPENDENCIES, BUILT):
        installs.setdefault(other["hash"], {"spec": other, "ref_count": 1, "in_buildcache": False})
    data = json.dumps({"database": {"version": "8", "installs": installs}}).encode()
    assert check_database(data, "the test").left_out == {}
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "index.json")
        with open(path, "wb") as f:
            f.write(data)
        database = spack.binary_distribution.BuildCacheDatabase(directory)
        compat.read_database(database, path)
    for record in database._data.values():
        spec = record.spec
        str(spec), spec.format(), hash(spec), spec.dag_hash(), [d.name for d in spec.traverse()]
        [(str(v), v.values, hash(v)) for v in spec.variants.values()], list(spec.compiler_flags.items())
        spec.to_node_dict(), spec.copy()

def failures(specs):
    try:
        read_by_spack(specs)
        return []
    except Exception as e:
        if len(specs) == 1:
            return [(specs[0], f"{type(e).__name__}: {e}")]
    middle = len(specs) // 2
    return failures(specs[:middle]) + failures(specs[middle:])

accepted, refused, spack_refused = [], 0, 0
for base in base_nodes():
    nodes_of_document({"spec": {"_meta": {"version": 5}, "nodes": [base, *DEPENDENCIES, BUILT]}}, "base")
for spec in mutated_nodes(seed, count):
    try:
        nodes = nodes_of_document({"spec": {"_meta": {"version": 5}, "nodes": [spec, *DEPENDENCIES, BUILT]}}, "it")
    except NotAPackage:
        refused += 1
        continue
    node_reader.check_nodes(nodes[:1])
    accepted.append(json.loads(nodes[0].data))
failed = [f for start in range(0, len(accepted), 100) for f in failures(accepted[start:start + 100])]
print(json.dumps({"accepted": len(accepted), "refused": refused, "failed": failed}))
"""


def compare(instance, tmp_path, seed, count):
    script = tmp_path / "compare.py"
    script.write_text(COMPARE)
    return json.loads(instance.run("python", script, TESTS, seed, count).stdout.splitlines()[-1])


def test_nodes_that_pass_our_checks_are_read_by_spack(bare_spack, tmp_path):
    found = compare(bare_spack, tmp_path, 1, 1500)
    assert found["failed"] == []
    assert found["accepted"] > 100 and found["refused"] > 300


@pytest.mark.slow
def test_nodes_of_many_seeds_are_read_by_spack(bare_spack, tmp_path):
    """20 seconds, or those of SPACK_OCI_NODES_SECONDS; with other seeds each time. A failure prints the node."""
    began, total, wanted = time.monotonic(), 0, float(os.environ.get("SPACK_OCI_NODES_SECONDS", "20"))
    while time.monotonic() - began < wanted:
        seed = time.time_ns() % (1 << 32)
        found = compare(bare_spack, tmp_path, seed, 4000)
        assert found["failed"] == [], f"seed {seed}"
        total += found["accepted"] + found["refused"]
    print(f"{total} nodes")


#: runs in Spack; argv: the tests' directory
READ_ONE_BY_ONE = """
import gc, json, sys
sys.path.insert(0, sys.argv[1])
from spack_oci.index.nodes import nodes_of_document
from spack_oci.spack.specs import node_reader
from support.specs.node_mutations import BUILT, DEPENDENCIES, base_nodes

base = base_nodes()[0]
nodes = nodes_of_document({"spec": {"_meta": {"version": 5}, "nodes": [base, *DEPENDENCIES, BUILT]}}, "base")

def kept():
    gc.collect()
    return len(gc.get_objects()) + gc.get_freeze_count()

node_reader.check_nodes(nodes[:1])
before = kept()
for _ in range(300):
    node_reader.check_nodes(nodes[:1])
print(json.dumps(kept() - before))
"""


@pytest.mark.one_spack
def test_nothing_is_kept_of_nodes_that_were_read(bare_spack, tmp_path):
    """An update of an index reads those of a hundred thousand packages, and each spec is in a circle."""
    script = tmp_path / "read.py"
    script.write_text(READ_ONE_BY_ONE)
    done = bare_spack.run("python", str(script), TESTS)
    assert json.loads(done.stdout.splitlines()[-1]) < 300, done.stdout
