# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Real Spack for the tests: checkouts, interpreters with and without this package, and isolated instances.

A :class:`SpackInstance` is what a user has: one Spack, one Python, one configuration, one install tree, one home
directory. Nothing outside its directory is read or written (the checkout gets byte code only), so instances of any
number share a checkout. "Ours" runs in a Python with this package installed, "vanilla" in one without it.

Environment variables:

``SPACK_OCI_SPACK_1_0_2``, ``SPACK_OCI_SPACK_1_1_0``, ``SPACK_OCI_SPACK_DEVELOP``
    a Spack checkout to use instead of a clone
``SPACK_OCI_TEST_CACHE``
    where clones and virtual environments are kept between runs (default: ``.test`` in this repository)
``SPACK_OCI_COLD_SPACK=1``
    each command in a Python of its own, and none that is forked (see ``warm_spack``)
``SPACK_OCI_REQUIRE_SPACK=1``
    a missing Spack is a failure and not a reason to skip (set in CI)
"""

import contextlib
import fcntl
import hashlib
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple, Union

from support.spacks import warm_spack

if TYPE_CHECKING:
    from support.spacks.caches import Cache

REPOSITORY = Path(__file__).resolve().parents[3]
TEST_REPO = REPOSITORY / "tests" / "spack" / "repo" / "spack_repo" / "ocitest"
SPACK_URL = "https://github.com/spack/spack"

#: the versions that the tests of Spack run on -> the tag or branch of Spack's repository, see `--spacks` of pytest
RELEASE = "1.1.0"
VERSIONS = {RELEASE: f"v{RELEASE}", "develop": "develop"}

#: the supported versions: on the oldest run only the tests of what depends on the version most
SUPPORTED = {"1.0.2": "v1.0.2", **VERSIONS}


class Unavailable(Exception):
    """No Spack, or no Python to run it, can be had on this machine; the message says why."""


def is_warm() -> bool:
    return sys.platform.startswith("linux") and os.environ.get("SPACK_OCI_COLD_SPACK") != "1"


def cache_directory() -> Path:
    path = Path(os.environ.get("SPACK_OCI_TEST_CACHE") or REPOSITORY / ".test")
    path.mkdir(parents=True, exist_ok=True)
    return path


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Several test runs may share the cache: one makes what the others wait for."""
    with open(f"{path}.lock", "w") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        yield


