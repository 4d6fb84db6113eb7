# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Run environments from records are what Spack computes, for packages with set-up methods of every kind.

The packages are concretized and not installed: their prefixes are made by hand.
"""

import json

import pytest

#: package -> body of its class; env-child inherits from env-module
PACKAGES = {
    # as an interpreter: knows of those that depend on it, sets globals in their modules, and uses those of its own
    "env-lang": """
    version("2.0")
    version("1.0")
    def setup_dependent_package(self, module, dependent_spec):
        module.lang_home = self.prefix.lang
    def setup_run_environment(self, env):
        counted("lang run")
        env.set("LANG_HOME", prefix.join(str(self.version)))
    def setup_dependent_run_environment(self, env, dependent_spec):
        counted("lang for another")
        env.prepend_path("LANG_PATH", dependent_spec.prefix.lang)
        env.set("LANG_LAST", dependent_spec.name)
""",
    "env-plain": "",
    "env-module": """
    depends_on("env-lang", type=("build", "run"))
    depends_on("env-plain", type="link")
    def setup_run_environment(self, env):
        env.append_path("MODULE_PATH", prefix.module)
        env.set("MODULE_LANG", lang_home)
""",
    # gets its globals into the module of env-module, whose methods then see the prefix of this
    "env-child": """
    depends_on("env-module", type=("link", "run"))
    depends_on("env-lang", type=("build", "run"))
    def setup_run_environment(self, env):
        super().setup_run_environment(env)
        env.append_flags("CHILD_FLAGS", "-child")
""",
    # looks at what it has added for those that depend on it
    "env-looks": """
    def setup_dependent_run_environment(self, env, dependent_spec):
        env.set("LOOKS_" + str(len(env)), dependent_spec.name)
    def setup_run_environment(self, env):
        env.prepend_path("LOOKS", ",".join(sorted(e.name for e in env)))
""",
    "env-clears": """
    def setup_dependent_run_environment(self, env, dependent_spec):
        env.set("CLEARED", dependent_spec.name)
    def setup_run_environment(self, env):
        env.clear()
        env.set("KEPT", "by env-clears")
""",
    "env-curious": """
    depends_on("env-looks", type=("link", "run"))
    depends_on("env-clears", type="run")
    depends_on("env-module", type="run")
""",
    "env-external": "",
    # by version: Spack makes an object of such a method that is no function
    "env-tool": """
    version("1.1")
    depends_on("env-external", type="link")
    depends_on("env-plain", type="run")
    depends_on("env-lang", type="run")
    @when("@1.1")
    def setup_run_environment(self, env):
        env.remove_path("PATH", "/nowhere")
        env.unset("TOOL")
        for path in ("/a//b/../c/", ".", "x/"):
            env.prepend_path("TOOL_PATH", path, separator=";")
""",
    "env-raises": """
    depends_on("env-plain", type="run")
    def setup_run_environment(self, env):
        raise InstallError("no environment of env-raises")
""",
    "env-all": """
    depends_on("env-looks", type="run")
    depends_on("env-curious", type="run")
    depends_on("env-child", type=("link", "run"))
    depends_on("env-tool", type="link")
    depends_on("env-plain", type="link")
""",
}

ROOTS = ["env-all", "env-module ^env-lang@1.0", "env-tool", "env-raises"]

PACKAGE = """
import builtins
from {base_module} import {base}
from spack.package import *

builtins.calls = getattr(builtins, "calls", {{}})
def counted(what):
    builtins.calls[what] = builtins.calls.get(what, 0) + 1

class {name}({base}):
    homepage = "https://example.com"
    has_code = False
    version("1.0")
{body}
"""

PREPARE = (
    f"ROOTS = {ROOTS}\n"
    + """
import builtins, json, os, random
import spack.build_environment, spack.concretize, spack.error, spack.package_base
import spack.user_environment, spack.util.environment
from spack_oci.spack.specs.environments import RunEnvironments

roots = [spack.concretize.concretize_one(root) for root in ROOTS]
raising = roots.pop()
specs = {id(s): s for root in roots for s in root.traverse(deptype=("link", "run"))}
specs = list(specs.values())
for spec in specs:
    for name in ("bin", "lib/pkgconfig", "share/man"):
        os.makedirs(os.path.join(spec.prefix, name), exist_ok=True)

spacks_own = spack.user_environment.environment_modifications_for_specs
left_to_spack = []

def watched(*specs):
    left_to_spack.append("+".join(s.name for s in specs))
    return spacks_own(*specs)

spack.user_environment.environment_modifications_for_specs = watched

def compare(environments, *roots):
    theirs = spacks_own(*roots)
    for base in ({"PATH": "/bin", "TOOL": "x"}, {"LANG_PATH": "", "TOOL_PATH": "/t;;"}):
        expected = dict(base)
        theirs.apply_modifications(expected)
        if environments.apply(roots, base) != expected:
            different.append("+".join(s.format("{name}@{version}") for s in roots))

different = []
def result(**values):
    print("RESULT", json.dumps({"different": different, "left": left_to_spack, **values}))
