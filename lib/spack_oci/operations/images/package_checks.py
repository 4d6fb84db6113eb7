# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What is checked of the packages of an image before it is made: C library, shared libraries, names of files."""

import os
from typing import Dict, List, Optional, Sequence

from ...content import BlobReader
from ...errors import ImageError, StorageError
from ...image.base.layers import libcs_of_base, libraries_of_base
from ...image.exclusions import Exclusions
from ...image.manifest import Base
from ...image.needs.libc import Libc, check_libc
from ...image.needs.libraries import libraries_warning, missing_libraries
from ...image.needs.prefix import WHITEOUT, PrefixNeeds, cached_needs
from ...image.results import Results
from ...package.record import Package
from ...util.concurrency.threads import DaemonPool


def needs_of_packages(
    packages: Sequence[Package], cache: Optional[Results] = None, jobs: int = 4
) -> Dict[str, PrefixNeeds]:
    """Label -> what the package (installed here) asks of an image; kept in ``cache``. Raises StorageError."""
    with DaemonPool(max(1, jobs), "needs") as pool:
        needs = pool.map(lambda p: cached_needs(f"needs-{p.dag_hash}-{_state(p)}", p.prefix, cache), packages)
        return {package.label: found for package, found in zip(packages, needs)}


def check_base_libc(
    store: BlobReader, base: Base, packages: Sequence[Package], *, cache: Optional[Results] = None, jobs: int = 4
) -> None:
    """Raise :class:`ImageError` if one of ``packages`` (installed here) would not run on ``base``.

    ``store`` has the base's layers; what was read is kept in ``cache`` (an :class:`~..image.results.ResultDirectory`).
    """
    if not base.layers:
        return
    available = libcs_of_base(store, base, cache) + _libcs_among(packages)
    needs = needs_of_packages(packages, cache, jobs)
    check_libc(base.name, available, {label: found.libc for label, found in needs.items()})


def warning_of_libraries(
    store: BlobReader, base: Base, packages: Sequence[Package], *, cache: Optional[Results] = None, jobs: int = 4
) -> str:
    """What to tell of shared libraries that neither ``packages`` nor ``base`` have; empty if nothing is known to lack.

    Only of a whole image: nothing is said when a package's own dependencies are not among ``packages``, or when the
    base has layers so large that they are not read for this.
    """
    labels = {package.label for package in packages}
    if not base.layers or any(label not in labels for package in packages for _, label in package.runtime):
        return ""
    in_base = libraries_of_base(store, base, cache)
    if in_base is None:
        return ""
    return libraries_warning(base.name, missing_libraries(needs_of_packages(packages, cache, jobs), in_base))


def check_whiteouts(
    packages: Sequence[Package],
    exclusions: Exclusions,
    *,
    cache: Optional[Results] = None,
    jobs: int = 4,
) -> None:
    """Raise :class:`ImageError` if a file of ``packages`` has a name that container engines take for a whiteout.

    There is no other way to write such a file into a layer.
    """
    excluded = exclusions.compiled()
    found: List[str] = []
    for label, needs in needs_of_packages(packages, cache, jobs).items():
        found += [f"{path} of {label}" for path in needs.whiteouts if not excluded(path)]
    if found:
        more = f" and {len(found) - 3} more" if len(found) > 3 else ""
        raise ImageError(
            f"container engines take {', '.join(found[:3])}{more} for the removal of a file, because of the name",
            remedy=f"leave such files out of the image with --exclude-files '{WHITEOUT}*'",
        )


def _libcs_among(packages: Sequence[Package]) -> List[Libc]:
    """C libraries that Spack itself has built: programs that use them find them by RPATH and PT_INTERP."""
    labels = {label for package in packages for _, label in package.runtime}
    names = [label.partition("@")[::2] for label in sorted(labels)]
    return [Libc.parse(name, rest.partition("/")[0]) for name, rest in names if name in ("glibc", "musl")]


def _state(package: Package) -> str:
    """Changes when the package was installed again."""
    try:
        return str(os.stat(package.prefix).st_mtime_ns)
    except OSError as e:
        raise StorageError.from_os_error(f"reading {package.label}", e) from e
