# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The story of the README, told by a real Spack: push, list, install elsewhere, run. Without one, by `spack-oci`.

Everything happens below ``.demo`` (SPACK_OCI_DEMO_DIRECTORY: another place); nothing of the user's is read or written.
Needs Python's standard library and gcc; a Spack, or git to get one, for the whole story. Exit codes: 0, it worked; 1, a
step failed; 2, something that the demo needs cannot be had.
"""

import argparse
import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Iterator, List, Optional

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import without_spack
from support.spacks.spack_instance import REPOSITORY, SpackFailed, SpackInstance, Unavailable, clone
from support.spacks.stack_checks import check_stack, prefixes_of, run_program
from telling import DEMO, Clock, human, indented, say, short, shorten, size_of, title

#: the newest supported release of Spack
RELEASE = "v1.1.0"
#: the least `config:install_tree:padded_length` of the first tree
PADDED_LENGTH = 128
ROOT = "oci-stack"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--registry", action="store_true", help="use a docker-registry on loopback, not a directory")
    arguments = parser.parse_args()
    # a new demo each time; only the downloads of the last one are kept
    shutil.rmtree(DEMO / "run", ignore_errors=True)
    (DEMO / "run").mkdir(parents=True)
    try:
        with registry_of(DEMO / "run") if arguments.registry else contextlib.nullcontext() as url:
            try:
                spack = find_spack()
            except NoSpack as e:
                without_spack.tell(find_python(), url, str(e))
            else:
                tell(spack, find_python("clingo>=5.6"), url)
    except Unavailable as e:
        print(e, file=sys.stderr)
        return 2
    except (SpackFailed, AssertionError) as e:
        print(f"The demo failed: {e}", file=sys.stderr)
        return 1
    return 0


class NoSpack(Exception):
    """There is none on this machine, and none can be had; the message says why."""


# -- what it needs ----------------------------------------------------------------------------------------------------


def find_spack() -> Path:
    """A Spack to run: a copy of SPACK_ROOT's or PATH's, without its configuration, else a clone of the release."""
    if not shutil.which("gcc") and not shutil.which("cc"):
        raise Unavailable("There is no C compiler on PATH.\nInstall gcc; the demo compiles a few lines of C with it.")
    given = os.environ.get("SPACK_ROOT")
    found = shutil.which("spack")
    if given or found:
        root = Path(given) if given else Path(os.path.realpath(str(found))).parents[1]
        return copy_of_spack(root, DEMO / "spack")
    target = DEMO / f"spack-{RELEASE}"
    if not (target / "bin" / "spack").is_file():
        say(f"Getting Spack {RELEASE} (git clone --depth 1) ...")
        try:
            clone(RELEASE, target)
        except Unavailable as e:
            first_line = str(e).splitlines()[0]
            raise NoSpack(f"SPACK_ROOT is not set, there is no `spack` on PATH, and {first_line}")
    return target


def copy_of_spack(root: Path, target: Path) -> Path:
    """The code of a user's Spack, so that its site configuration is not read and no byte code is written there."""
    mock = Path("var", "spack", "test_repos", "spack_repo", "builtin_mock")
    if not (root / "bin" / "spack").is_file() or not (root / mock).is_dir():
        raise Unavailable(
            f"{root} is no Spack 1.0 or newer with its test repositories ({mock}).\n"
            f"Set SPACK_ROOT to one that is, or unset it and let git clone Spack {RELEASE}."
        )
    shutil.rmtree(target, ignore_errors=True)
    for part in ("bin", "lib/spack", "share/spack", "var/spack/test_repos", "etc/spack/defaults"):
        shutil.copytree(root / part, target / part, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    included = root / "etc" / "spack" / "include.yaml"  # part of Spack since 1.1, names the user's scope
    if included.is_file():
        shutil.copy(included, target / "etc" / "spack")
    return target


def find_python(*more: str) -> Path:
    """A virtual environment with this package, and ``more``."""
    python = DEMO / "python" / "bin" / "python"
    if not python.is_file():
        say("Making a virtual environment with spack-oci in it ...")
        partial = DEMO / "python"
        steps = [
            [sys.executable, "-m", "venv", partial],
            [python, "-m", "pip", "install", "--quiet", *more, "-e", REPOSITORY],
        ]
        for step in steps:
            done = subprocess.run(list(map(str, step)), stdin=subprocess.DEVNULL, capture_output=True, text=True)
            if done.returncode != 0:
                shutil.rmtree(partial, ignore_errors=True)
                reason = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
                raise Unavailable(
                    f"pip cannot install the package: {' '.join(reason)}\n"
                    "Allow it to reach a package index (or set PIP_INDEX_URL), and see that python3-venv is installed."
                )
    return python


@contextlib.contextmanager
def registry_of(directory: Path) -> Iterator[str]:
    """A docker-registry on loopback; yields the URL of a repository in it."""
    if shutil.which("docker-registry") is None:
        raise Unavailable(
            "There is no docker-registry on PATH.\n"
            "Install it (Debian, Ubuntu: apt-get install docker-registry), or run `make demo`, which needs none."
        )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (directory / "registry.yml").write_text(
        "version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\n"
        f"storage: {{filesystem: {{rootdirectory: {directory / 'registry'}}}}}\nhttp: {{addr: '127.0.0.1:{port}'}}\n"
    )
    with open(directory / "registry.log", "wb") as log:
        argv = ["docker-registry", "serve", str(directory / "registry.yml")]
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        wait_for_port(port)
        yield f"oci+http://127.0.0.1:{port}/demo/cache"
    finally:
        process.terminate()
        process.wait()


def wait_for_port(port: int, seconds: float = 20) -> None:
    """Raises Unavailable when nothing listens there in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise Unavailable(f"docker-registry does not answer on port {port}.\nSee {short(DEMO / 'run' / 'registry.log')}.")


# -- the story --------------------------------------------------------------------------------------------------------


def tell(spack_root: Path, python: Path, registry_url: Optional[str]) -> None:
    """``registry_url``: the mirror to use, or None for the directory that spack-oci takes when there is none."""
    clock = Clock()
    run = DEMO / "run"
    external = run / "external"
    external.mkdir()
    tree = run / "first-tree"
    padded = max(PADDED_LENGTH, len(str(tree)) + 64)
    first = SpackInstance(spack_root, python, run / "first", external=external, tree=tree, padded_length=padded)
    say(f"Spack {first.run('--version').stdout.strip()}; everything that is written is below {DEMO}")

    title(f"Build a chain of C packages in {short(tree)}, padded to {padded} characters")
    with clock.step("build"):
        show(first, "install", ROOT, quiet=True)
    show(first, "find", "--long")
    installed = size_of(tree)
    run_programs(first)

    mirror: List[str] = []
    if registry_url:
        title("Push them to a registry")
        show(first, "mirror", "add", "--unsigned", "demo", registry_url)
        mirror = ["demo"]
    else:
        title("Push them; no mirror is configured, so they go to a directory")
    with clock.step("push"):
        pushed = show(first, "oci", "push", *mirror, ROOT)
    with clock.step("push again"):
        show(first, "oci", "push", *mirror, ROOT)
    url = registry_url or layout_url(pushed)
    cached = size_of(run / "registry" if registry_url else Path(url[len("oci+file://") :]))

    title("Update the index, and see what the cache has")
    with clock.step("update-index"):
        show(first, "oci", "update-index", *mirror)
    with clock.step("list"):
        show(first, "oci", "list", "--long", *mirror)

    title("Remove every install")
    show(first, "uninstall", "--all", "--yes-to-all", quiet=True)
    say(f"    installed packages: {len(first.installed())}")

    for word, root in (("longer", run / "another-and-longer-tree"), ("shorter", run / "t")):
        title(f"Install from the cache into a different, {word} tree: {short(root)}")
        other = first.sibling(run / word, tree=root, padded_length=0)
        show(other, "mirror", "add", "--unsigned", "demo", url)
        with clock.step(f"install ({word})"):
            show(other, "install", "--cache-only", ROOT, quiet=True)
        show(other, "find", "--long")
        run_programs(other)
        check_stack(other, foreign=[tree])

    title("What happened")
    for step, seconds in clock.steps:
        say(f"  {step:<20}{seconds:6.1f} s")
    say(f"  {'all of it':<20}{clock.elapsed():6.1f} s")
    say(f"  {human(installed)} installed are {human(cached)} in the cache")
    say("No program or library of the other trees holds a path of the first one.")
    say(f"`make clean` removes {DEMO}")


def run_programs(spack: SpackInstance) -> None:
    """Run what was installed; the program says itself where its libraries were found."""
    prefixes = prefixes_of(spack)
    for program in (prefixes["oci-app"] / "bin" / "hello", prefixes["oci-script"] / "bin" / "greet-long"):
        say(f"$ {shorten(str(program))}")
        say(indented(run_program(program)))


def layout_url(output: str) -> str:
    """The directory that `spack oci push` said it took."""
    found = re.search(r"oci\+file://\S+", output)
    if not found:
        raise SpackFailed(f"spack oci push did not say where it pushed to:\n{output}")
    return found.group()


def show(spack: SpackInstance, *arguments: str, quiet: bool = False) -> str:
    """Run a command of Spack, show it and (unless ``quiet``) what it says; returns all that it said."""
    say(f"$ spack {' '.join(arguments)}")
    done = spack.run(*arguments)
    output = done.stdout + done.stderr
    if output.strip() and not quiet:
        say(indented(output))
    return output


if __name__ == "__main__":
    sys.exit(main())