"""
)

COMPARE = """
for seed in range(4):
    random.seed(seed)
    random.shuffle(specs)
    environments = RunEnvironments()
    if seed % 2:
        environments.prepare(specs + [raising])
    for spec in specs * 2:
        compare(environments, spec)
    for _ in range(20):
        compare(environments, *random.choices(specs, k=random.choice([2, 2, 3, 5])))
    assert environments._trusted and environments._checked
result(names=sorted({s.name for s in specs}))
"""


@pytest.fixture
def spack(source, tmp_path):
    repository = tmp_path / "repository" / "spack_repo" / "environments"
    (repository / "packages").mkdir(parents=True)
    (repository / "repo.yaml").write_text("repo: {namespace: environments, api: v2.1}\n")
    for package, body in PACKAGES.items():
        name = class_name(package)
        base, base_module = "Package", "spack_repo.builtin_mock.build_systems.generic"
        if package == "env-child":
            base, base_module = "EnvModule", "spack_repo.environments.packages.env_module.package"
        directory = repository / "packages" / package.replace("-", "_")
        directory.mkdir()
        text = PACKAGE.format(name=name, base=base, base_module=base_module, body=body)
        (directory / "package.py").write_text(text)
    instance = source(tree=tmp_path / "opt", padded_length=0)
    mock = instance.checkout / "var" / "spack" / "test_repos" / "spack_repo" / "builtin_mock"
    repositories = {"environments": str(repository), "builtin_mock": str(mock)}
    instance.write_config("repos:", repositories, instance.base_scope)
    external = {
        "spec": "env-external@1.0",
        "prefix": str(tmp_path / "elsewhere"),
        "extra_attributes": {"environment": {"set": {"EXTERNAL": "yes"}, "prepend_path": {"PATH": "/external"}}},
    }
    instance.write_config("packages", {"env-external": {"buildable": False, "externals": [external]}})
    return instance


def class_name(package: str) -> str:
    return "".join(part.capitalize() for part in package.split("-"))


def run(spack, script: str) -> dict:
    return json.loads(spack.script(PREPARE + script).partition("RESULT ")[2])


def test_every_closure_is_as_spack_has_it(spack):
    found = run(spack, COMPARE)
    assert found["different"] == []
    assert set(found["names"]) == set(PACKAGES) - {"env-raises"}


CALLS = """
ours = {s.name: s for s in reversed(specs)}
environments = RunEnvironments()
environments.prepare([ours["env-all"], raising])
for _ in range(2):
    for name in ("env-lang", "env-plain", "env-module", "env-tool"):
        environments.apply([ours[name]], {})
both = environments.apply([ours["env-module"], ours["env-tool"]], {})
builtins.calls.clear()
left_to_spack.clear()
assert environments.apply([ours["env-module"], ours["env-tool"]], {}) == both
for name in ("env-lang", "env-plain", "env-module", "env-tool"):
    environments.apply([ours[name]], {})
assert not left_to_spack, left_to_spack
calls = dict(builtins.calls)
for name in ("env-curious", "env-child"):
    for _ in range(2):
        environments.apply([ours[name]], {})
try:
    environments.apply([raising], {})
    error = ""
except spack.error.SpackError as e:
    error = str(e)
result(calls=calls, error=error, path=both["PATH"])
"""


def test_set_up_methods_are_called_once_where_that_is_the_same(spack):
    """What depends on what was added before, or on who has set the globals, is left to Spack; so are errors."""
    found = run(spack, CALLS)
    assert found["calls"] == {}
    assert found["left"] == ["env-curious", "env-curious", "env-child", "env-child", "env-raises"]
    assert found["error"] == "no environment of env-raises"
    assert found["path"].count("/external") == 1


OTHER_SPACK = """
base = spack.build_environment.SetupContext
original = base.get_env_modifications

def with_more(self):
    found = original(self)
    found.set("NEW", self.specs[0].name)
    return found

def environments_of_all(environments):
    return [environments.apply([spec], {}) for spec in specs]

base.get_env_modifications = with_more
environments = RunEnvironments()
more = [e["NEW"] for e in environments_of_all(environments)] == [s.name for s in specs]
base.get_env_modifications = original
trusted = environments._trusted

PrependPath = spack.util.environment.PrependPath
execute = PrependPath.execute

PrependPath.execute = spack.util.environment.AppendPath.execute
environments = RunEnvironments()
compare_all = [compare(environments, spec) for spec in specs * 2]
prepends = environments._trusted
PrependPath.execute = execute

spack.package_base.PackageBase.setup_more = lambda self, env: None
left_to_spack.clear()
environments_of_all(RunEnvironments())
result(more=more, trusted=[trusted, prepends], count=len(specs))
"""


def test_a_spack_that_has_another_way_is_asked_each_time(spack):
    found = run(spack, OTHER_SPACK)
    assert found["more"] and found["trusted"] == [False, False]
    assert found["different"] == []
    assert len(found["left"]) == found["count"]
