# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack oci completion`"""

import argparse

from .common import examples


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "completion",
        help="say where the script is that completes `spack oci` in your shell, print one, or write man pages",
        description="Print a script for your shell, made for this Spack, or with --path the name of the file that "
        "spack-oci was installed with, which is replaced when spack-oci is. Load it after Spack's setup-env. "
        "Spack's own completion does not know extensions.",
        **examples(
            'echo ". $(spack oci completion --path bash)" >> ~/.bashrc',
            'echo ". $(spack oci completion --path zsh)" >> ~/.zshrc',
            'echo "source $(spack oci completion --path fish)" >> ~/.config/fish/config.fish',
            "spack oci completion man --output ~/.local/share/man/man1",
        ),
    )
    parser.add_argument("shell", choices=["bash", "zsh", "fish", "man"], help="the shell; man: pages for man(1)")
    parser.add_argument("--path", action="store_true", help="print the name of the file that is installed")
    parser.add_argument("-o", "--output", metavar="DIR", help="directory for the man pages")
    parser.set_defaults(run=completion)


def completion(args: argparse.Namespace) -> int:
    import spack.llnl.util.tty as tty
    from spack_oci.spack.commands import completion

    if args.path and args.shell != "man":
        from spack_oci.util.resources import completion_file

        print(completion_file(args.shell))
        return 0
    if args.shell != "man":
        print(completion.script(args.oci_parser, args.shell), end="")
        return 0
    if not args.output:
        tty.die("man pages need a directory: --output DIR, e.g. ~/.local/share/man/man1")
    for path in completion.write_man_pages(args.oci_parser, args.output):
        print(path)
    return 0
