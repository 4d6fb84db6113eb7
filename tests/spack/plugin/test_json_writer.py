# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Spack's JSON through us is Spack's JSON, byte for byte."""

SAME = """
import io
import spack.store
import spack.util.spack_json as sjson
from spack_oci.spack import hooks
from spack_oci.spack.hooks import json_writer

ours, theirs = sjson.dump, hooks.original_of(sjson.dump)
assert ours is not theirs

def both(data, *args):
    texts = []
    for function in (ours, theirs):
        stream = io.StringIO()
        assert function(data, stream, *args) is None
        texts.append(stream.getvalue())
    assert texts[0] == texts[1], texts

class Counting(io.StringIO):
    writes = 0

    def write(self, text):
        self.writes += 1
        return super().write(text)

left_to_spack, quick = Counting(), Counting()
ours([1, 2], left_to_spack)
assert left_to_spack.writes > 1
working = json_writer.encoding_in_c()
working.__enter__()
ours([1, 2], quick)
assert quick.writes == 1 and quick.getvalue() == left_to_spack.getvalue()

both({"a": [1, 2.5, None, True, ("t", "\\u00e9\\n")], "b": {}, "": {"1": "x"}})
if hasattr(sjson, "dumps"):
    both({"a": [1, {"b": 2}]}, True)
else:
    assert ours({"a": 1}) == theirs({"a": 1})

stream = io.StringIO()
assert spack.store.STORE.db.query()
spack.store.STORE.db._write_to_file(stream)
sjson.dump = theirs
again = io.StringIO()
spack.store.STORE.db._write_to_file(again)
assert stream.getvalue() == again.getvalue()
print(len(stream.getvalue()) > 1000)
"""


def test_the_database_is_written_as_spack_writes_it(source):
    spack = source()
    assert spack.script(SAME).split() == ["True"]
