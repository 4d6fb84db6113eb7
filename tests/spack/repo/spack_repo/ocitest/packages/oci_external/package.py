# SPDX-License-Identifier: (Apache-2.0 OR MIT)
from spack.package import version
from spack_repo.ocitest.build_systems.native import NativePackage


class OciExternal(NativePackage):
    """Always an external: its prefix stays where it is and it is never pushed."""

    version("1.0")
