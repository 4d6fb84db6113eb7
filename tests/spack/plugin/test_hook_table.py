# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The hooks on real Spack: all of the table fits, a Spack of another shape is left alone, no command ever breaks."""

import json

import pytest
from spack_oci.spack.hooks.table import HOOKS

STATUSES = """
import json
from spack_oci.spack import hooks
found = hooks.checked_statuses() if %r else hooks.statuses()
print(json.dumps([[s.hook.targets, s.state, s.reason] for s in found]))
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


def statuses(spack, checked=False):
    found = json.loads(spack.script(STATUSES % checked))
    return {targets[0]: (state, reason) for targets, state, reason in found}


def doctor(spack):
    """What it says of the hooks."""
    report = json.loads(spack.run("oci", "doctor", "--json", check=False).stdout)
    (found,) = [c for c in report["checks"]["spack-oci"] if c["name"] == "hooks"]
    return found


BINARY = "spack.binary_distribution"


@pytest.mark.one_spack
def test_the_doctor_names_a_hook_that_is_not_installed(altered):
    spack = altered("module.extract_tarball = lambda another, shape: None")
    hooks = doctor(spack)
    assert hooks["status"] == "warn" and "1 of" in hooks["detail"] and "not installed" in hooks["detail"]


@pytest.mark.every_spack
def test_the_whole_table_fits_every_supported_spack(bare_spack):
    """Also the hooks whose modules no command has imported: none is missing, and nobody is warned."""
    found = statuses(bare_spack, checked=True)
    assert {state for state, _ in found.values()} <= {"active", "not needed"}, found
    not_needed = {target for target, (state, _) in found.items() if state == "not needed"}
    known = {hook.targets[0] for hook in HOOKS if not hook.is_for(bare_spack.version)}
    assert not_needed == known
    assert "Warning" not in bare_spack.run("find").stderr


MISSING = """
import importlib
from spack_oci.spack import hooks

def exists(target):
    module, _, path = target.partition(":")
    try:
        found = importlib.import_module(module)
    except ImportError:
        return False
    for name in path.split("."):
        found = getattr(found, name, None)
    return found is not None

late = [s.hook for s in hooks.statuses() if s.state == hooks.NOT_NEEDED and s.hook.until is None]
print([t for hook in late for t in hook.targets if exists(t)])
"""


@pytest.mark.every_spack
def test_what_the_table_calls_newer_than_this_spack_is_not_in_it(bare_spack):
    """Else a hook would be left out of a release that needs it."""
    assert bare_spack.script(MISSING).strip() == "[]"


def test_a_hook_is_pending_until_its_module_is_imported(spack):
    late = [hook.targets[0] for hook in HOOKS if hook.later and hook.is_for(spack.version)]
    found = statuses(spack)
    assert found["spack.installer:PackageInstaller.install"][0] == "pending"
    assert {found[target][0] for target in late} <= {"pending", "active"}
    checked = statuses(spack, checked=True)
    assert {checked[target][0] for target in late} == {"active"}


@pytest.mark.one_spack
def test_the_test_can_alter_spack(altered):
    """The fixture does what it says."""
    spack = altered("module.download_tarball = None")
    assert spack.script("import spack.binary_distribution as b; print(b.download_tarball)").strip() == "None"


@pytest.mark.one_spack
def test_a_function_with_other_parameters_is_left_alone(altered):
    spack = altered(
        "def download_tarball(spec, a_new_parameter=None):\n"
        "    return 'their own'\n"
        "module.download_tarball = download_tarball"
    )
    out = spack.script("import spack.binary_distribution as b; print(b.download_tarball(None))")
    assert out.strip() == "their own"
    found = statuses(spack)
    state, reason = found[f"{BINARY}:download_tarball"]
    assert state == "refused" and "a_new_parameter" in reason
    assert found[f"{BINARY}:make_uploader"][0] == "active", "the other hooks stay"


DOWNLOAD = """
import spack.binary_distribution as b, spack.error
try:
    print(b.download_tarball(None))
except spack.error.SpackError as e:
    print("refused:", e.message)
