# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`/HASH` in a spec: looked up in place in what is kept of the indexes of OCI mirrors, whatever their size.

Spack makes specs of all packages of all mirrors to find one.
"""

from typing import Any, Callable, Dict, List, Optional

import spack.mirrors.mirror
import spack.spec

from ...errors import SpackOciError
from ...index.in_place import NodesOfPackage
from ...reference import is_oci_url
from .. import fetching
from ..configuration import mirrors

#: fewer characters of a hash would mean to look at the whole index
_SHORTEST = 4


def query_init(original: Callable, self: Any, all_architectures: bool) -> None:
    """Hook of ``BinaryCacheQuery.__init__``: Spack reads all indexes here; that waits until it is known what for."""
    self.all_architectures = all_architectures
    self._spack_oci_rest = original


def query(original: Callable, self: Any, spec: Any, **kwargs: Any) -> List["spack.spec.Spec"]:
    """Hook of ``BinaryCacheQuery.__call__``. ``spec``: a spec, or its text (`spack bootstrap`)."""
    wanted = spack.spec.Spec(spec) if isinstance(spec, str) else spec
    if self._spack_oci_rest is not None and self.all_architectures and wanted.abstract_hash:
        found = _matching(wanted)
        if found:
            return found
    if self._spack_oci_rest is not None:
        rest, self._spack_oci_rest = self._spack_oci_rest, None
        rest(self, self.all_architectures)
    return original(self, spec, **kwargs)


def _matching(spec: "spack.spec.Spec") -> List["spack.spec.Spec"]:
    """What satisfies ``spec`` in the OCI mirrors; nothing also where not all mirrors can be looked up in place."""
    configured = list(spack.mirrors.mirror.MirrorCollection(binary=True).values())
    if len(spec.abstract_hash) < _SHORTEST or not all(is_oci_url(m.fetch_url) for m in configured):
        return []
    fetching.confirm_indexes(configured)
    cache, packages = fetching.index_cache(), {}
    try:
        for mirror in configured:
            url = mirrors.open_store(mirror, mirrors.FETCH).url
            nodes = cache.packages_by_hash(url, spec.abstract_hash)
            if nodes is None:
                return []
            packages.update(nodes)
    except SpackOciError:
        return []  # Spack's own way asks the mirrors, and says what is wrong
    found = [_read(nodes) for nodes in packages.values()]
    return [one for one in found if one is not None and one.satisfies(spec)] if None not in found else []


def _read(nodes: NodesOfPackage) -> Optional["spack.spec.Spec"]:
    """None where this Spack cannot read it: then it decides what comes of that."""
    document: Dict[str, Any] = {"spec": {"_meta": {"version": 5}, "nodes": list(nodes)}}
    try:
        return spack.spec.Spec.from_dict(document)
    except Exception:  # its reader takes for granted what it reads, and fails in any way
        return None
