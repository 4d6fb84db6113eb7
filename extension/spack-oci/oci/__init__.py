# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What Spack loads before the `oci` command, however it found the extension.

Installed with pip, ``spack_oci`` is importable and active already. Reached through ``config:extensions``, a checkout's
``lib`` is added here, and the hooks are active in the processes of ``spack oci`` alone.
"""

import os
import sys


def _make_importable() -> None:
    try:
        import spack_oci  # noqa: F401
    except ImportError:
        # through the real path: Spack may have been given a symbolic link
        here = os.path.dirname(os.path.realpath(__file__))
        checkout = os.path.dirname(os.path.dirname(os.path.dirname(here)))
        sys.path.append(os.path.join(checkout, "lib"))


_make_importable()

from spack_oci.spack.plugin import activate  # noqa: E402

activate()
