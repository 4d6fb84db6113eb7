# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The install manifest of a package from an OCI mirror: true of the files that are here, see
:mod:`spack_oci.archive.unpack.install_manifest`.

Spack writes one where there is none, and takes the builder's as it is: `spack verify manifest` then reports every file.
"""

from typing import Any, Callable, Set

import spack.spec

from ...archive.unpack.install_manifest import update_manifest

#: DAG hashes of what this process has extracted from OCI mirrors and has no true manifest yet
_extracted: Set[str] = set()


def will_be_updated(dag_hash: str) -> None:
    """The package was extracted from an OCI mirror."""
    _extracted.add(dag_hash)


def post_install(original: Callable, spec: "spack.spec.Spec", explicit: Any = None) -> None:
    """Hook of ``spack.hooks.write_install_manifest.post_install``, which runs when all others have."""
    if spec.dag_hash() in _extracted:
        _extracted.discard(spec.dag_hash())
        update_manifest(str(spec.prefix))
    original(spec, explicit)
