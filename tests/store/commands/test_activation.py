# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""From the environment of images to one of this machine."""

import shutil
import subprocess

import pytest
from spack_oci.relocate.build_info import BuildInfo
from spack_oci.store.activation import Change, PathsHere, changes_of_image, environment, merge, script, shell_of

A, B = "a" * 32, "b" * 32
OLD = f"/build/x/linux/one-1-{A}"
#: run by what is run: its old prefix is not in the package's own list
FAR = f"/build/x/linux/far-2-{B}"
PATHS = PathsHere(BuildInfo({A: OLD}, "/build/x"), {A: "/sw/one", B: "/sw/far"})


def changes(*entries, base=False):
    return changes_of_image(entries, PATHS, has_base=base)


def test_directories_of_packages_are_mapped_and_those_of_the_system_left_to_the_machine():
    found = changes(f"PATH={OLD}/bin:{FAR}/bin:/bin:/usr/bin", f"MANPATH={OLD}/man:/usr/share/man", "X_PATH=/usr/lib")
    assert found == (Change("PATH", ("/sw/one/bin", "/sw/far/bin")), Change("MANPATH", ("/sw/one/man",)))


def test_a_list_is_put_in_front_and_a_single_value_takes_the_place():
    found = changes(f"CMAKE_PREFIX_PATH={OLD}", f"JAVA_HOME={OLD}/jdk", f"CUDA_PATH={OLD}", "MODE=fast")
    env = environment(found, {"CMAKE_PREFIX_PATH": "/mine", "CUDA_PATH": "/mine", "JAVA_HOME": "/mine"})
    assert env == {
        **{"CMAKE_PREFIX_PATH": "/sw/one:/mine", "CUDA_PATH": "/sw/one", "JAVA_HOME": "/sw/one/jdk"},
        "MODE": "fast",
    }


def test_what_a_base_image_sets_is_not_taken_for_a_package():
    assert changes("LANG=C.UTF-8", "PATH=/opt/base/bin:/bin", base=True) == ()
    assert changes(f"X_DIRS=/opt/base:{OLD}/x", base=True) == (Change("X_DIRS", ("/sw/one/x",)),)


def test_a_name_that_only_begins_like_a_prefix_is_another():
    assert changes(f"PATH={OLD}-other/bin", base=True) == ()


@pytest.mark.parametrize("entry", ["", "=x", "NAME"])
def test_what_is_no_variable_is_left_out(entry):
    assert changes(entry) == ()


#: names, and values, of an image that would have a shell do more than set a variable
HOSTILE = ("X$(touch evil)", "X;touch evil;", "X\ntouch evil\n", "X`touch evil`", "X)\ntouch evil", "BASH_FUNC_ls%%")
VALUES = (
    "$(touch evil)",
    "`touch evil`",
    "'; touch evil; '",
    '"; touch evil; "',
    "\\'; touch evil",
    "a\ntouch evil",
    "!t",
)


@pytest.mark.parametrize("program", ["sh", "bash", "zsh", "fish", "tcsh"])
def test_nothing_in_the_environment_of_an_image_is_a_command(tmp_path, program):
    if not shutil.which(program):
        pytest.skip(f"needs {program}")
    entries = [*(f"{name}=1" for name in HOSTILE), *(f"V{n}={value}" for n, value in enumerate(VALUES)), "LAST=here"]
    (tmp_path / "activate").write_text(script(changes(*entries), shell_of(program), f"{tmp_path}\ntouch evil"))
    word = "source" if program in ("fish", "tcsh") else "."
    (tmp_path / "run").write_text(f"{word} ./activate\nprintenv V0\nprintenv LAST\ndeactivate\n{word} ./activate\n")
    options = ["-f"] if program in ("zsh", "tcsh") else []
    ran = subprocess.run(
        [program, *options, "run"], cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    assert ran.stdout == "$(touch evil)\nhere\n", ran.stderr
    assert not (tmp_path / "evil").exists()


def test_a_value_that_no_process_can_have_is_left_out():
    assert changes("X=a\0b", "Y=b") == (Change("Y", ("b",), ""),)


@pytest.mark.parametrize(
    "kept",
    [["X;touch evil", ["1"], ""], ["X", ["1"], "$(id)"], ["X", [], ""], ["X", "1", ""], ["X", [1], ":"], ["X"], 7],
)
def test_what_is_kept_in_a_store_of_others_is_no_command_either(kept):
    with pytest.raises((ValueError, TypeError)):
        Change.from_list(kept)


def test_several_merge_the_first_in_front_and_conflicts_are_told():
    one = (Change("PATH", ("/1", "/2")), Change("MODE", ("a",), ""))
    two = (Change("PATH", ("/2", "/3")), Change("MODE", ("b",), ""), Change("X", ("x",), ""))
    merged = merge([one, two])
    assert environment(merged.changes, {"PATH": "/bin"}) == {"PATH": "/1:/2:/3:/bin", "MODE": "a", "X": "x"}
    assert merged.conflicts == ("MODE",)


def test_man_finds_its_own_pages_beside_those_of_packages():
    assert environment((Change("MANPATH", ("/m",)),), {}) == {"MANPATH": "/m:"}
    assert environment((Change("MANPATH", ("/m",)),), {"MANPATH": "/n"}) == {"MANPATH": "/m:/n"}


def test_changes_survive_being_written_down():
    change = Change("LUA_PATH", ("/a/?.lua", "/b"), ";")
    assert Change.from_list(change.to_list()) == change


def test_shells_are_known_by_their_programs():
    names = ["/bin/bash", "zsh", "/usr/bin/fish", "tcsh", "dash"]
    assert [shell_of(name) for name in names] == ["sh", "sh", "fish", "csh", "sh"]


def test_a_value_cannot_be_a_command():
    evil = Change("X", ("$(touch /tmp/evil)`id`'\"\\",), "")
    assert "'$(touch /tmp/evil)`id`'\"'\"'\"\\'" in script((evil,), "sh", "x")


def test_scripts_that_say_what_is_there_already_are_left_alone(client, cache, store):
    """So that a store that is only read gives no warning where nothing is removed."""
    client.run("install", cache, "oci-leaf@1.0", "--store", store)
    before = (store / "activate").stat().st_ino
    client.run("gc", "--store", store)
    assert (store / "activate").stat().st_ino == before
    client.run("uninstall", "--store", store, "oci-leaf")
    assert (store / "activate").stat().st_ino != before
