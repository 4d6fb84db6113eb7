# SPDX-License-Identifier: (Apache-2.0 OR MIT)
from spack.package import version
from spack_repo.ocitest.build_systems.native import NativePackage, write


class OciCodegen(NativePackage):
    """A build dependency: writes a header, and is in a cache only when build dependencies are pushed too."""

    version("1.0")

    def install(self, spec, prefix):
        write(prefix.bin.codegen, "#!/bin/sh\necho '#define GENERATED \"by codegen 1.0\"'\n", 0o755)
