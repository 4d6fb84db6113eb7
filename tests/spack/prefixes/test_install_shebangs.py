# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""A script whose first line is too long for the kernel in a longer install tree goes through sbang there.

Spack's post-install hook does that, after every kind of install; ours runs it, too.
"""

import shutil
import tempfile
from pathlib import Path

import pytest
from support.spacks.stack_checks import check_script, prefixes_of

pytestmark = pytest.mark.one_spack


@pytest.fixture(scope="module")
def short(built, our_python, new_cache):
    """A cache of scripts that were built in a tree with a very short path."""
    home = Path(tempfile.mkdtemp(prefix="s"))
    spack = built.sibling(home / "h", python=our_python, tree=home / "o", padded_length=0)
    spack.run("install", "oci-script")
    greet = (spack.prefix("oci-script") / "bin" / "greet").read_text()
    assert greet.startswith(f"#!{home}/o/"), "short enough for the kernel where it was built"
    cache = new_cache("layout")
    spack.use(cache)
    spack.run("oci", "push", "--update-index", "cache", "oci-script")
    yield cache
    shutil.rmtree(home)


@pytest.mark.parametrize("how", ["oci install", "old", "new"])
def test_scripts_run_through_sbang(how, short, destination, tmp_path):
    probe = destination(name="probe")
    limit = int(probe.script("import spack.hooks.sbang as s; print(s.system_shebang_limit)"))
    # the line that calls sbang itself just fits
    tree = tmp_path / ("t" * (limit - len("#!/bin/sh /bin/sbang\n") - len(str(tmp_path)) - 1))
    spack = destination(tree=tree, installer=None if how == "oci install" else how)
    spack.use(short)
    # programs have to fit as well
    spack.run("config", "add", f"oci:relocation:alias_root:{tempfile.mkdtemp(prefix='a', dir=tmp_path.parent)}")
    if how == "oci install":
        spack.run("oci", "install", "oci-script")
    else:
        spack.install_from_cache("oci-script")
    prefixes = prefixes_of(spack)
    for name, interpreter in (("greet", prefixes["oci-app"] / "bin" / "say"), ("greet-long", None)):
        first, second, *_ = (prefixes["oci-script"] / "bin" / name).read_text().splitlines()
        assert first == f"#!/bin/sh {tree}/bin/sbang"
        assert second.startswith(f"#!{prefixes['oci-app']}/") and (interpreter is None or second == f"#!{interpreter}")
    check_script(prefixes)
