# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""``python -m spack_oci``: the same as `spack-oci`."""

import sys

from .cli.main import main

if __name__ == "__main__":
    sys.exit(main())
