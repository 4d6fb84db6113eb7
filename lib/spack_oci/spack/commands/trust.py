# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""``spack oci trust``: the policies of mirrors, and the memory of their indexes."""

from typing import Any, Dict, List, Optional, Sequence

import spack.llnl.util.tty as tty

from ...errors import SpackOciError
from ...operations.trust.generations import generation_name
from ...util.text import table
from ..configuration import mirror_arguments, mirrors, trust


def policies() -> List[Dict[str, Any]]:
    """One document for each mirror; those whose policy cannot be read have ``error``."""
    return [_document(mirror) for mirror in mirrors.configured(mirrors.FETCH) or [mirrors.embedded_default()]]


def _document(mirror: Any) -> Dict[str, Any]:
    result: Dict[str, Any] = {"name": mirror.name, "mirror": mirror.fetch_url}
    try:
        policy = trust.policy_of(mirror)
    except SpackOciError as e:
        return {**result, "error": str(e)}
    url = mirrors.location_of(mirror, mirrors.FETCH).url
    seen = trust.generations().newest(generation_name(url))
    return {
        **result,
        "mode": policy.mode,
        "keys": [{"name": key.name, "id": key.id} for key in policy.keys],
        "threshold": policy.threshold,
        "max_age": policy.max_age,
        "repositories": list(policy.repositories),
        "from": policy.origin,
        "newest_index": seen,
        "policy": policy.describe(),
    }


def lines(found: Sequence[Dict[str, Any]]) -> List[str]:
    rows = [(one["name"], one.get("error") or one["policy"], one.get("from") or "", one["mirror"]) for one in found]
    return table(rows)


def accept_older(name: Optional[str]) -> None:
    mirror, note = mirror_arguments.find(name, mirrors.FETCH)
    if note:
        tty.info(note)
    store = mirrors.open_store(mirror, mirrors.FETCH)
    if trust.generations().forget(generation_name(store.url)):
        tty.info(f"The next index of {store.url} is taken as it is, if it is signed as the policy asks")
    else:
        tty.info(f"No index of {store.url} is remembered")
