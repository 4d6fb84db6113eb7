# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The program: sub-commands, and what becomes of errors.

Exit codes: 0 all is done; 1 something failed, the rest is done; 2 a word, an option, a spec or a setting that makes no
sense; 3 a spec that names no package, or several; 4 a store that is none, or cannot be used. `run` has the exit code of
its program.
"""

import argparse
import importlib
import os
import sys
from typing import Any, Callable, Dict, List, Optional

from .. import __version__
from ..commandline import definitions, maintenance, trust
from ..commandline.common import add_json, add_no_check_signature, allow_options_anywhere, explain_mistakes
from ..commandline.definitions import Program
from ..commandline.image_options import add_base_image, add_image_options
from .output import error

CACHE_HELP = "URL (oci://, oci+http://, oci+file://), or path of a directory or bundle"
PROGRAM = Program("spack-oci", "CACHE", "oci://ghcr.io/org/cache", CACHE_HELP)

#: of an argument that names a package
_SPEC_HELP = "spec, as for Spack: hdf5@1.14+mpi, %%gcc@12, ^zlib-ng, target=x86_64_v3, /HASH"


def _call(module: str, function: Optional[str] = None) -> Callable[[argparse.Namespace], int]:
    """The function of a module that is imported when it is called."""

    def run(args: argparse.Namespace) -> int:
        return getattr(importlib.import_module(f".{module}", __package__), function or module)(args)

    return run


def parser(only: Optional[str] = None) -> argparse.ArgumentParser:
    """``only``: a sub-command, if the others are not asked for; each costs a start 1 ms."""
    top = argparse.ArgumentParser(
        "spack-oci",
        description="Binary caches of Spack's without Spack: install what they have into a Spack store, run it, and "
        "push stores to caches.",
    )
    top.add_argument("--version", action="version", version=f"spack-oci {__version__}")
    commands = top.add_subparsers(dest="command", metavar="SUBCOMMAND", required=True)
    for name, add in _COMMANDS.items():
        if only in (None, name):
            add(commands)
    explain_mistakes(top)
    return top


def _store_option(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--store", metavar="DIR", help="the store (default: $SPACK_OCI_STORE)")


def _shared(
    add: Callable[..., argparse.ArgumentParser],
    module: str,
    function: Optional[str] = None,
    *,
    store: bool = False,
    **options: bool,
) -> Callable[[Any], None]:
    """A sub-command that `spack oci` has, too. ``add``: makes its parser; ``store``: here it has ``--store``."""

    def added(commands: Any) -> None:
        sub = add(commands, PROGRAM, **options)
        if store:
            _store_option(sub)
        sub.set_defaults(run=_call(module, function))

    return added


def _install(commands: Any) -> None:
    sub = commands.add_parser(
        "install",
        help="install packages of a cache into a store",
        description="Install packages and what they need to run. The store is a Spack install tree: it is made if it "
        "is not there, and Spack can use it. Among the packages that a spec matches: one that is installed, else the "
        "newest version, then the best target of this machine.",
        **PROGRAM.examples(
            "install CACHE hdf5@1.14 --store ~/sw", "install CACHE ./spack.lock --store ~/sw", "install ./bundle hdf5"
        ),
    )
    sub.add_argument("mirror", metavar="CACHE", help=CACHE_HELP)
    sub.add_argument("specs", metavar="SPEC", nargs="*", default=[], help=f"{_SPEC_HELP}; or the path of a spack.lock")
    _store_option(sub)
    sub.add_argument("--image", metavar="TAG", help="the roots of the environment whose image has this tag")
    definitions.add_dry_run(sub)
    add_no_check_signature(sub)
    add_json(sub)
    sub.add_argument("-j", "--jobs", type=int, help="packages that are extracted at the same time")
    allow_options_anywhere(sub, "specs")
    sub.set_defaults(run=_call("install"))


def _activate(commands: Any) -> None:
    sub = commands.add_parser(
        "activate",
        help="print the run environment of installed packages for a shell",
        description="Print a script that sets the run environment of packages, and defines `deactivate`. For what was "
        "asked for in a store, the script is in it: `. STORE/activate` (also activate.fish, activate.csh).",
        **PROGRAM.examples("activate --store ~/sw hdf5 > env.sh; . ./env.sh"),
    )
    sub.add_argument(
        "specs", metavar="SPEC", nargs="*", default=[], help=f"{_SPEC_HELP}; default: all that was asked for"
    )
    _store_option(sub)
    sub.add_argument("--shell", help="sh, bash, zsh, fish, csh or tcsh (default: $SHELL)")
    allow_options_anywhere(sub, "specs")
    sub.set_defaults(run=_call("activate"))


def _run(commands: Any) -> None:
    sub = commands.add_parser(
        "run",
        help="run a program in the run environment of installed packages",
        usage="spack-oci run [-h] [--store DIR] [SPEC ... --] PROGRAM [ARGUMENT ...]",
        description="Run a program in the run environment of the named packages (default: of all that was asked for).",
        **PROGRAM.examples("run --store ~/sw hdf5 -- h5dump file.h5"),
    )
    _store_option(sub)
    sub.add_argument("words", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    sub.set_defaults(run=_call("activate", "run"))


def _list(commands: Any) -> None:
    sub = commands.add_parser(
        "list",
        help="list the packages of a cache, or of a store",
        description="List the packages that the index of a cache names, or those that are installed in a store.",
        **PROGRAM.examples("list CACHE", "list CACHE hdf5+mpi --allarch", "list --store ~/sw"),
    )
    sub.add_argument(
        "arguments", metavar="[CACHE] [SPEC ...]", nargs="*", default=[], help=f"{CACHE_HELP}. Then constraints"
    )
    _store_option(sub)
    sub.add_argument("-l", "--long", action="store_true", help="show the beginning of hashes")
    definitions.add_list_options(sub)
    allow_options_anywhere(sub, "arguments")
    sub.set_defaults(run=_call("list", "list_packages"))


def _search(commands: Any) -> None:
    sub = commands.add_parser(
        "search",
        help="find packages of a cache by a part of their name",
        description="List the names of packages that contain a word, with their versions.",
        **PROGRAM.examples("search CACHE hdf"),
    )
    sub.add_argument("mirror", metavar="CACHE", help=CACHE_HELP)
    sub.add_argument("word", metavar="WORD", help="a part of a name")
    add_json(sub)
    sub.set_defaults(run=_call("list", "search"))


def _uninstall(commands: Any) -> None:
    sub = commands.add_parser(
        "uninstall",
        help="remove packages from a store",
        description="Remove packages that no other installed package needs.",
        **PROGRAM.examples("uninstall --store ~/sw hdf5", "uninstall --store ~/sw --dependents zlib"),
    )
    sub.add_argument("specs", metavar="SPEC", nargs="+", help=_SPEC_HELP)
    _store_option(sub)
    sub.add_argument("-R", "--dependents", action="store_true", help="also what needs them")
    definitions.add_dry_run(sub)
    add_json(sub)
    allow_options_anywhere(sub, "specs")
    sub.set_defaults(run=_call("uninstall"))


def _gc(commands: Any) -> None:
    sub = commands.add_parser(
        "gc",
        help="remove from a store what nothing needs that was asked for",
        description="Remove packages that were installed for others, and are needed by nothing that was asked for.",
        **PROGRAM.examples("gc --store ~/sw", "gc --store ~/sw --dry-run"),
    )
    _store_option(sub)
    definitions.add_dry_run(sub)
    add_json(sub)
    sub.set_defaults(run=_call("uninstall", "gc"))


def _push(commands: Any) -> None:
    sub = commands.add_parser(
        "push",
        help="push what a store holds to a cache",
        description="Push packages of a store, by its database and spec files alone: no Spack is needed, and the store "
        "is not changed. What is there already is skipped. Run environments that only a recipe knows are those of "
        "Spack's default prefix inspections, and the manifests say so.",
        **PROGRAM.examples("push ~/spack/opt/spack CACHE", "push --update-index ~/sw CACHE hdf5"),
    )
    sub.add_argument("store", metavar="STORE", help="the install tree of a Spack")
    sub.add_argument("mirror", metavar="CACHE", help=CACHE_HELP)
    sub.add_argument(
        "specs", metavar="SPEC", nargs="*", default=[], help=f"{_SPEC_HELP}; default: all that is installed"
    )
    definitions.add_push_options(sub)
    add_json(sub)
    sub.add_argument("-j", "--jobs", type=int, help="packages that are packed at the same time")
    allow_options_anywhere(sub, "specs")
    sub.set_defaults(run=_call("push"))


def _pack(commands: Any) -> None:
    sub = commands.add_parser(
        "pack",
        help="copy packages with all that they need into a file or directory",
        description="Copy packages and what they need to run from a cache into one file (*.tar) or a directory, for a "
        "machine without a network: `spack-oci install` takes it as a cache there, and so does Spack a directory.",
        **PROGRAM.examples("pack CACHE hdf5.tar hdf5@1.14", "pack CACHE /mnt/usb/cache ./spack.lock"),
    )
    sub.add_argument("mirror", metavar="CACHE", help=CACHE_HELP)
    sub.add_argument("destination", metavar="DEST", help="a file that ends in .tar, or a directory")
    sub.add_argument("specs", metavar="SPEC", nargs="*", default=[], help=f"{_SPEC_HELP}; or the path of a spack.lock")
    definitions.add_dry_run(sub)
    add_json(sub)
    allow_options_anywhere(sub, "specs")
    sub.set_defaults(run=_call("pack"))


def _export(commands: Any) -> None:
    sub = commands.add_parser(
        "export",
        help="make an image of packages of a cache",
        description="Make an image of packages with all that they need to run, composed of the layers that the cache "
        "has: as a tag in the cache itself, an OCI layout directory, an OCI archive, or an archive for `docker load`.",
        **PROGRAM.examples(
            "export CACHE tag:tools htop sqlite --base-image debian:12   # podman run ghcr.io/org/cache:tools",
            "export CACHE tools.tar htop                                 # an OCI archive",
            "export CACHE docker-archive:tools.tar:v1 htop sqlite        # docker load < tools.tar",
        ),
    )
    sub.add_argument("mirror", metavar="CACHE", help=CACHE_HELP)
    sub.add_argument("destination", metavar="DEST", help="tag:NAME, or [oci:|oci-archive:|docker-archive:]PATH[:TAG]")
    sub.add_argument("specs", metavar="SPEC", nargs="+", help=f"{_SPEC_HELP}; or the path of a spack.lock")
    sub.add_argument(
        "--format",
        choices=["oci", "oci-archive", "docker-archive"],
        help="default: what DEST begins with, else an OCI archive for *.tar and a layout directory for the rest",
    )
    add_base_image(sub)
    add_image_options(sub, multi_arch=False)
    add_json(sub)
    allow_options_anywhere(sub, "specs")
    sub.set_defaults(run=_call("export"))


def _key(commands: Any) -> None:
    actions = trust.add_key(commands, PROGRAM, can_add=False)
    for action, function in (("generate", "generate_key"), ("show", "show_key"), ("list", "list_keys")):
        actions[action].set_defaults(run=_call("trust", function))


def _trust(commands: Any) -> None:
    actions = trust.add_trust(commands, PROGRAM, optional=False)
    actions["show"].set_defaults(run=_call("trust", "show_policies"))
    actions["accept-older"].set_defaults(run=_call("trust", "accept_older"))


def _completion(commands: Any) -> None:
    sub = commands.add_parser(
        "completion",
        help="print the script that completes `spack-oci` in your shell",
        description="Print a script that completes sub-commands, options and their values, for your shell to load.",
        **PROGRAM.examples(
            "completion bash > ~/.local/share/bash-completion/completions/spack-oci",
            "completion zsh > ~/.spack-oci.zsh     # and in ~/.zshrc: . ~/.spack-oci.zsh",
            "completion fish > ~/.config/fish/completions/spack-oci.fish",
        ),
    )
    sub.add_argument("shell", choices=["bash", "zsh", "fish"], help="the shell")
    sub.set_defaults(run=_call("completion"))


#: in the order of the help; each adds its parser, and its aliases
_COMMANDS: Dict[str, Callable[[Any], None]] = {
    "install": _install,
    "activate": _activate,
    "run": _run,
    "list": _list,
    "show": _shared(definitions.add_show, "list", "show"),
    "search": _search,
    "catalog": _shared(definitions.add_catalog, "catalog"),
    "uninstall": _uninstall,
    "gc": _gc,
    "clean": _shared(definitions.add_clean, "maintenance", "clean", store=True),
    "login": _shared(definitions.add_login, "login"),
    "logout": _shared(definitions.add_logout, "login", "logout"),
    "doctor": _shared(definitions.add_doctor, "doctor", store=True),
    "update-index": _shared(definitions.add_update_index, "maintenance", "update_index", optional=False),
    "push": _push,
    "pack": _pack,
    "export": _export,
    "copy": _shared(maintenance.add_copy, "maintenance", "copy_cache"),
    "prune": _shared(maintenance.add_prune, "maintenance", "prune_cache", optional=False),
    "pin": _shared(maintenance.add_pin, "maintenance", "pin"),
    "unpin": _shared(maintenance.add_unpin, "maintenance", "unpin"),
    "pins": _shared(maintenance.add_pins, "maintenance", "list_pins", optional=False),
    "snapshot": _shared(maintenance.add_snapshot, "maintenance", "make_snapshot"),
    "snapshots": _shared(maintenance.add_snapshots, "maintenance", "list_snapshots", optional=False),
    "du": _shared(maintenance.add_du, "maintenance", "disk_usage", optional=False),
    "verify": _shared(maintenance.add_verify, "maintenance", "verify_cache", optional=False),
    "repair": _shared(maintenance.add_repair, "maintenance", "repair_cache", store=True, optional=False),
    "sign": _shared(trust.add_sign, "trust", "sign", optional=False),
    "key": _key,
    "trust": _trust,
    "completion": _completion,
}


def main(arguments: Optional[List[str]] = None) -> int:
    """Run a command; its exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    args = parser(words[0] if words and words[0] in _COMMANDS else None).parse_args(words)
    if arguments is None:  # a process of our own, which has to do more than to help
        from ..util.concurrency.collector import relax_collector

        relax_collector()
    try:
        _check_order(args)
        return args.run(args) or 0
    except KeyboardInterrupt:
        error("interrupted")
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as e:
        return _failed(e, args.command)


