# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Our layers against the tarballs that the very Spack makes of the same prefixes."""

import json

from support.spacks.stack_checks import STACK

COMPARE = """
import io, json, os, tarfile, tempfile
import spack.binary_distribution as bindist
import spack.store
from spack_oci.archive.codec import Compression, open_decompressor
from spack_oci.archive.pack import pack_prefix
from spack_oci.spack.specs.packages import records_of

def members(path):
    result = []
    with open(path, "rb") as f:
        magic = f.read(4)
        f.seek(0)
        with tarfile.open(fileobj=open_decompressor(magic, f), mode="r|") as tar:
            for m in tar:
                content = tar.extractfile(m).read() if m.isreg() else b""
                result.append(((m.name, m.type, m.mode, m.uid, m.gid, m.mtime, m.uname, m.gname, m.linkname), content))
    return result

def compare(spec, directory):
    theirs, ours = (os.path.join(directory, name) for name in ("theirs", "ours"))
    bindist.create_tarball(spec, theirs)
    (package,) = records_of([spec])
    with open(ours, "wb") as sink:
        pack_prefix(package.prefix, build_info=package.build_info, old_prefixes=package.old_prefixes,
                    compression=Compression(), sink=sink)
    a, b = members(theirs), members(ours)
    info = bindist.buildinfo_file_name(package.prefix).lstrip("/")
    files = {m[0]: content for m, content in b}
    different = [m for (m, c), (n, d) in zip(a, b) if m != n or (c != d and m[0] != info)]
    import spack.util.spack_yaml as syaml
    theirs_info, ours_info = (syaml.load(dict((m[0], c) for m, c in x)[info].decode()) for x in (a, b))
    binaries = [name for name in theirs_info.pop("relocate_binaries")]
    needed = ours_info.pop("relocate_binaries")
    prefixes = [p.encode() for p in package.old_prefixes]
    holding = [n for n in binaries if any(p in files[package.prefix.lstrip("/") + "/" + n] for p in prefixes)]
    return {"count": [len(a), len(b)], "different": different, "info": [theirs_info, ours_info],
            "binaries": [holding, needed], "all_binaries": len(binaries)}

result = {}
with tempfile.TemporaryDirectory() as directory:
    for spec in spack.store.STORE.db.query():
        if not spec.external:
            result[spec.name] = compare(spec, directory)
print("RESULT " + json.dumps(result))
"""


def test_the_same_members_and_lists(source):
    """Names, order, types, modes, owners, times, links and contents; and what is to be relocated."""
    output = source().script(COMPARE)
    result = json.loads(output.partition("RESULT ")[2])
    assert set(STACK) <= set(result)
    for name, found in result.items():
        assert found["count"][0] == found["count"][1] > 0, name
        assert found["different"] == [], name
        theirs, ours = found["info"]
        assert theirs == ours, name
        # of Spack's list, exactly those binaries that hold an old prefix
        assert found["binaries"][0] == found["binaries"][1], name
    assert any(found["binaries"][1] for found in result.values())
