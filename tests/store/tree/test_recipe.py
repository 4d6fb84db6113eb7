# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What a recipe says, without running it."""

import os

import pytest
from spack_oci.specs.format import format_node
from spack_oci.store.recipe import NO_RECIPE, recipe_of
from support.specs.spec_nodes import graph_of, make_node

RECIPE = '''
from spack.package import *

class Base(Package):
    homepage = "https://example.com/base"

class Hdf5(CMakePackage):
    """Text."""
    homepage = "https://me:secret@example.com/hdf5"
    url = f"https://example.com/{x}"
    license("custom", when="@2:")
    license("BSD-3-Clause", when="@:1", checked_by="x")
    license(variable)

    def install(self, spec, prefix):
        raise SystemExit("it was run")
'''


@pytest.fixture
def prefix(tmp_path):
    def make(text, name="hdf5", repository="builtin"):
        directory = tmp_path / ".spack" / "repos" / "spack_repo" / repository / "packages" / name
        directory.mkdir(parents=True)
        (directory / "package.py").write_text(text)
        return str(tmp_path)

    return make


def test_licenses_by_their_conditions_and_the_home_page_without_its_secret(prefix):
    recipe = recipe_of(prefix(RECIPE), "hdf5")
    for version, license in (("1.14", "BSD-3-Clause"), ("2.0", "custom")):
        node = make_node(f"hdf5@{version}")
        assert recipe.provenance(node, graph_of(node)) == {"licenses": license, "source": "https://example.com/hdf5"}
    assert not recipe.sets_environment


@pytest.mark.parametrize("method", ["setup_run_environment", "setup_dependent_run_environment"])
def test_a_recipe_that_sets_variables_is_told(prefix, method):
    text = f"class PyThing(Package):\n    def {method}(self, env, *more):\n        env.set('X', '1')\n"
    assert recipe_of(prefix(text, "py_thing"), "py-thing").sets_environment


@pytest.mark.parametrize("text", ["", "def f(:", "import x\n", "\0"])
def test_what_is_no_recipe_says_nothing(prefix, text):
    assert recipe_of(prefix(text), "hdf5") == NO_RECIPE


@pytest.mark.parametrize(
    "deep",
    ["-" * 60_000 + "1", "+".join("1" * 60_000), "x" + ".a" * 60_000, "-" * 200_000 + "1", "+".join("1" * 200_000)],
)
def test_a_recipe_in_which_too_much_is_within_each_other_says_nothing_and_ends_nothing(prefix, deep):
    """Of it alone, the others are pushed; where the parser can do it, it has no value that is text."""
    assert recipe_of(prefix(f"class Hdf5(Package):\n    homepage = {deep}\n"), "hdf5").values == {}


def test_what_a_manifest_cannot_hold_is_not_taken(prefix):
    text = r"""
class Hdf5(Package):
    homepage = "\ud800"
    git = "https://example.com/\x1b]52;c;x"
    url = "https://example.com/hdf5"
    license("\udfff")
    license("MIT", when="\ud800")
    license(5)
"""
    recipe = recipe_of(prefix(text), "hdf5")
    assert recipe.values == {"url": "https://example.com/hdf5"} and recipe.licenses == ()


def test_no_copy_of_a_recipe_says_nothing(tmp_path):
    assert recipe_of(str(tmp_path), "hdf5") == NO_RECIPE


def test_a_pipe_in_the_place_of_a_recipe_is_not_waited_for(prefix, tmp_path):
    prefix("")
    (path,) = tmp_path.rglob("package.py")
    path.unlink()
    os.mkfifo(path)
    assert recipe_of(str(tmp_path), "hdf5") == NO_RECIPE


def test_a_spec_on_one_line_is_as_spack_writes_it():
    node = make_node("x@1.2", target="x86_64_v3", shared=True, pic=False, api="v 1", plugins=["a", "b"], none=[])
    node["parameters"]["cflags"] = ["-O2", "-g"]
    assert format_node(node) == (
        "x@=1.2 cflags='-O2 -g' ~pic+shared api='v 1' build_system=generic none:='*' plugins:=a,b "
        "platform=linux os=debian12 target=x86_64_v3"
    )