def _check_order(args: argparse.Namespace) -> None:
    """A cache after specs would be taken for a spec, and the spec for a cache."""
    others = getattr(args, "specs", None) or []
    first = getattr(args, "mirror", None) or getattr(args, "source", None) or ""
    if args.command == "copy" and _is_cache(first):
        first = args.destination
    if _is_cache(first):
        return
    url = next((word for word in others if "://" in word or _is_directory(word)), "")
    if url:
        from ..errors import ConfigurationError

        if args.command == "copy":
            raise ConfigurationError(
                f"the cache {url} comes after {first}",
                remedy="both caches come before the specs: `spack-oci copy FROM TO SPEC...`",
            )
        rest = " ".join([first, *(word for word in others if word != url)])
        place, before = ("after the store", f"{args.store} ") if args.command == "push" else ("first", "")
        raise ConfigurationError(
            f"the cache {url} comes after {first}",
            remedy=f"it comes {place}: `spack-oci {args.command} {before}{url} {rest}`",
        )


def _is_cache(word: str) -> bool:
    return "/" in word or word in (".", "..")


def _is_directory(word: str) -> bool:
    """A path of one; what begins with a slash and is none is a hash."""
    return word.startswith((".", "/", "~")) and os.path.isdir(os.path.expanduser(word))


def _failed(failure: Exception, command: str) -> int:
    from ..errors import (
        WITH_SPACK_MIRROR_SET,
        ConfigurationError,
        InvalidReference,
        InvalidSpec,
        OutOfMemory,
        SelectionError,
        SpackOciError,
        StorageError,
        StoreError,
    )

    if isinstance(failure, OSError):
        failure = StorageError.from_os_error(f"spack-oci {command}", failure)
    if isinstance(failure, MemoryError):
        failure = OutOfMemory(f"spack-oci {command}: there is not enough memory")
    if not isinstance(failure, SpackOciError):
        raise failure
    error(str(failure).replace(WITH_SPACK_MIRROR_SET, ""))
    if isinstance(failure, (ConfigurationError, InvalidReference, InvalidSpec)):
        return 2
    if isinstance(failure, SelectionError):
        return 3
    return 4 if isinstance(failure, StoreError) else 1
