# SPDX-License-Identifier: (Apache-2.0 OR MIT)
from spack.package import depends_on, version
from spack_repo.ocitest.build_systems.native import NativePackage, write


class OciStack(NativePackage):
    """The root of everything that may be pushed."""

    version("1.0")

    depends_on("oci-script", type="run")
    depends_on("oci-files", type="run")
    depends_on("oci-app", type=("link", "run"))

    def install(self, spec, prefix):
        write(prefix.share.join("stack.txt"), "".join(f"{d.name} {d.prefix}\n" for d in spec.dependencies()))
