# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The sub-commands of `spack oci`.

Each module has ``add_parser(subparsers)``, which sets its ``run`` as the default of the parser, and stands in the table
of ``parsers``. The library is imported by the functions that need it.
"""

import argparse
import os
import sys


def run(args: argparse.Namespace) -> int:
    """Run a sub-command; its result is the exit code. An error of ours is one line, not a traceback."""
    import spack.llnl.util.tty as tty
    import spack.repo
    import spack.util.path
    from spack_oci.spack.dependencies import missing_dependencies, pip_command
    from spack_oci.util.concurrency.collector import relax_collector

    relax_collector()
    missing = missing_dependencies()
    if missing:
        tty.die(f"spack oci needs {', '.join(missing)} in the Python that runs Spack: run {pip_command(missing)}")

    from spack_oci.errors import OutOfMemory, SpackOciError, StorageError

    try:
        with spack.util.path.filter_padding():  # a padded install tree is shown in short
            result = args.run(args) or 0
            sys.stdout.flush()
            return result
    except SpackOciError as e:
        tty.debug(repr(e))
        tty.die(str(e))
    except spack.repo.UnknownNamespaceError as e:
        tty.die(f"{e}", "add the repository that has this namespace with `spack repo add`, see `spack repo list`")
    except BrokenPipeError:  # who reads the output has enough, as in `spack oci list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as e:
        tty.die(str(StorageError.from_os_error(f"spack oci {args.oci_command}", e)))
    except MemoryError:
        tty.die(str(OutOfMemory(f"spack oci {args.oci_command}: there is not enough memory")))
