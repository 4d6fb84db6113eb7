# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The database through us is Spack's, byte for byte, written by Spack unless a package came from an OCI mirror; the
permissions of a package are those that Spack gives it."""

import grp
import os

SAME = """
import io
import spack.store
import spack.util.spack_json as sjson
from spack_oci.spack import hooks
from spack_oci.spack.hooks import database

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

def written(data):
    stream = Counting()
    ours(data, stream)
    return stream

ours_and_others = {"database": {"installs": {"ours": {}, "other": {}}}}
assert written(ours_and_others).writes > 1
database.will_register("ours")
assert written([1, 2]).writes > 1 and written({"database": {"installs": {"other": {}}}}).writes > 1
assert written(ours_and_others).writes == 1
assert written(ours_and_others).writes > 1, "it is registered by now"

both({"a": [1, 2.5, None, True, ("t", "\\u00e9\\n")], "b": {}, "": {"1": "x"}})
if hasattr(sjson, "dumps"):
    both({"a": [1, {"b": 2}]}, True)
else:
    assert ours({"a": 1}) == theirs({"a": 1})

stream = io.StringIO()
database.will_register(spack.store.STORE.db.query()[0].dag_hash())
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


PERMISSIONS = """
import spack.hooks.permissions_setters as setters, spack.store, spack.util.file_permissions as fp
from spack_oci.spack.hooks import permissions

(spec,) = spack.store.STORE.db.query("oci-files")
asked = []
fp.set_permissions_by_spec = lambda path, spec: asked.append(path)
fp.set_permissions = lambda *args: None
setters.post_install(spec, True)
by_spack = len(asked)
permissions.will_be_set(spec.dag_hash())
setters.post_install(spec, True)
after_ours = len(asked)
setters.post_install(spec, True)
print(by_spack > 3, after_ours == by_spack, len(asked) == 2 * by_spack)
"""


def test_only_packages_from_oci_mirrors_get_their_permissions_from_us(source):
    """A source build, and an install from another mirror, go through Spack's own function, file by file."""
    assert source().script(PERMISSIONS).split() == ["True", "True", "True"]


MODES = """
import os, shutil, stat, sys
import spack.hooks.permissions_setters as setters, spack.store
from spack_oci.spack import hooks
from spack_oci.spack.hooks import permissions

(spec,) = spack.store.STORE.db.query("oci-files")
root = os.path.join(os.environ["HOME"], "tree")
spec.set_prefix(root)
FILES = {"plain": 0o644, "program": 0o755, "private": 0o600, "setuid": 0o4755, "setgid": 0o2755}
DIRECTORIES = {"d": 0o755, "open": 0o777, "sticky": 0o1755, "group": 0o2755}

def made():
    shutil.rmtree(root, ignore_errors=True)
    os.mkdir(root)
    for name in FILES:
        open(os.path.join(root, name), "w").close()
    for name in DIRECTORIES:
        os.mkdir(os.path.join(root, name))
    for name, mode in {**FILES, **DIRECTORIES}.items():
        os.chmod(os.path.join(root, name), mode)

def tree():
    found = {name: os.stat(os.path.join(root, name)) for name in (".", *FILES, *DIRECTORIES)}
    return {name: (stat.S_IMODE(status.st_mode), status.st_gid) for name, status in found.items()}

made()
hooks.original_of(setters.post_install)(spec, True)
theirs = tree()
made()
permissions.will_be_set(spec.dag_hash())
setters.post_install(spec, True)
print(theirs == tree() or (theirs, tree()))
print(oct(tree()["sticky"][0] & 0o1777), {gid for _, gid in tree().values()})
"""


def test_modes_and_groups_are_those_that_spack_sets_also_of_what_has_special_bits(source):
    group = 1 if os.geteuid() == 0 else max(os.getgroups(), default=os.getgid())
    spack = source(name="grouped")
    wanted = {"read": "group", "write": "user", "group": grp.getgrgid(group).gr_name}
    spack.write_config("packages", {"all": {"permissions": wanted}})
    assert spack.script(MODES).splitlines() == ["True", f"0o1750 {{{group}}}"]
