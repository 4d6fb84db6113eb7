# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The hooks on real Spack: all of the table fits, a Spack of another shape is left alone, no command ever breaks."""

import json

import pytest

STATUSES = """
import json
from spack_oci.spack import hooks
print(json.dumps([[s.hook.targets, s.installed, s.reason] for s in hooks.statuses()]))
"""


@pytest.fixture
def spack(destination):
    return destination()


@pytest.fixture
def altered(spack):
    """``altered("code")``: run ``code`` in every Spack process before the hooks are installed.

    The place is `sitecustomize`, where it waits for the import of spack.binary_distribution: Spack's own tree is not
    touched, and what it sees is what a newer Spack could be.
    """

    def make(code: str):
        directory = spack.home / "site"
        directory.mkdir(exist_ok=True)
        (directory / "sitecustomize.py").write_text(
            "import sys, importlib.abc, importlib.util\n"
            "class Finder(importlib.abc.MetaPathFinder):\n"
            "    def find_spec(self, name, path, target=None):\n"
            "        if name != 'spack.binary_distribution':\n"
            "            return None\n"
            "        sys.meta_path.remove(self)\n"
            "        spec = importlib.util.find_spec(name)\n"
            "        load = spec.loader.exec_module\n"
            "        def exec_module(module):\n"
            "            load(module)\n"
            "            alter(module)\n"
            "        spec.loader.exec_module = exec_module\n"
            "        return spec\n"
            "def alter(module):\n" + "".join(f"    {line}\n" for line in code.splitlines()) + ""
            "sys.meta_path.insert(0, Finder())\n"
        )
        spack.environment["PYTHONPATH"] = str(directory)
        return spack

    return make


def statuses(spack):
    return {targets[0].partition(":")[2]: (on, why) for targets, on, why in json.loads(spack.script(STATUSES))}


def test_the_doctor_names_a_hook_that_is_not_installed(altered):
    spack = altered("module.extract_tarball = lambda another, shape: None")
    report = json.loads(spack.run("oci", "doctor", "--json", check=False).stdout)
    (hooks,) = [c for c in report["spack-oci"] if c["name"] == "hooks"]
    assert hooks["status"] == "warn" and "1 of" in hooks["detail"] and "not installed" in hooks["detail"]


def test_the_whole_table_fits_this_spack(spack):
    """With a supported Spack, no hook is missing and nobody is warned."""
    found = statuses(spack)
    assert found and all(installed for installed, _ in found.values()), found
    assert "Warning" not in spack.run("find").stderr


def test_the_test_can_alter_spack(altered):
    """The fixture does what it says."""
    spack = altered("module.download_tarball = None")
    assert spack.script("import spack.binary_distribution as b; print(b.download_tarball)").strip() == "None"


def test_a_function_with_other_parameters_is_left_alone(altered):
    spack = altered(
        "def download_tarball(spec, a_new_parameter=None):\n"
        "    return 'their own'\n"
        "module.download_tarball = download_tarball"
    )
    out = spack.script("import spack.binary_distribution as b; print(b.download_tarball(None))")
    assert out.strip() == "their own"
    found = statuses(spack)
    assert found["download_tarball"][0] is False
    assert "a_new_parameter" in found["download_tarball"][1]
    assert found["make_uploader"][0] is True, "the other hooks stay"


def test_a_missing_function_is_left_missing(altered):
    spack = altered("del module.make_uploader")
    assert spack.script("import spack.binary_distribution as b; print(hasattr(b, 'make_uploader'))").strip() == "False"
    assert statuses(spack)["make_uploader"][0] is False


def test_one_warning_names_all_that_is_left_alone(altered):
    spack = altered("del module.make_uploader\nmodule.extract_tarball = lambda other: None")
    stderr = spack.run("find").stderr
    warnings = [line for line in stderr.splitlines() if "Warning" in line]
    assert len(warnings) == 1, stderr
    assert "make_uploader" in stderr and "extract_tarball" in stderr


def test_a_failure_of_ours_breaks_no_command(altered):
    """Whatever goes wrong while the plugin is loaded: one warning, and Spack as it was."""
    spack = altered("import spack.config\nspack.config.SECTION_SCHEMAS = None")
    done = spack.run("--version", check=False)
    assert "Traceback" not in done.stderr


def test_an_install_works_with_a_spack_of_another_shape(altered, new_cache, source):
    """Spack's own code goes on where a hook could not be installed."""
    cache = new_cache("tls")
    pusher = source()
    pusher.use(cache)
    pusher.run("oci", "push", "--update-index", "cache", "oci-leaf@2.0")
    spack = altered(
        "theirs = module.download_tarball\n"
        "def download_tarball(spec, unsigned=False, mirrors_for_spec=None, more=None):\n"
        "    return theirs(spec, unsigned, mirrors_for_spec)\n"
        "module.download_tarball = download_tarball"
    )
    spack.use(cache)
    done = spack.install_from_cache("oci-leaf")
    assert (spack.prefix("oci-leaf") / "lib" / "libleaf.so.1").is_file()
    assert "download_tarball" in done.stderr


def test_only_mirrors_of_files_have_a_layout_to_look_for(spack):
    """Spack 1.0 asks `oci+http://` for it, before it pushes."""
    out = spack.script(
        "import spack.cmd.buildcache as b\n"
        "import spack.llnl.util.tty as tty\n"
        "from spack.mirrors.mirror import Mirror\n"
        "tty.warn = lambda message: print('warned of', mirror.push_url)\n"
        "for url in ('oci+http://localhost:1/a', 'oci+file:///a', 'oci://localhost:1/a', 'file:///nowhere'):\n"
        "    mirror = Mirror(url)\n"
        "    b.check_mirror_for_layout(mirror)\n"
    )
    assert out.split("\n") == ["warned of file:///nowhere", ""]


def test_hooks_disabled(spack):
    """`oci:hooks:enabled:false` is obeyed when it is set, without a new process of Spack having to be told."""
    spack.run("config", "add", "oci:hooks:enabled:false")
    out = spack.script(
        "import spack.binary_distribution as b\n"
        "from spack_oci.spack import hooks\n"
        "print(hooks.enabled(), hooks.original_of(b.download_tarball) is not b.download_tarball)"
    )
    assert out.split()[0] == "False"


def test_nothing_heavy_is_imported_at_the_start(spack):
    """The entry point is on the path of every command (design: < 15 ms)."""
    out = spack.script(
        "import sys\n"
        "heavy = {'requests', 'urllib3', 'zstandard', 'elftools', 'isal', 'concurrent.futures.process'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    assert out.strip() == "[]"
