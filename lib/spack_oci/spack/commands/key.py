# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""``spack oci key``: make keys, show them, and tell Spack's configuration which to trust."""

import copy
import os
from typing import Dict, List, Optional

import spack.config
import spack.llnl.util.tty as tty

from ...errors import ConfigurationError
from ...trust.keys import PUBLIC_MARK, PublicKey, read_public_key
from ...trust.policy import Trust
from ...trust.signers import generate, signer_of_pem, write_pair
from ...util.text import table
from ..configuration import settings, trust


def make(path: str) -> PublicKey:
    """Make a pair of keys, ``PATH.key`` and ``PATH.pub``."""
    pair = [f"{path}.key", f"{path}.pub"]
    for name in pair:  # before the password is asked for
        if os.path.lexists(name):
            raise ConfigurationError(f"{name} is there already", remedy="remove it, or name another file")
    signer, private = generate(trust.password(pair[0], confirm=True), os.path.basename(path))
    write_pair(path, private, signer.public.pem)
    tty.info(f"Wrote {pair[0]} (keep it secret) and {pair[1]} (give it to those who install)")
    return signer.public


def show(path: str) -> Dict[str, str]:
    """Of a public or a private key in a file, or of one that oci:trust knows by name."""
    known = trust.trust().keys
    if path in known and not os.path.exists(path):
        return document(known[path])
    data = trust.read_key_file(path)
    if PUBLIC_MARK in data:
        return document(read_public_key(data, os.path.basename(path), path))
    return document(signer_of_pem(data, path, lambda: trust.password(path)).public)


def document(key: PublicKey) -> Dict[str, str]:
    """For ``--json``."""
    return {"name": key.name, "id": key.id, "kind": key.describe(), "public_key": key.pem.decode()}


def add(name: str, path: str, scope: Optional[str] = None) -> PublicKey:
    """Let ``oci:trust:keys`` know a public key; the key itself is written there, so that no file can be exchanged."""
    key = read_public_key(trust.read_key_file(path), name, path)
    known = settings.read().trust.get("keys") or {}
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


def rows(found: Trust) -> List[str]:
    """A line for each key, with the policies that count it."""
    lines = []
    for name, key in found.keys.items():
        used = [scope for scope, policy in found.policies.items() if key in policy.keys and policy.active]
        lines.append((name, key.short_id, key.describe(), ", ".join(used) or "no policy"))
    return table(lines)
