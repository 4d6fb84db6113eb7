#!/usr/bin/env python3
# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Real programs in install trees with longer paths than the one that they were built in.

    run_longer_trees.py --spack SPACK_ROOT [--work DIR] [--longer 1 10 25 50] [--keep] [/HASH ...]

``SPACK_ROOT`` has packages installed, in a tree with a short, unpadded path; its configuration and the environment's
SPACK_* variables are used as they are. The packages are pushed once, into an OCI layout, and installed from there with
`spack oci install` and with `spack install --cache-only` into trees whose paths are so many characters longer. Then
programs that look for their own data through a path embedded in them are run: in an empty environment, and with the
old tree hidden (an empty file system is mounted over it, in a mount namespace of the program's own; where that is not
allowed, a warning says so). What they print must not name the old tree.

The trees are made directly below ``--work`` (default: a temporary directory, which must have a short path).

A table is printed: programs against trees; "-" where no package brings the program. Exit code 1 if one fails.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT / "lib"), str(ROOT / "tests")]

from support.spacks import spack_instance  # noqa: E402

Prefixes = Mapping[str, Path]


@dataclass(frozen=True)
class Check:
    """A shell script that runs a program of ``package``, and what its output must match.

    In the script and in the expression, ``{name}`` is the prefix of a package (``-`` in its name as ``_``). An alias in
    the output counts as the prefix that it leads to.
    """

    package: str
    name: str
    script: str
    expected: str


CHECKS = (
    Check(
        "python",
        "modules",
        """
        {python}/bin/python3 -c '
        import ctypes, os, readline, sqlite3, ssl, sys, zlib
        sqlite3.connect(":memory:")
        print(os.path.realpath(sys.prefix))'
        """,
        "^{python}$",
    ),
    Check(
        "python",
        "sysconfig",
        """
        {python}/bin/python3 -c '
        import os, sysconfig
        found = sysconfig.get_config_vars()
        include = sysconfig.get_path("include")
        print(*set(map(os.path.realpath, (found["prefix"], found["LIBDIR"] + "/..", include + "/../.."))))'
        """,
        "^{python}$",
    ),
    Check("python", "python3-config", "{python}/bin/python3-config --prefix --includes", "^{python}$"),
    Check(
        "python",
        "venv",
        """
        {python}/bin/python3 -m venv v && v/bin/python -c 'import ssl, sys; print(sys.base_prefix)' &&
        v/bin/pip --version
        """,
        r"{python}\n.*pip \d",
    ),
    Check(
        "py-numpy",
        "numpy",
        """
        export PYTHONPATH=$(echo {py_numpy}/lib/python3*/site-packages)
        {python}/bin/python3 -c 'import numpy; print(numpy.linalg.det(numpy.eye(3)), numpy.__file__)'
        """,
        "1.0 {py_numpy}",
    ),
    Check("perl", "perl -V", "{perl}/bin/perl -V", r"@INC:\n\s+{perl}/lib"),
    Check(
        "perl",
        "modules",
        """
        {perl}/bin/perl -MConfig -MPOSIX -MEncode -MData::Dumper -e '
        print POSIX::floor(3.7), qq( $Config{{privlibexp}} $INC{{q(POSIX.pm)}})'
        """,
        r"^3 {perl}/lib\S* {perl}/lib",
    ),
    Check("perl", "perldoc", "{perl}/bin/perldoc -l Data::Dumper", "^{perl}/lib"),
    Check("ncurses", "tput", "TERM=vt320 {ncurses}/bin/tput longname", "VT320"),
    Check("ncurses", "infocmp", "TERM=vt320 {ncurses}/bin/infocmp", "from file: {ncurses}/share/terminfo/v/vt320"),
    Check("htop", "htop", "TERM=vt320 script -qec '{htop}/bin/htop -n 1' /dev/null", "Load|PID|CPU"),
    Check(
        "tmux",
        "tmux",
        """
        export TERM=vt320
        script -qec "{tmux}/bin/tmux -S $PWD/socket -f /dev/null new-session 'echo in tmux > said'" /dev/null
        cat said
        """,
        "in tmux",
    ),
    Check("nano", "gettext (nano)", "LC_ALL=C.UTF-8 LANGUAGE=de {nano}/bin/nano --help", "^Aufruf: "),
    Check("xz", "gettext (xz)", "LC_ALL=C.UTF-8 LANGUAGE=de {xz}/bin/xz --help", "^Aufruf: "),
    Check(
        "vim",
        "runtime, help",
        """
        {vim}/bin/vim -es -c 'redir! > said' -c 'echo $VIMRUNTIME' -c help -c q -c q
        cat said
        """,
        r"^{vim}/share/vim/vim\d+(.|\n)*help.txt",
    ),
    Check(
        "vim",
        "syntax",
        """
        {vim}/bin/vim -es -N -u NONE -c 'syntax on' -c 'set ft=c' -c 'redir! > said' -c 'syntax list cType' -c 'q!' x.c
        cat said
        """,
        r"cType\s+xxx",
    ),
    Check(
        "openssl",
        "openssl.cnf",
        "{openssl}/bin/openssl req -new -newkey rsa:2048 -nodes -subj /CN=x -keyout /dev/null",
        "BEGIN CERTIFICATE REQUEST",
    ),
    Check(
        "zsh",
        "modules, functions",
        """
        {zsh}/bin/zsh -fc '
        zmodload zsh/zpty zsh/datetime && print $module_path
        autoload -Uz compinit && compinit -D && print ${{#_comps}}'
        """,
        r"^{zsh}/lib\S*\n\d\d\d",
    ),
    Check(
        "tcl",
        "library",
        """
        echo 'puts [file normalize $tcl_library]; package require msgcat; puts [msgcat::mclocale]' > x.tcl
        {tcl}/bin/tclsh8.6 x.tcl
        """,
        r"^{tcl}/lib/tcl8.6\n\w",
    ),
    Check("valgrind", "tools", "{valgrind}/bin/valgrind -q --tool=none /bin/true && echo fine", "fine"),
    Check("hdf5", "h5cc", "{hdf5}/bin/h5cc -show x.c", "-I{hdf5}/include"),
    Check(
        "netcdf-c",
        "ncgen, nc-config",
        """
        {netcdf_c}/bin/nc-config --prefix
        echo 'netcdf x {{ dimensions: d = 2; }}' > x.cdl
        {netcdf_c}/bin/ncgen -k nc4 -o x.nc x.cdl && {netcdf_c}/bin/ncdump x.nc
        """,
        r"{netcdf_c}\n(.|\n)*d = 2",
    ),
    Check("icu4c", "data", "echo abc | {icu4c}/bin/uconv -f latin1 -t utf-8 -x Any-Upper", "^ABC"),
    Check(
        "pkgconf",
        "zlib.pc",
        "PKG_CONFIG_PATH={zlib}/lib/pkgconfig {pkgconf}/bin/pkgconf --variable=prefix zlib",
        "^{zlib}$",
    ),
    Check(
        "file",
        "magic",
        "{file}/bin/file --version && {file}/bin/file -L /bin/sh",
        r"magic file from {file}/share/misc/magic\n(.|\n)*ELF",
    ),
    Check(
        "gettext",
        "ITS rules, autopoint",
        """
        echo '<interface><object><property name="label" translatable="yes">Hello</property></object></interface>' > x.ui
        {gettext}/bin/xgettext -o - x.ui && {gettext}/bin/autopoint --version
        """,
        r'msgid "Hello"(.|\n)*GNU gettext',
    ),
)

