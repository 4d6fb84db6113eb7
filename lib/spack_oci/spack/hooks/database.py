# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Spack's database of installed packages, made faster for packages from OCI mirrors, and for these alone.

Spack's classic installer writes the whole database of the store after every package, with ``json.dump``, which encodes
in Python; ``json.dumps`` encodes in C, ten times as fast. The text is the same; it is held in memory, some 3 kB for an
installed package. A write that registers no package from an OCI mirror is Spack's own.
"""

import contextlib
from typing import Any, Callable, Iterable, Iterator, Set

import spack.util.spack_json

#: DAG hashes of what this process has extracted from an OCI mirror and Spack has not registered yet
_extracted: Set[str] = set()

#: DAG hashes of packages whose spec files were read after they were extracted
_ensured: Set[str] = set()


def will_register(dag_hash: str) -> None:
    """The package was extracted from an OCI mirror; the next write of the database that names it is a quick one."""
    _extracted.add(dag_hash)


def dump(original: Callable, data: Any, stream: Any = None, *args: Any, **kwargs: Any) -> Any:
    """Hook of ``spack.util.spack_json.dump``, which until 1.1 returns the text if there is no stream."""
    if not _extracted or stream is None or not _registers_ours(data):
        return original(data, stream, *args, **kwargs)
    dumps = getattr(spack.util.spack_json, "dumps", original)
    stream.write(dumps(data, *args, **kwargs))
    return None


def _registers_ours(data: Any) -> bool:
    """Whether this is the database, with a package that it did not have before; each is looked for once."""
    try:
        found = _extracted & data["database"]["installs"].keys()
    except (KeyError, TypeError, AttributeError):
        return False
    _extracted.difference_update(found)
    return bool(found)


@contextlib.contextmanager
def ensured(hashes: Iterable[str]) -> Iterator[None]:
    """Let the database not read the spec files of packages again for which a worker has done that.

    It does so when it adds one; for hundreds of packages, one after the other, that is a third of the whole install.
    """
    _ensured.update(hashes)
    try:
        yield
    finally:
        _ensured.clear()


def ensure_installed(original: Callable, self: Any, spec: Any) -> None:
    """Hook of ``DirectoryLayout.ensure_installed``."""
    if not _ensured or spec.dag_hash() not in _ensured:
        original(self, spec)
