# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The URL schemes of mirrors. A module of their own, as every Spack process asks for them, and for nothing else."""

SCHEMES = ("oci", "oci+http", "oci+file")


def is_oci_url(url: str) -> bool:
    return url.partition("://")[0] in SCHEMES
