# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What stops an install where signatures are required and cannot be verified: a hook does not fit this Spack, or a
dependency is missing. Imports nothing that could be missing itself."""

import functools
import sys
from typing import Any, Callable

from ...util.url_schemes import is_oci_url

#: of `spack install` and `spack oci install|fetch`
NO_CHECK = "--no-check-signature"


def refuse_unverified() -> None:
    """Raise Spack's own error if an OCI mirror may have a policy that requires signatures."""
    import spack.config
    import spack.error
    import spack.mirrors.mirror

    if NO_CHECK in sys.argv:
        return
    ours = [m for m in spack.mirrors.mirror.MirrorCollection(binary=True).values() if is_oci_url(m.fetch_url)]
    policies = spack.config.get("oci:trust:policies", {}) or {}
    required = any(isinstance(policy, dict) and policy.get("mode") == "require" for policy in policies.values())
    signed = any(isinstance(m._data, dict) and m._data.get("signed") is True for m in ours)
    if ours and (required or signed):
        raise spack.error.SpackError(
            "packages are to be signed (oci:trust), and spack-oci cannot verify that in this Spack",
            f"run `spack oci doctor` to see why; {NO_CHECK} installs without asking for signatures",
        )


def refusing(function: Callable, enabled: Callable[[], bool]) -> Callable:
    """Spack's own function, behind :func:`refuse_unverified`."""

    @functools.wraps(function)
    def checked(*args: Any, **kwargs: Any) -> Any:
        if enabled():
            refuse_unverified()
        return function(*args, **kwargs)

    return checked
