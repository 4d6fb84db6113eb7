# SPDX-License-Identifier: (Apache-2.0 OR MIT)
from spack.package import depends_on, redistribute, version
from spack_repo.ocitest.build_systems.native import NativePackage, write


class OciPrivate(NativePackage):
    """May not be redistributed: is pushed only with --private, or to a private mirror."""

    version("1.0")

    depends_on("oci-leaf")
    redistribute(binary=False)

    def install(self, spec, prefix):
        write(prefix.share.join("secret.txt"), f"licensed to one, in {prefix}\n")

    def setup_run_environment(self, env):
        env.set("OCITEST_COLOR", "red")
        env.prepend_path("OCITEST_PATH", self.prefix.share)
