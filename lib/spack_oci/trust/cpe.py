# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Under which vendor and product the NVD knows a package: what scanners look vulnerabilities up by.

Recipes do not say it, and a guess finds the vulnerabilities of others. So there is a table of packages that are in
many closures and often in advisories; whatever is not in it has no CPE (NIST IR 7695, formatted string).
"""

import re

#: name of the package in Spack -> vendor:product; one word: both are that
_KNOWN = """
bash=gnu:bash binutils=gnu:binutils bzip2=bzip:bzip2 cairo=cairographics:cairo coreutils=gnu:coreutils
cpio=gnu:cpio curl=haxx:curl elfutils=elfutils_project:elfutils expat=libexpat_project:libexpat ffmpeg
file=file_project:file freetype gawk=gnu:gawk gcc=gnu:gcc gcc-runtime=gnu:gcc gdb=gnu:gdb gettext=gnu:gettext
ghostscript=artifex:ghostscript git=git-scm:git glib=gnome:glib glibc=gnu:glibc gnupg gnutls=gnu:gnutls go=golang:go
gzip=gnu:gzip hdf5=hdfgroup:hdf5 imagemagick krb5=mit:kerberos_5 libarchive libevent=libevent_project:libevent
libgcrypt=gnupg:libgcrypt libjpeg-turbo libpng libssh=libssh:libssh libssh2 libtiff libxml2=xmlsoft:libxml2
libxslt=xmlsoft:libxslt libyaml=pyyaml:libyaml lz4=lz4_project:lz4 m4=gnu:m4 mariadb mercurial nano=gnu:nano
ncurses=gnu:ncurses nghttp2 node-js=nodejs:node.js openssh=openbsd:openssh openssl patch=gnu:patch pcre pcre2=pcre:pcre2
perl poppler=freedesktop:poppler postgresql protobuf=google:protobuf py-numpy=numpy:numpy py-pillow=python:pillow
py-pyyaml=pyyaml:pyyaml py-requests=python:requests py-setuptools=python:setuptools py-urllib3=python:urllib3 python
readline=gnu:readline redis rsync=samba:rsync rust=rust-lang:rust sqlite subversion=apache:subversion
tar=gnu:tar tmux=tmux_project:tmux util-linux=kernel:util-linux vim wget=gnu:wget xz=tukaani:xz zlib
zstd=facebook:zstandard
"""
_PRODUCTS = {name: product or f"{name}:{name}" for name, _, product in (w.partition("=") for w in _KNOWN.split())}
#: versions that are a release, which the NVD knows; not a branch, a commit
#: and the portable releases of OpenSSH (9.3p2), whose "p2" is an update
_RELEASE = re.compile(r"([0-9]+(?:\.[0-9]+)*[a-z]?)(p[0-9]+)?\Z")
_PLAIN = re.compile(r"[A-Za-z0-9_]")


def cpe_of(name: str, version: str) -> str:
    """In the form ``cpe:2.3:a:zlib:zlib:1.3.1:*:*:*:*:*:*:*``; empty: not known."""
    product = _PRODUCTS.get(name)
    match = _RELEASE.match(version)
    if product is None or match is None:
        return ""
    vendor, _, product = product.partition(":")
    return f"cpe:2.3:a:{_escaped(vendor)}:{_escaped(product)}:{match.group(1)}:{match.group(2) or '*'}:*:*:*:*:*:*"


def _escaped(text: str) -> str:
    """Punctuation is quoted, but for a dot, a hyphen and an underscore (NIST IR 7695, 6.2.3.1 and its erratum)."""
    return "".join(c if _PLAIN.match(c) or c in ".-" else f"\\{c}" for c in text)
