# SPDX-License-Identifier: (Apache-2.0 OR MIT)
import os

from spack.package import depends_on, license, version
from spack_repo.ocitest.build_systems.native import NativePackage, write


class OciScript(NativePackage):
    """Scripts run by another package's interpreter; one shebang is so long that Spack has to use sbang."""

    # as a careless recipe of a private repository has it
    homepage = "https://me:secret@example.com/script"

    license("GPL-3.0-only")

    version("1.0")

    depends_on("oci-app", type=("build", "run"))

    def install(self, spec, prefix):
        app = spec["oci-app"]
        deep = os.path.join(app.prefix, app.package.deep_interpreter)
        write(prefix.bin.greet, f"#!{app.prefix.bin.say}\nfrom {prefix}\n", 0o755)
        write(prefix.bin.join("greet-long"), f"#!{deep}\nfrom {prefix}\n", 0o755)
        write(prefix.etc.join("script.conf"), f"home={prefix}\nprogram={app.prefix.bin.hello}\nunicode=grüße\n")

    def setup_run_environment(self, env):
        # not as oci-private has it, on purpose
        env.set("OCITEST_COLOR", "blue")
        env.prepend_path("OCITEST_PATH", self.prefix.etc)