"""


@pytest.mark.one_spack
@pytest.mark.parametrize(
    "code",
    [
        "module.download_tarball = lambda spec, a_new_parameter=None: 'their own'",
        "module.download_tarball = lambda spec, unsigned=False, mirrors_for_spec=None: 'their own'\n"
        "import sys\nsys.modules['spack_oci.spack.hooks.install'] = None",
    ],
    ids=["a function of another form", "a dependency is missing"],
)
def test_where_signatures_are_required_spack_does_not_fetch_in_our_place(altered, code):
    """It asks for none: every package would be taken as it is."""
    spack = altered(code)
    assert spack.script(DOWNLOAD).strip() == "their own"
    spack.write_config("mirrors", {"cache": "oci://registry.example/cache"})
    spack.write_config("oci", {"trust": {"policies": {"*": {"mode": "warn"}}}})
    assert spack.script(DOWNLOAD).strip() == "their own"
    spack.write_config("oci", {"trust": {"policies": {"*": {"mode": "require"}}}})
    assert spack.script(DOWNLOAD).startswith("refused: packages are to be signed")
    spack.write_config("oci", {"trust": {"policies": {"*": {"mode": "off"}}}})
    spack.write_config("mirrors", {"cache": {"url": "oci://registry.example/cache", "signed": True}})
    assert spack.script(DOWNLOAD).startswith("refused: packages are to be signed")


@pytest.mark.one_spack
def test_a_missing_function_is_left_missing(altered):
    spack = altered("del module.make_uploader")
    assert spack.script("import spack.binary_distribution as b; print(hasattr(b, 'make_uploader'))").strip() == "False"
    assert statuses(spack)[f"{BINARY}:make_uploader"] == ("refused", "not in this Spack")


@pytest.mark.one_spack
def test_one_warning_names_all_that_is_left_alone(altered):
    spack = altered("del module.make_uploader\nmodule.extract_tarball = lambda other: None")
    stderr = spack.run("find").stderr
    warnings = [line for line in stderr.splitlines() if "Warning" in line]
    assert len(warnings) == 1, stderr
    assert "make_uploader" in stderr and "extract_tarball" in stderr


LATER_MODULE = "import importlib; importlib.import_module('spack.hooks.permissions_setters').post_install = print"


@pytest.mark.one_spack
def test_the_doctor_names_a_pending_hook_that_does_not_fit(altered):
    """It imports the modules that other commands have not needed."""
    spack = altered(LATER_MODULE + "\nimport sys; sys.modules.pop('spack.new_installer', None)")
    found = doctor(spack)
    assert found["status"] == "warn" and "permissions" in found["detail"]


@pytest.mark.one_spack
@pytest.mark.parametrize(
    "code",
    [
        "import spack.schema\nspack.schema.oci = 'theirs'",
        "import spack_oci.spack.section\nspack_oci.spack.section.push_defaults = None",
        "import spack_oci.spack.hooks.apply as a\na.HOOKS = [*a.HOOKS, None]",
    ],
    ids=["a Spack with such a section", "after the hooks", "half way through the hooks"],
)
def test_a_plugin_that_fails_leaves_spack_as_it_was(altered, code):
    """Whatever goes wrong while it is loaded: one warning, no hook, no section, and every command works."""
    spack = altered(code)
    done = spack.run("find")
    assert done.stderr.count("spack-oci is not active") == 1, done.stderr
    out = spack.script(
        "import spack.binary_distribution as b, spack.mirrors.mirror as m, spack.schema, spack.config\n"
        "from spack_oci.spack import hooks, plugin\n"
        "print(plugin.activate(), plugin.is_active(), hooks.statuses(), getattr(spack.schema, 'oci', 'theirs'))\n"
        "print(hooks.original_of(b.download_tarball) is b.download_tarball, 'oci+file' in m.supported_url_schemes)\n"
        "print('oci' in (spack.config.SECTION_SCHEMAS or {}))"
    )
    assert out.split() == ["False", "False", "[]", "theirs", "True", "False", "False"]
    said = spack.run("oci", "doctor", check=False)
    assert "not active" in said.stdout + said.stderr


@pytest.mark.one_spack
def test_a_failure_is_not_taken_for_success_the_second_time(altered):
    """`config:extensions` calls the plugin again after the entry point failed."""
    spack = altered("import spack_oci.spack.hooks.apply as a\na.HOOKS = [*a.HOOKS, None]")
    done = spack.run("oci", "list", check=False)
    assert done.returncode != 0 and "Traceback" not in done.stderr
    assert "is not active in this Spack" in done.stderr


@pytest.mark.one_spack
def test_without_a_configuration_the_hooks_do_what_spack_does(spack):
    """As Spack's own test of the database has it: no global configuration, and the database is written."""
    out = spack.script(
        "import io, spack.config, spack.util.spack_json as sjson, spack.binary_distribution as b\n"
        "from spack_oci.spack import hooks\n"
        "spack.config.CONFIG = None\n"
        "stream = io.StringIO()\n"
        "sjson.dump({'database': {'installs': {}}}, stream)\n"
        "print(hooks.enabled(), len(stream.getvalue()) > 10)"
    )
    assert out.split() == ["False", "True"]


@pytest.mark.one_spack
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


@pytest.mark.one_spack
def test_hooks_disabled(spack):
    """`oci:hooks:enabled:false` is obeyed when it is set, without a new process of Spack having to be told."""
    spack.run("config", "add", "oci:hooks:enabled:false")
    out = spack.script(
        "import spack.binary_distribution as b\n"
        "from spack_oci.spack import hooks\n"
        "print(hooks.enabled(), hooks.original_of(b.download_tarball) is not b.download_tarball)"
    )
    assert out.split()[0] == "False"
