# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What makes Spack's mirrors take all three URL schemes of ours for OCI. Imports nothing of the library but names."""

import os
from typing import Any, Callable, Tuple

from ...util.url_schemes import SCHEMES
from ...util.url_schemes import is_oci_url as is_ours


def schemes() -> Tuple[str, ...]:
    """For ``supported_url_schemes``."""
    return tuple(SCHEMES)


def is_oci_url(original: Callable, url: str) -> bool:
    """Hook of ``spack.oci.image.is_oci_url``, which does not know directories."""
    return original(url) or is_ours(url)


def is_signed(original: Callable, self: Any) -> bool:
    """Hook of ``Mirror.signed``: as since 1.2, an OCI mirror is no signed mirror, whatever it says."""
    return not is_ours(self.fetch_url) and original(self)


def get_url(original: Callable, self: Any, direction: str) -> str:
    """Hook of ``Mirror.get_url``: with Spack's variables, the user's home, and paths relative to the file that names
    them, as Spack has it for the paths of mirrors that are directories of its own."""
    url = original(self, direction)
    return expand(url) if is_ours(url) else url


def expand(url: str) -> str:
    """An OCI URL with its variables replaced, as far as they are known."""
    scheme, _, rest = url.partition("://")
    is_directory = scheme == "oci+file"
    relative = is_directory and not rest.startswith(("/", "localhost/"))
    if "$" not in rest and not relative:
        return url
    from ..compat import substitute_path_variables

    rest = substitute_path_variables(rest)
    if is_directory and "$" not in rest:
        rest = os.path.normpath(os.path.join(_directory_of(url), rest))
        rest = f"/{rest.lstrip('/')}"  # of oci+file:///$HOME/..., which has one slash too many
    return f"{scheme}://{rest}"


def _directory_of(text: str) -> str:
    """Of the configuration file that a value is from; else the working directory."""
    mark = getattr(text, "_start_mark", None)
    name = getattr(mark, "name", "")
    return os.path.dirname(name) if os.path.isabs(name) else os.getcwd()
