# SPDX-License-Identifier: (Apache-2.0 OR MIT)
import os

from spack.package import depends_on, mkdirp, version
from spack_repo.ocitest.build_systems.native import NativePackage, write


class OciFiles(NativePackage):
    """What a file system can hold: links of every kind, odd names, odd modes, nothing at all."""

    homepage = "https://example.com"

    version("1.0")

    depends_on("oci-leaf")

    def install(self, spec, prefix):
        share = prefix.share.files
        write(share.data, f"installed in {prefix}\n")
        write(share.join("zero-length"), b"")
        write(share.join("binary"), b"\0\1\2" + os.fsencode(prefix) + b"/share/files\0tail\0")
        write(share.join("mode-0711"), "#!/bin/sh\nexit 0\n", 0o711)
        write(share.join("mode-0444"), "read only\n", 0o444)
        write(share.join("n\u00e4me-\u65e5\u672c.txt"), "a name that is not ASCII\n")
        write(share.join("a name with spaces"), "spaces\n")
        write(os.path.join(share, "l" * 120, "m" * 120), "a path too long for a ustar header\n")
        mkdirp(share.join("empty"))
        mkdirp(share.join("dir-0700"))
        os.chmod(share.join("dir-0700"), 0o700)
        # hard links, one of them in another directory; Spack relocates each inode once
        os.link(share.data, share.join("data-again"))
        os.link(share.data, os.path.join(prefix, "data-at-the-top"))
        os.symlink("data", share.join("link-relative"))
        os.symlink("../files/empty", share.join("link-to-directory"))
        os.symlink(share.data, share.join("link-absolute"))
        os.symlink(spec["oci-leaf"].prefix.lib.join("libleaf.so"), share.join("link-into-dependency"))
        os.symlink("/usr/bin/env", share.join("link-to-system"))
        os.symlink("nowhere", share.join("link-dangling"))
