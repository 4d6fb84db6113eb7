# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Records of installed packages say what Spack's own functions say, though the work is shared among them."""

import json

SCRIPT = """
import json, random
import spack.hash_types as ht, spack.store, spack.user_environment
from spack_oci.spack.specs import packages

specs = [s for s in spack.store.STORE.db.query() if not s.external]
records = packages.records_of(specs)
packages.prepare_environments(records[: len(records) // 2])
together_of = packages.run_environment(list(records))
random.Random(1).shuffle(records)
different = []
for record in records * 2:
    expected = {"PATH": "/bin"}
    spack.user_environment.environment_modifications_for_specs(record.spec).apply_modifications(expected)
    if record.environment({"PATH": "/bin"}) != expected:
        different.append(f"environment of {record.label}")
    if record.spec_document != record.spec.to_dict(hash=ht.dag_hash):
        different.append(f"document of {record.label}")
together = {}
spack.user_environment.environment_modifications_for_specs(*specs).apply_modifications(together)
if together_of({}) != together:
    different.append("environment of all")
print("RESULT", json.dumps([len(records), different]))
"""


def test_environments_and_documents(source, tmp_path):
    script = tmp_path / "compare.py"
    script.write_text(SCRIPT)
    out = source().run("python", str(script)).stdout
    count, different = json.loads(out.partition("RESULT ")[2])
    assert count >= 4
    assert different == []