def _checked(argv: Sequence[Union[str, Path]], doing: str, timeout: float = 600) -> str:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=timeout)
    except (OSError, subprocess.TimeoutExpired) as e:
        raise Unavailable(f"{doing}: {e}")
    if done.returncode != 0:
        raise Unavailable(f"{doing}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def checkout(version: str) -> Path:
    """The directory of a Spack of this version: the user's, or a shallow clone in the cache. Raises Unavailable."""
    variable = "SPACK_OCI_SPACK_" + version.replace(".", "_").upper()
    if os.environ.get(variable):
        given = Path(os.environ[variable]).resolve()
        if not (given / "bin" / "spack").is_file():
            raise Unavailable(f"{variable}={given}: no Spack there")
        return given
    target = cache_directory() / f"spack-{version}"
    with locked(target):
        if not (target / "bin" / "spack").is_file():
            clone(SUPPORTED[version], target)
    return target


def clone(branch: str, target: Path) -> None:
    """``git clone --depth 1`` of Spack, complete or not there at all. Raises Unavailable."""
    partial = target.with_name(target.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    argv = ["git", "clone", "--quiet", "--depth", "1", "--branch", branch, SPACK_URL, str(partial)]
    _checked(argv, f"cannot clone Spack {branch}")
    shutil.rmtree(target, ignore_errors=True)
    partial.rename(target)


def python(ours: bool) -> Path:
    """An interpreter with clingo, and with this package (editable) or without it. Raises Unavailable."""
    target = cache_directory() / ("python-ours" if ours else "python-vanilla")
    requirements = ["clingo>=5.6", *(["-e", f"{REPOSITORY}[sign]"] if ours else [])]
    made_from = f"{sys.version}\n{requirements}\n{_digest(REPOSITORY / 'pyproject.toml') if ours else ''}"
    stamp = target / "made-from"
    with locked(target):
        if not stamp.is_file() or stamp.read_text() != made_from:
            shutil.rmtree(target, ignore_errors=True)
            _checked([sys.executable, "-m", "venv", target], "cannot make a virtual environment")
            _checked([target / "bin" / "python", "-m", "pip", "install", "-q", *requirements], f"pip {requirements}")
            stamp.write_text(made_from)
    return target / "bin" / "python"


def _digest(*paths: Path) -> str:
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()


def built(version: str, padded_length: int) -> "SpackInstance":
    """Vanilla Spack of this version, in whose padded install tree all test packages are; nobody changes the tree.

    Kept in the cache, for all processes of this run and for the next ones, until Spack, the recipes or how they are
    built (this file) change. Raises Unavailable.
    """
    spack_checkout, interpreter = checkout(version), python(ours=False)
    home = cache_directory() / f"built-{version}"
    revision = _checked(["git", "-C", spack_checkout, "rev-parse", "HEAD"], "cannot read the revision of Spack").strip()
    recipes = sorted(path for path in TEST_REPO.rglob("*") if path.suffix in (".py", ".yaml"))
    made_from = f"{revision} {spack_checkout} {sys.version} {padded_length} {_digest(*recipes, Path(__file__))}"
    stamp = home / "made-from"
    with locked(home):
        if not stamp.is_file() or stamp.read_text() != made_from:
            remove_tree(home)
            external = home / "external"
            external.mkdir(parents=True)
            spack = SpackInstance(spack_checkout, interpreter, home, external=external, padded_length=padded_length)
            spack.run("install", "oci-stack", "oci-private")
            spack.run("install", "oci-leaf@1.0")
            # Spack sets the modes of what it installs; other programs do not ask Spack
            odd = spack.prefix("oci-files") / "share" / "files" / "mode-0711"
            odd.chmod(0o711)
            stamp.write_text(made_from)
    return SpackInstance(spack_checkout, interpreter, home, external=home / "external", padded_length=padded_length)


def remove_tree(path: Path) -> None:
    """Also what has no permission to be removed, as installed packages may."""
    if path.exists():
        subprocess.run(["chmod", "-R", "u+rwX", path], check=False)
        shutil.rmtree(path)


class SpackFailed(AssertionError):
    """A command of Spack that should have succeeded did not; the message has all of its output."""


class SpackInstance:
    """One isolated Spack. Everything it writes is below ``home`` or in ``tree``.

    ``checkout``: the Spack to run; ``python``: the interpreter that runs it; ``home``: a directory of its own;
    ``tree``: the root of the install tree (default: in ``home``), which several instances may share;
    ``external``: the prefix of the external package; ``installer``: "old", "new" or None for Spack's default.
    """

    def __init__(
        self,
        checkout: Path,
        python: Path,
        home: Path,
        *,
        external: Path,
        tree: Optional[Path] = None,
        padded_length: int = 0,
        installer: Optional[str] = None,
        environment: Optional[Mapping[str, str]] = None,
    ) -> None:
        self.checkout = checkout
        self.python = python
        self.home = home
        self.external = external
        self.tree = tree or home / "opt"
        self.padded_length = padded_length
        self.installer = installer
        self.environment = dict(environment or {})
        for directory in (self.scope, self.base_scope, self.user_home, self.user_cache):
            directory.mkdir(parents=True, exist_ok=True)
        for section, content in self._configuration().items():
            self.write_config(section, content, self.base_scope)

    @property
    def base_scope(self) -> Path:
        """The configuration scope of ``spack -C``, above all others: what makes the instance isolated."""
        return self.home / "base"

    @property
    def scope(self) -> Path:
        """The user's scope: what a test configures; Spack's own commands write there too."""
        return self.home / "scope"

    @property
    def user_home(self) -> Path:
        return self.home / "home"

    @property
    def user_cache(self) -> Path:
        return self.home / "cache"

    @property
    def misc_cache(self) -> Path:
        return self.home / "misc"

    def sibling(self, home: Path, **changes: Any) -> "SpackInstance":
        """Another instance with the same checkout and install tree, but its own configuration and caches."""
        arguments: Dict[str, Any] = {
            "checkout": self.checkout,
            "python": self.python,
            "external": self.external,
            "tree": self.tree,
            "padded_length": self.padded_length,
            "installer": self.installer,
            "environment": self.environment,
            **changes,
        }
        other = SpackInstance(home=home, **arguments)
        other.warm_from(self)
        return other

    def warm_from(self, other: "SpackInstance") -> None:
        """Take over the caches that only save time (what the package repositories provide); no index of any mirror."""
        for name in ("providers", "patches", "tags"):
            if (other.misc_cache / name).is_dir():
                shutil.copytree(other.misc_cache / name, self.misc_cache / name, dirs_exist_ok=True)
        found_compilers = other.scope / "packages.yaml"
        if found_compilers.is_file():
            shutil.copy(found_compilers, self.scope)

    def _configuration(self) -> Dict[str, Dict[str, Any]]:
        config: Dict[str, Any] = {
            "install_tree": {"root": str(self.tree), "padded_length": self.padded_length or False},
            "build_stage": [str(self.home / "stage")],
            "test_stage": str(self.home / "test-stage"),
            "source_cache": str(self.home / "sources"),
            "misc_cache": str(self.misc_cache),
            "environments_root": str(self.home / "environments"),
            "build_jobs": 2,
            # vanilla Spack gives up a registry that is silent for so long, in an answer too: 10 by default
            "connect_timeout": 600,
        }
        if self.installer:
            config["installer"] = self.installer
        return {
            "config": config,
            # the double colon: instead of, not besides, what other scopes say
            "repos:": {
                "ocitest": str(TEST_REPO),
                "builtin_mock": str(self.checkout / "var" / "spack" / "test_repos" / "spack_repo" / "builtin_mock"),
            },
            "packages": {
                "all": {"require": [f"target={platform.machine()}"]},
                "oci-external": {
                    "externals": [{"spec": "oci-external@1.0", "prefix": str(self.external)}],
                    "buildable": False,
                },
            },
            "bootstrap": {"enable": False, "root": str(self.home / "bootstrap")},
        }

    def write_config(self, section: str, content: Any, scope: Optional[Path] = None) -> None:
        """Write one file of a scope, as JSON (which is YAML); ``section`` may end in a colon to override."""
        path = (scope or self.scope) / f"{section.rstrip(':')}.yaml"
        path.write_text(json.dumps({section: content}, indent=1) + "\n")

    def mirrors(self, **mirrors: Any) -> None:
        """Set the mirrors, and no others: name -> URL, or the whole dictionary of ``mirrors.yaml``."""
        entries = {k: {"url": v, "signed": False} if isinstance(v, str) else v for k, v in mirrors.items()}
        self.write_config("mirrors", entries)

    def use(self, cache: "Cache", **extra: Any) -> None:
        """Make ``cache`` the only mirror, under the name "cache"; ``extra`` goes into its entry."""
        self.environment.update(cache.environment)
        self.mirrors(cache={**cache.mirror, **extra})

    def env(self) -> Dict[str, str]:
        """The environment of a command: what the machine needs, and nothing that the caller's Spack has set."""
        keep = ("PATH", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH")
        return {
            **{k: os.environ[k] for k in keep if k in os.environ},
            "HOME": str(self.user_home),
            "SPACK_PYTHON": str(self.python),
            # not SPACK_DISABLE_LOCAL_CONFIG: without a user scope, Spack writes into the etc/spack that all share
            "SPACK_USER_CACHE_PATH": str(self.user_cache),
            "SPACK_USER_CONFIG_PATH": str(self.scope),
            "SPACK_SYSTEM_CONFIG_PATH": str(self.home / "no-system-scope"),
            "SPACK_COLOR": "never",
            **self.environment,
        }

    def argv(self, *arguments: Union[str, Path]) -> List[str]:
        return [str(self.checkout / "bin" / "spack"), "-C", str(self.base_scope), *map(str, arguments)]

    def popen(self, *arguments: Union[str, Path], env: Optional[Mapping[str, str]] = None) -> "subprocess.Popen[str]":
        """Start a command in a process group of its own, with pipes for all three streams."""
        return subprocess.Popen(
            self.argv(*arguments),
            env={**self.env(), **(env or {})},
            cwd=self.home,
            # a pipe, never /dev/null: Spack's new installer registers standard input with epoll
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )

    def run(
        self,
        *arguments: Union[str, Path],
        check: bool = True,
        input: str = "",
        env: Optional[Mapping[str, str]] = None,
        timeout: float = 600,
    ) -> "subprocess.CompletedProcess[str]":
        """Run ``spack ARGUMENTS``. ``check``: raise SpackFailed, with the output, when it fails."""
        done = self._completed(arguments, {**self.env(), **(env or {})}, input, timeout)
        if check and done.returncode != 0:
            command = " ".join(map(str, arguments))
            said = f"--- stdout\n{done.stdout}\n--- stderr\n{done.stderr}"
            raise SpackFailed(f"spack {command}: exit code {done.returncode}\n{said}")
        return done

    def _completed(
        self, arguments: Sequence[Union[str, Path]], env: Mapping[str, str], input: str, timeout: float
    ) -> "subprocess.CompletedProcess[str]":
        if not any(name.startswith("PYTHON") or name == "LD_PRELOAD" for name in env) and is_warm():
            return warm_spack.run(self.checkout, self.python, self.argv(*arguments), env, self.home, input, timeout)
        with self.popen(*arguments, env=env) as process:
            try:
                out, err = process.communicate(input, timeout=timeout)
            except BaseException:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                raise
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def script(self, text: str, **kwargs: Any) -> str:
        """Run Python inside Spack and return what it printed."""
        file = self.home / "script.py"
        file.write_text(text)
        return self.run("python", file, **kwargs).stdout

    def install_from_cache(self, *specs: str, **kwargs: Any) -> "subprocess.CompletedProcess[str]":
        """``spack install --cache-only``, as far as the installer has it; whatever happens, nothing is built."""
        env = {"OCITEST_NO_BUILD": "1", **kwargs.pop("env", {})}
        return self.run("install", *self.cache_only, *specs, env=env, **kwargs)

    @property
    def cache_only(self) -> List[str]:
        """Options of ``spack install``."""
        # "Dependencies cache-only installs are not implemented" in the first release of the new installer
        has_it = self.installer != "new" or self.version != (1, 1)
        return [*(["--cache-only"] if has_it else []), "--no-check-signature"]

    @property
    def version(self) -> Tuple[int, int]:
        """(major, minor) of the checkout, e.g. (1, 1)."""
        text = (self.checkout / "lib" / "spack" / "spack" / "__init__.py").read_text()
        found = re.search(r'__version__ = "(\d+)\.(\d+)', text)
        assert found, f"no version in {self.checkout}"
        return int(found.group(1)), int(found.group(2))

    def installed(self) -> Dict[str, Dict[str, Any]]:
        """What the database has: name -> node of ``spack find --json`` (the last one of several versions)."""
        return {node["name"]: node for node in json.loads(self.run("find", "--json").stdout or "[]")}

    def prefix(self, spec: str) -> Path:
        return Path(self.run("location", "-i", spec).stdout.strip())

    def hashes(self) -> Dict[str, str]:
        return {name: node["hash"] for name, node in self.installed().items()}
