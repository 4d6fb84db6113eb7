# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""``spack oci trust``: the policies of mirrors, and the memory of their indexes."""

from typing import Any, Dict, List, Optional

import spack.llnl.util.tty as tty

from ...errors import SpackOciError
from ...maintenance import keys
from ...operations.trust.generations import generation_name
from ...util.documents import messages_apart
from ..configuration import mirrors, trust
from .opened import find


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
    return {**result, **keys.policy_document(policy, seen)}


def accept_older(name: Optional[str], as_json: bool) -> None:
    with messages_apart(as_json):
        store = find(name, mirrors.FETCH).open()
    keys.accept_older(tty, store.url, trust.generations(), as_json)
