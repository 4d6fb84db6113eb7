# SPDX-License-Identifier: (Apache-2.0 OR MIT)
import os
import shutil

from spack.package import Executable, depends_on, mkdirp, version
from spack_repo.ocitest.build_systems.native import NativePackage, write

HELLO = """
#include <middle.h>
#include <stdio.h>
#include <unistd.h>
@GENERATED@

int main(void) {
    char line[256], self[4096];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    if (n < 0) return 1;
    self[n] = 0;
    if (middle_greeting(line, sizeof line)) { fprintf(stderr, "no greeting\\n"); return 2; }
    if (access("@PREFIX@/share/app/marker", R_OK)) { fprintf(stderr, "no marker\\n"); return 3; }
    printf("app: %s\\nmiddle: %s\\nleaf: %s\\ngreeting: %s\\nheader: %s\\n",
           self, middle_where(), middle_leaf_where(), line, GENERATED);
    return 0;
}
"""

SAY = """
#include <stdio.h>

/* an interpreter: repeats the lines of a script that are no comments */
int main(int argc, char **argv) {
    char line[4096];
    FILE *f = argc > 1 ? fopen(argv[argc - 1], "r") : 0;
    if (!f) { fprintf(stderr, "say: no script\\n"); return 2; }
    while (fgets(line, sizeof line, f))
        if (line[0] != '#') printf("%s says: %s", argv[0], line);
    return 0;
}
"""


class OciApp(NativePackage):
    """A program with a RUNPATH into two packages, and an interpreter for scripts of others."""

    version("1.0")

    depends_on("oci-middle")
    depends_on("oci-codegen", type="build")

    #: below the prefix; so deep that no kernel takes it in a shebang line, whatever the prefix
    deep_interpreter = os.path.join("libexec", "d" * 140, "e" * 140, "say")

    def install(self, spec, prefix):
        generated = Executable(spec["oci-codegen"].prefix.bin.codegen)(output=str)
        middle, leaf = spec["oci-middle"].prefix, spec["oci-leaf"].prefix
        self.cc(
            HELLO.replace("@GENERATED@", generated).replace("@PREFIX@", prefix),
            prefix.bin.hello,
            f"-I{middle.include}",
            f"-L{middle.lib}",
            "-lmiddle",
            f"-Wl,-rpath-link,{leaf.lib}",
            "-Wl,--enable-new-dtags",
            f"-Wl,-rpath,{prefix.lib}:{middle.lib}:{leaf.lib}",
        )
        self.cc(SAY, prefix.bin.say)
        deep = os.path.join(prefix, self.deep_interpreter)
        mkdirp(os.path.dirname(deep))
        shutil.copy(prefix.bin.say, deep)
        write(prefix.share.app.join("marker"), "")

    def setup_run_environment(self, env):
        env.set("OCI_APP_HOME", self.prefix)
