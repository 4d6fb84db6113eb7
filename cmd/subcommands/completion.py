# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack oci completion`"""

import argparse

from .common import examples


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "completion",
        help="print a script that completes `spack oci` in your shell, or write man pages",
        description="Print a script for your shell, to be loaded after Spack's setup-env. Spack's own completion does "
        "not know extensions.",
        **examples(
            'spack oci completion bash > ~/.spack-oci.bash; echo ". ~/.spack-oci.bash" >> ~/.bashrc',
            'spack oci completion zsh > ~/.spack-oci.zsh; echo ". ~/.spack-oci.zsh" >> ~/.zshrc',
            "spack oci completion fish > ~/.config/fish/conf.d/spack-oci.fish",
            "spack oci completion man --output ~/.local/share/man/man1",
        ),
    )
    parser.add_argument("shell", choices=["bash", "zsh", "fish", "man"], help="the shell; man: pages for man(1)")
    parser.add_argument("-o", "--output", metavar="DIR", help="directory for the man pages")
    parser.set_defaults(run=completion)


def completion(args: argparse.Namespace) -> int:
    import spack.llnl.util.tty as tty
    from spack_oci.spack.commands import completion

    if args.shell != "man":
        print(completion.script(args.oci_parser, args.shell), end="")
        return 0
    if not args.output:
        tty.die("man pages need a directory: --output DIR, e.g. ~/.local/share/man/man1")
    for path in completion.write_man_pages(args.oci_parser, args.output):
        print(path)
    return 0
