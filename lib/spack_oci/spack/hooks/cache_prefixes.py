# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What every child of an installer would do for itself, done once before they are forked.

Spack's new installer forks a child for each package; each of them imports the modules of Spack's hooks (with a template
engine) and reads configuration files, which takes four times as long as to install a small package.
"""

import contextlib
import gc
import importlib
from typing import Dict, Sequence

import spack.config
import spack.error
import spack.hooks
import spack.spec
import spack.store
from spack import traverse

#: what the hooks that run after an install ask for
_SECTIONS = ("config", "modules", "packages")


def import_hooks() -> None:
    """Import the modules of the hooks that run after an install, and read what they ask the configuration for."""
    for name in getattr(spack.hooks.post_install, "HOOK_ORDER", ()):
        importlib.import_module(name)
    for section in _SECTIONS:
        with contextlib.suppress(spack.error.SpackError):  # who really needs it will say what is wrong
            spack.config.get(section)
    # what is there by now stays; a collection in a child that looks at it would copy all of its pages
    gc.freeze()


def cache_known_prefixes(roots: "Sequence[spack.spec.Spec]") -> None:
    """Ask the database for the prefixes of all specs now, in one go; later it is read again after every install.

    In a child, the new installer of Spack 1.1 cannot ask it: a lock that is the parent's makes the child die. (That
    installer asks for those of the graph that it builds; but roots that were concretized apart have copies of
    their dependencies, which no graph knows.)
    """
    known: Dict[str, str] = {}
    with spack.store.STORE.db.read_transaction():
        for spec in traverse.traverse_nodes(list(roots)):
            if spec.dag_hash() in known:
                spec.set_prefix(known[spec.dag_hash()])
            else:
                known[spec.dag_hash()] = str(spec.prefix)
