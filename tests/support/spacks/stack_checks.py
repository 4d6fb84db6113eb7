# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What must hold of the test packages in an install tree: they run there, and nothing points anywhere else."""

import json
import os
import stat
import subprocess
from pathlib import Path
from typing import Dict, Iterator, Sequence

from support.spacks.spack_instance import SpackInstance

#: everything below oci-stack that is installed from a cache
STACK = ("oci-leaf", "oci-middle", "oci-app", "oci-script", "oci-files", "oci-stack")
DEEP = os.path.join("libexec", "d" * 140, "e" * 140, "say")


def run_program(*argv: "str | Path") -> str:
    """Run an installed program in an empty environment; AssertionError with its output when it fails."""
    done = subprocess.run([str(a) for a in argv], capture_output=True, text=True, env={"PATH": "/usr/bin:/bin"})
    assert done.returncode == 0, f"{argv}: exit code {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def check_stack(spack: SpackInstance, names: Sequence[str] = STACK, foreign: Sequence[Path] = ()) -> Dict[str, Path]:
    """All packages are installed, run, and were relocated; returns name -> prefix.

    ``foreign``: paths (the tree of the build) that must occur nowhere in the prefixes.
    """
    prefixes = prefixes_of(spack)
    check_prefixes(prefixes, spack.tree, names, foreign)
    return prefixes


def check_prefixes(
    prefixes: Dict[str, Path], tree: Path, names: Sequence[str] = STACK, foreign: Sequence[Path] = ()
) -> None:
    """The same for what is installed in a tree: name -> prefix."""
    assert set(names) <= set(prefixes), f"missing: {set(names) - set(prefixes)}"
    for name in names:
        assert tree in prefixes[name].parents, prefixes[name]
    if "oci-app" in names:
        check_app(prefixes)
    if "oci-script" in names:
        check_script(prefixes)
    if "oci-files" in names:
        check_files(prefixes)
    for path in foreign:
        found = [f for name in names for f in files_that_contain(prefixes[name], path)]
        assert not found, f"{path} is still in {found}"


def prefixes_of(spack: SpackInstance) -> Dict[str, Path]:
    """Name -> prefix of everything installed. One of several versions of a package wins."""
    out = spack.run("find", "--format", "{name} {prefix}").stdout
    return {name: Path(prefix) for name, _, prefix in (line.partition(" ") for line in out.splitlines() if line)}


def check_app(prefixes: Dict[str, Path]) -> None:
    out = run_program(prefixes["oci-app"] / "bin" / "hello")
    said = dict(line.split(": ", 1) for line in out.splitlines())
    assert said["app"] == str(prefixes["oci-app"] / "bin" / "hello")
    assert os.path.realpath(said["middle"]) == str(prefixes["oci-middle"] / "lib" / "libmiddle.so")
    assert os.path.realpath(said["leaf"]) == str(prefixes["oci-leaf"] / "lib" / "libleaf.so.1")
    assert said["greeting"].startswith("hello from leaf ")
    assert said["header"] == "by codegen 1.0"
    pkg_config = (prefixes["oci-leaf"] / "lib" / "pkgconfig" / "leaf.pc").read_text()
    assert pkg_config.startswith(f"prefix={prefixes['oci-leaf']}\n")
    assert os.readlink(prefixes["oci-leaf"] / "lib" / "libleaf.so") == "libleaf.so.1"
    assert (prefixes["oci-leaf"] / "lib" / "libleaf.a").read_bytes().startswith(b"!<arch>\n")


def check_script(prefixes: Dict[str, Path]) -> None:
    script, app = prefixes["oci-script"], prefixes["oci-app"]
    # the kernel takes 127 or 255 bytes of a shebang line, so the interpreter may be run by sbang in both cases
    assert run_program(script / "bin" / "greet") == f"{app / 'bin' / 'say'} says: from {script}\n"
    assert run_program(script / "bin" / "greet-long") == f"{app / DEEP} says: from {script}\n"
    conf = (script / "etc" / "script.conf").read_text(encoding="utf-8")
    assert conf == f"home={script}\nprogram={app / 'bin' / 'hello'}\nunicode=grüße\n"


def check_files(prefixes: Dict[str, Path]) -> None:
    prefix, leaf = prefixes["oci-files"], prefixes["oci-leaf"]
    share = prefix / "share" / "files"
    assert (share / "data").read_text() == f"installed in {prefix}\n"
    links = {os.stat(p).st_ino for p in (share / "data", share / "data-again", prefix / "data-at-the-top")}
    assert len(links) == 1, "hard links became copies"
    assert (share / "zero-length").stat().st_size == 0
    assert (share / "binary").read_bytes().startswith(b"\0\1\2" + os.fsencode(prefix))
    assert (share / "näme-日本.txt").read_text() == "a name that is not ASCII\n"
    assert (share / "a name with spaces").read_text() == "spaces\n"
    assert (share / ("l" * 120) / ("m" * 120)).is_file()
    assert (share / "empty").is_dir() and not any((share / "empty").iterdir())
    assert os.readlink(share / "link-relative") == "data"
    assert os.readlink(share / "link-to-directory") == "../files/empty"
    assert os.readlink(share / "link-absolute") == str(share / "data")
    assert os.readlink(share / "link-into-dependency") == str(leaf / "lib" / "libleaf.so")
    assert os.readlink(share / "link-to-system") == "/usr/bin/env"
    assert os.readlink(share / "link-dangling") == "nowhere"
    assert stat.S_IMODE((share / "mode-0711").stat().st_mode) & 0o700 == 0o700


def files_that_contain(prefix: Path, path: Path) -> Iterator[str]:
    """Files and links of a prefix that hold ``path``; ``.spack`` and static archives, which Spack leaves alone, may."""
    needle = os.fsencode(path)
    for directory, directories, names in os.walk(prefix):
        if Path(directory) == prefix:
            directories[:] = [d for d in directories if d != ".spack"]
        for name in names + directories:
            file = os.path.join(directory, name)
            if os.path.islink(file):
                found = needle in os.fsencode(os.readlink(file))
            elif os.path.isfile(file):
                found = not name.endswith(".a") and needle in Path(file).read_bytes()
            else:
                continue
            if found:
                yield file


def listed(spack: SpackInstance, *arguments: str) -> Dict[str, str]:
    """Name -> hash of what ``spack buildcache list`` shows."""
    out = spack.run("buildcache", "list", "--allarch", "--long", *arguments).stdout
    pairs = (line.split() for line in out.splitlines() if "@" in line and not line.startswith(("==>", "--")))
    return {nameversion.split("@")[0]: short for short, nameversion in (p[:2] for p in pairs)}


def database_of(index: bytes) -> Dict[str, Dict[str, object]]:
    """dag hash -> record of an index document."""
    return json.loads(index)["database"]["installs"]
