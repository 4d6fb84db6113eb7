# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""``spack oci key add``: tell Spack's configuration which keys to trust."""

import copy
from typing import Optional

import spack.config
import spack.llnl.util.tty as tty

from ...errors import ConfigurationError
from ...trust.keys import PublicKey, read_public_key
from ..configuration import settings, trust


def add(name: str, path: str, scope: Optional[str] = None) -> PublicKey:
    """Let ``oci:trust:keys`` know a public key; the key itself is written there, so that no file can be exchanged."""
    key = read_public_key(trust.read_key_file(path), name, path)
    known = settings.read().trust.get("keys") or {}
    if name in known and trust.trust().keys[name].id == key.id:
        tty.info(f"oci:trust:keys has the key {name} ({key.short_id}) already")
        return key
    if name in known:
        raise ConfigurationError(
            f"oci:trust:keys has a key {name} already", remedy="take another name: policies may list both"
        )
    scope = scope or spack.config.default_modify_scope("oci")
    section = copy.deepcopy(spack.config.get("oci", scope=scope) or {})
    section.setdefault("trust", {}).setdefault("keys", {})[name] = key.pem.decode()
    spack.config.set("oci", section, scope=scope)
    tty.info(f"Added the key {name} ({key.short_id}) to oci:trust:keys in the scope {scope}")
    return key
