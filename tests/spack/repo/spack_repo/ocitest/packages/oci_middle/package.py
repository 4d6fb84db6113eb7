# SPDX-License-Identifier: (Apache-2.0 OR MIT)
from spack.package import depends_on, version
from spack_repo.ocitest.build_systems.native import NativePackage, write

SOURCE = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <leaf.h>

const char *middle_where(void) {
    Dl_info info;
    return dladdr((void *)middle_where, &info) ? info.dli_fname : "?";
}
const char *middle_leaf_where(void) { return leaf_where(); }
int middle_greeting(char *line, int size) { return leaf_greeting(line, size); }
"""

HEADER = """const char *middle_where(void);
const char *middle_leaf_where(void);
int middle_greeting(char *line, int size);
"""


class OciMiddle(NativePackage):
    """A library with an RPATH: $ORIGIN first, then absolute; and a note of an external dependency's prefix."""

    version("1.0")

    depends_on("oci-leaf")
    depends_on("oci-external")

    def install(self, spec, prefix):
        leaf = spec["oci-leaf"].prefix
        self.shared_library(
            SOURCE,
            prefix.lib.join("libmiddle.so"),
            f"-I{leaf.include}",
            f"-L{leaf.lib}",
            "-lleaf",
            "-ldl",
            "-Wl,--disable-new-dtags",
            f"-Wl,-rpath,$ORIGIN/../lib:{leaf.lib}",
        )
        write(prefix.include.join("middle.h"), HEADER)
        write(prefix.share.middle.join("external.txt"), spec["oci-external"].prefix + "\n")
