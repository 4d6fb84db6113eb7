# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Which files of packages stay out of an image."""

import fnmatch
import re
from dataclasses import dataclass
from typing import Iterable, Optional, Pattern, Sequence, Tuple


@dataclass(frozen=True)
class Exclusions:
    """Globs of files that stay out of an image.

    A pattern without ``/`` is for the name of a file or directory anywhere (``*.a``, ``include``), one with ``/`` for
    the path below the package's prefix (``share/man/*``; ``*`` matches ``/`` too). What is below a directory that is
    left out is left out as well.
    """

    patterns: Tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.patterns)

    @property
    def key(self) -> str:
        return "\n".join(sorted(set(self.patterns)))

    def compiled(self) -> "_Matcher":
        return _Matcher(self.patterns)


#: what --strip-build-info leaves out: how the package was built, and what is only for building others
BUILD_INFO = (
    ".spack/*",
    "include/*",
    "*.a",
    "*.la",
    "*.pc",
    "lib/cmake/*",
    "lib64/cmake/*",
    "share/cmake/*",
    "share/aclocal/*",
    "share/man/*",
    "share/doc/*",
    "share/info/*",
    "man/*",
)


class _Matcher:
    def __init__(self, patterns: Iterable[str]) -> None:
        names = [pattern for pattern in patterns if "/" not in pattern]
        paths = [pattern.strip("/") for pattern in patterns if "/" in pattern]
        self._names = _one_pattern(names)
        self._paths = _one_pattern(paths)

    def __call__(self, path: str) -> bool:
        """``path``: relative to the prefix."""
        if self._paths is not None and self._paths.match(path):
            return True
        return self._names is not None and any(self._names.match(part) for part in path.split("/"))


def _one_pattern(globs: Sequence[str]) -> Optional[Pattern[str]]:
    return re.compile("|".join(fnmatch.translate(glob) for glob in globs)) if globs else None
