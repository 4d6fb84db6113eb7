# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Base class of the test packages: no sources to fetch, the system's C compiler called as it is.

Nothing depends on a compiler package, so a concretization stays small and no compiler has to be configured.
"""

import os

from spack.package import InstallError, mkdirp, run_before, which
from spack_repo.builtin_mock.build_systems.generic import Package


def write(path, text, mode=None):
    """Create a file with its directories; str is written as UTF-8."""
    mkdirp(os.path.dirname(path))
    with open(path, "wb") as f:
        f.write(text if isinstance(text, bytes) else text.encode("utf-8"))
    if mode is not None:
        os.chmod(path, mode)


class NativePackage(Package):
    has_code = False
    homepage = "https://example.com"

    @run_before("install")
    def building_is_allowed(self):
        """The tests' proof that a package came from a cache: where OCITEST_NO_BUILD is set, nothing can be built."""
        if os.environ.get("OCITEST_NO_BUILD"):
            raise InstallError(f"{self.name} would be built from source")

    def cc(self, source, output, *flags):
        """Compile one C source text to ``output``."""
        mkdirp(os.path.dirname(output))
        file = os.path.join(self.stage.path, os.path.basename(output) + ".c")
        write(file, source)
        # -O0: the compiler must not fold the length of a path that relocation is going to change
        which("gcc", "cc", required=True)("-O0", "-o", output, file, *flags)

    def shared_library(self, source, output, *flags):
        self.cc(source, output, "-shared", "-fPIC", f"-Wl,-soname,{os.path.basename(output)}", *flags)
