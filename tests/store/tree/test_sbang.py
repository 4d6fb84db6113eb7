# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Scripts whose first line is too long for the system."""

import os
import stat
import subprocess

import pytest
from spack_oci.archive.unpack.install_manifest import contents_of
from spack_oci.store.sbang import LIMIT, SBANG, is_program, shorten_first_lines


@pytest.fixture
def sbang(tmp_path):
    path = tmp_path / "bin" / "sbang"
    path.parent.mkdir()
    path.write_text(SBANG)
    path.chmod(0o755)
    return path


@pytest.fixture
def interpreter(tmp_path):
    """``interpreter("perl")``: a program of that name, in a path that is too long, which prints its arguments."""

    def make(name):
        path = tmp_path / ("d" * 140) / name
        path.parent.mkdir(exist_ok=True)
        path.write_text('#!/bin/sh\nfor word do printf "[%s]" "$word"; done; echo\n')
        path.chmod(0o755)
        return path

    return make


def shorten(prefix, sbang):
    programs = [path for _, path, status in contents_of(str(prefix)) if is_program(status)]
    return shorten_first_lines(str(prefix), programs, str(sbang))


def script(tmp_path, text, mode=0o755):
    path = tmp_path / "prefix" / "bin" / "script"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


@pytest.mark.parametrize(
    "name, comment, extra",
    [("sh", "#!", ""), ("lua", "--!", ""), ("node", "//!", ""), ("perl", "#!", "[-x]"), ("ruby", "#!", "[-x]")],
)
def test_a_script_is_run_by_its_interpreter_with_its_arguments(tmp_path, sbang, interpreter, name, comment, extra):
    program = interpreter(name)
    path = script(tmp_path, f"#!{program} -w\nrest\n")
    assert shorten(tmp_path / "prefix", sbang) == [str(path)]
    lines = path.read_text().splitlines()
    assert lines == [f"#!/bin/sh {sbang}", f"{comment}{program} -w", "rest"]
    done = subprocess.run([path, "a b", "*"], capture_output=True, text=True)
    assert done.stdout == f"[-w]{extra}[{path}][a b][*]\n", done.stderr


def test_a_php_script_has_its_line_in_a_tag(tmp_path, sbang, interpreter):
    program = interpreter("php")
    path = script(tmp_path, f"#!{program}\n<?php echo 1;\n")
    shorten(tmp_path / "prefix", sbang)
    assert path.read_text().splitlines()[1] == f"<?php #!{program} ?>"
    assert subprocess.run([path], capture_output=True, text=True).stdout == f"[{path}]\n"


def test_env_finds_the_program(tmp_path, sbang):
    path = script(tmp_path, f"#!/bin/sh {sbang}\n#!/usr/bin/env sh\necho it ran $1\n")
    assert subprocess.run([path, "x"], capture_output=True, text=True).stdout == "it ran x\n"


@pytest.mark.parametrize("blank", ["my sw", " lead", "two  blanks", "tab\there", "star * and 'quote'"])
@pytest.mark.parametrize("name, comment, extra", [("sh", "#!", ""), ("lua", "--!", ""), ("perl", "#!", "[-x]")])
@pytest.mark.parametrize("directory", ["p/bin", "d" * 140])
def test_a_script_in_a_store_with_a_blank_in_its_path_is_run(tmp_path, blank, name, comment, extra, directory):
    """prefix-dev/pixi #1990, pypa/pip #12599: the system takes what is before the blank for the interpreter."""
    store = tmp_path / blank
    sbang, program = store / "bin" / "sbang", store / directory / name
    for path, text in (sbang, SBANG), (program, '#!/bin/sh\nfor word do printf "[%s]" "$word"; done; echo\n'):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
    path = script(store, f"#! {program} -w  -v\nrest\n")
    assert shorten(store / "prefix", sbang) == [str(path)]
    assert path.read_text().splitlines()[:2] == [f"#!/bin/sh {sbang}", f"{comment} {program} -w  -v"]
    done = subprocess.run([path, "a b", "*"], capture_output=True, text=True)
    assert done.stdout == f"[-w][-v]{extra}[{path}][a b][*]\n", done.stderr
    assert shorten(store / "prefix", sbang) == []


def test_what_is_no_program_of_a_store_with_a_blank_is_left_alone(tmp_path):
    sbang = tmp_path / "my sw" / "bin" / "sbang"
    for line in ("#!/bin/sh", f"#!{tmp_path}/my swim/bin/sh", f"#!/usr/bin/env -S {tmp_path}/my"):
        script(tmp_path / "my sw", f"{line}\n")
        assert shorten(tmp_path / "my sw" / "prefix", sbang) == []


@pytest.mark.parametrize("text", ["#!/bin/sh sbang\nno interpreter\n", "#!/bin/sh sbang\n#!/x/sbang\n"])
def test_a_script_without_an_interpreter_is_an_error_and_no_loop(tmp_path, sbang, text):
    path = script(tmp_path, text.replace("sbang\n", f"{sbang}\n", 1))
    done = subprocess.run(["/bin/sh", sbang, path], capture_output=True, text=True, timeout=10)
    assert done.returncode != 0 and "sbang:" in done.stderr or "not found" in done.stderr


def test_what_needs_no_change_is_left_alone(tmp_path, sbang, interpreter):
    long = interpreter("sh")
    prefix = tmp_path / "prefix"
    kept = {
        script(tmp_path, "#!/bin/sh\n").rename(prefix / "bin" / "short"): "#!/bin/sh\n",
        script(tmp_path, f"#!{long}\n", 0o644).rename(prefix / "bin" / "no-program"): f"#!{long}\n",
        script(tmp_path, "x" * 5000).rename(prefix / "bin" / "no-script"): "x" * 5000,
        script(tmp_path, "#!" + " " * 200 + "\n").rename(prefix / "bin" / "empty"): "#!" + " " * 200 + "\n",
        script(tmp_path, "#!/" + "y" * 5000).rename(prefix / "bin" / "endless"): "#!/" + "y" * 5000,
    }
    (prefix / "bin" / "link").symlink_to(long)
    assert shorten(prefix, sbang) == []
    assert {path: path.read_text() for path in kept} == kept


def test_mode_and_further_runs_do_not_change(tmp_path, sbang, interpreter):
    path = script(tmp_path, f"#!{interpreter('sh')}\n", 0o4551)
    shorten(tmp_path / "prefix", sbang)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o4551
    assert shorten(tmp_path / "prefix", sbang) == []
    assert len(path.read_text().splitlines()[0]) <= LIMIT or len(str(sbang)) > LIMIT - 10
