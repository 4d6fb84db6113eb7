# SPDX-License-Identifier: (Apache-2.0 OR MIT)
import os

from spack.package import license, version, which
from spack_repo.ocitest.build_systems.native import NativePackage, write

SOURCE = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

/* where the dynamic linker found this library */
const char *leaf_where(void) {
    Dl_info info;
    return dladdr((void *)leaf_where, &info) ? info.dli_fname : "?";
}

/* a file of this package, found through the prefix in .rodata */
int leaf_greeting(char *line, int size) {
    FILE *f = fopen("@PREFIX@/share/leaf/greeting.txt", "r");
    if (!f || !fgets(line, size, f)) return -1;
    fclose(f);
    line[strcspn(line, "\\n")] = 0;
    return 0;
}

/* a prefix inside a longer string, as OpenSSL has */
const char *leaf_build_info(void) { return "LEAFDIR: \\"@PREFIX@/share/leaf\\""; }
"""

PKG_CONFIG = """prefix=@PREFIX@
libdir=${prefix}/lib
includedir=${prefix}/include

Name: leaf
Description: the end of the chain
Version: 1.0
Libs: -L${libdir} -lleaf
Cflags: -I${includedir}
"""

HEADER = """const char *leaf_where(void);
int leaf_greeting(char *line, int size);
const char *leaf_build_info(void);
"""


class OciLeaf(NativePackage):
    """The end of the chain: a shared library, a static archive, a data file, a pkg-config file."""

    homepage = "https://example.com"

    license("Apache-2.0 OR MIT", when="@2.0")
    license("BSD-3-Clause", when="@1.0")

    version("2.0")
    version("1.0")

    def install(self, spec, prefix):
        source = SOURCE.replace("@PREFIX@", prefix)
        self.shared_library(source, prefix.lib.join("libleaf.so.1"), "-ldl")
        os.symlink("libleaf.so.1", prefix.lib.join("libleaf.so"))
        self.cc(source, os.path.join(self.stage.path, "leaf.o"), "-c", "-fPIC")
        which("ar", required=True)("rcsD", prefix.lib.join("libleaf.a"), os.path.join(self.stage.path, "leaf.o"))
        write(prefix.include.join("leaf.h"), HEADER)
        write(prefix.share.leaf.join("greeting.txt"), f"hello from leaf {spec.version}\n")
        write(prefix.lib.pkgconfig.join("leaf.pc"), PKG_CONFIG.replace("@PREFIX@", prefix))