WAYS = {
    "oci install": ("oci", "install"),
    "install": ("install", "--cache-only", "--no-check-signature"),
}


class Runner:
    """Runs the user's Spack with everything that it writes below ``work``."""

    def __init__(self, spack: Path, work: Path) -> None:
        self.spack, self.work = spack, work
        self.python = spack_instance.python(True)
        self.url = f"oci+file://{work / 'cache'}"
        self.store_root = self._store_root()

    def _store_root(self) -> Path:
        return Path(self.run("python", "-c", "import spack.store; print(spack.store.STORE.layout.root)").strip())

    def scope(self, tree: Optional[Path]) -> Path:
        directory = self.work / "scope"
        directory.mkdir(exist_ok=True)
        config = {
            "installer": "old",
            "misc_cache": str(self.work / "misc"),
            "source_cache": str(self.work / "sources"),
            "build_stage": [str(self.work / "stage")],
            **({"install_tree": {"root": str(tree)}} if tree else {}),
        }
        mirrors = {"cache": {"url": self.url, "signed": False}}
        for section, content in (
            ("config", {"config": config}),
            ("mirrors", {"mirrors:": mirrors}),
            ("oci", {"oci": {"cache": {"root": str(self.work / "oci")}}}),
        ):
            (directory / f"{section}.yaml").write_text(json.dumps(content))
        return directory

    def run(self, *arguments: str, tree: Optional[Path] = None) -> str:
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        environment["SPACK_PYTHON"] = str(self.python)
        command = [str(self.spack / "bin" / "spack"), "-C", str(self.scope(tree)), *arguments]
        done = subprocess.run(command, env=environment, input="", capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
        return done.stdout

    def roots(self) -> List[str]:
        """Installed packages that no other one needs."""
        code = (
            "import spack.store; found = [s for s in spack.store.STORE.db.query() if not s.external]; "
            "used = {d.dag_hash() for s in found for d in s.dependencies(deptype=('link', 'run'))}; "
            "print(*('/' + s.dag_hash() for s in found if s.dag_hash() not in used))"
        )
        return self.run("python", "-c", code).split()

    def prefixes(self, tree: Path) -> Dict[str, Path]:
        out = self.run("find", "--format", "{name} {prefix}", tree=tree)
        found = {name: Path(p) for name, _, p in (line.partition(" ") for line in out.splitlines()) if p}
        return {name: prefix for name, prefix in found.items() if tree in prefix.parents}  # no externals


def hidden(tree: Path) -> Tuple[str, ...]:
    """A command in front of another one that hides ``tree`` from it; none where that is not permitted."""
    hide = ("unshare", "--mount", "sh", "-c", f"mount -t tmpfs none '{tree}' && exec \"$@\"", "sh")
    with_users = ("unshare", "--map-root-user", *hide[1:])
    for command in (hide, with_users):
        if shutil.which("unshare") and subprocess.run([*command, "true"], capture_output=True).returncode == 0:
            return command
    print(f"warning: {tree} cannot be hidden from the programs here", file=sys.stderr)
    return ()


def without_aliases(text: str, tree: Path) -> str:
    """``text`` with each alias of ``tree`` replaced by its prefix, and without the slashes that pad a path in front."""
    text = re.sub(rf"/+(?={re.escape(str(tree))})", "", text)
    for alias in (tree / ".a").glob("*"):
        text = re.sub(rf"{re.escape(str(alias))}\b", os.path.realpath(alias), text)
    return text


def run_check(check: Check, prefixes: Prefixes, hide: Sequence[str], tree: Path, old_root: Path) -> Optional[str]:
    """What is wrong; None if nothing is."""
    names = {name.replace("-", "_"): str(prefix) for name, prefix in prefixes.items()}
    script = check.script.format(**names)
    expected = check.expected.format(**names)
    with tempfile.TemporaryDirectory() as directory:
        command = [*hide, "bash", "-c", f"cd {directory}\n{textwrap.dedent(script)}"]
        environment = {"PATH": "/usr/bin:/bin", "HOME": directory, "LC_ALL": "C.UTF-8"}
        done = subprocess.run(command, env=environment, input=b"", capture_output=True, timeout=120)
    output = without_aliases((done.stdout + done.stderr).decode(errors="replace"), tree)
    if not re.search(expected, output, re.MULTILINE):
        return f"exit code {done.returncode}, and this does not match {expected!r}:\n{output}"
    if re.search(rf"{re.escape(str(old_root))}(/|\b(?!\w))", output):
        return f"names the old tree:\n{output}"
    return None


def available(check: Check, prefixes: Prefixes) -> bool:
    needed = {check.package, *re.findall(r"(?<!\{)\{(\w+)\}(?!\})", check.script)}
    return {name.replace("-", "_") for name in needed} <= {name.replace("-", "_") for name in prefixes}


def trees(work: Path, old_root: Path, longer: Sequence[int]) -> Iterator[Tuple[int, Path]]:
    for more in longer:
        fill = len(str(old_root)) + more - len(str(work)) - 1
        if fill < 1:
            raise SystemExit(f"{work} is too long for a tree that is {more} characters longer than {old_root}: --work")
        yield more, work / ("t" * fill)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("specs", nargs="*")
    parser.add_argument("--spack", required=True, type=Path)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--longer", type=int, nargs="*", default=[1, 10, 25, 50])
    parser.add_argument("--keep", action="store_true", help="keep the last trees")
    args = parser.parse_args()
    work = args.work or Path(tempfile.mkdtemp(prefix="l"))
    work.mkdir(parents=True, exist_ok=True)
    try:
        return run(Runner(args.spack, work), args, lambda line: print(line, flush=True))
    finally:
        if not args.keep:
            shutil.rmtree(work, ignore_errors=True)


def run(runner: Runner, args: argparse.Namespace, out: Callable[[str], None]) -> int:
    old_root = runner.store_root
    specs = args.specs or runner.roots()
    runner.run("oci", "push", "--without-build-dependencies", "--update-index", "cache", *specs)
    hide = hidden(old_root)
    results: Dict[Check, Dict[str, str]] = {check: {} for check in CHECKS}
    columns: List[str] = []
    details: List[str] = []
    for more, tree in trees(runner.work, old_root, args.longer):
        for way, command in WAYS.items():
            columns.append(f"{way} +{more}")
            runner.run(*command, *specs, tree=tree)
            prefixes = runner.prefixes(tree)
            for check in CHECKS:
                if not available(check, prefixes):
                    results[check][columns[-1]] = "-"
                    continue
                wrong = run_check(check, prefixes, hide, tree, old_root)
                results[check][columns[-1]] = "FAILS" if wrong else "ok"
                if wrong:
                    details.append(f"{check.package}: {check.name}, {columns[-1]}: {wrong}")
            if not args.keep or way != list(WAYS)[-1]:
                shutil.rmtree(tree)
    out(f"{len(prefixes)} packages, built in {old_root} ({len(str(old_root))} characters)")
    width = max(len(c) for c in columns) + 2
    out(" " * 28 + "".join(column.rjust(width) for column in columns))
    for check, row in results.items():
        out(f"{check.package + ': ' + check.name:28}" + "".join(row[column].rjust(width) for column in columns))
    for detail in details:
        out(f"\n{detail}")
    return 1 if details else 0


if __name__ == "__main__":
    sys.exit(main())
