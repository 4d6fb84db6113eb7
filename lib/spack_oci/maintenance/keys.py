# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""``key`` and ``trust``: keys that sign packages, and the policies that count them."""

import argparse
import os
from typing import Any, Callable, Dict, List, Optional

from ..errors import ConfigurationError
from ..operations.trust.generations import Generations, generation_name
from ..trust.keys import PUBLIC_MARK, PublicKey, read_public_key
from ..trust.policy import Policy, Trust
from ..trust.signers import generate, signer_of_pem, write_pair
from ..util.documents import print_json
from ..util.text import table
from .cache import Output

#: (file of a private key, is it a new one) -> its password
Password = Callable[[str, bool], bytes]


def run_generate(out: Output, password: Password, args: argparse.Namespace) -> int:
    made = make(out, args.path, password)
    if args.json:
        print_json(document(made))
    return 0


def run_show(known: Trust, read_file: Callable[[str], bytes], password: Password, args: argparse.Namespace) -> int:
    found = show(args.key, known, read_file, password)
    if args.json:
        print_json(document(found))
    else:
        print(lines_of(found), end="")
    return 0


def run_list(known: Trust, args: argparse.Namespace) -> int:
    if args.json:
        print_json({"keys": [document(key) for key in known.keys.values()]})
    else:
        for line in rows(known) or ["==> no keys in oci:trust:keys"]:
            print(line)
    return 0


def run_policies(found: List[Dict[str, Any]], args: argparse.Namespace) -> int:
    """``found``: a document for each cache; those whose policy cannot be read have ``error``."""
    if args.json:
        print_json({"mirrors": found})
    else:
        print("".join(f"{line}\n" for line in policy_lines(found)), end="")
    return 1 if any("error" in one for one in found) else 0


def make(out: Output, path: str, password: Password) -> PublicKey:
    """Make a pair of keys, ``PATH.key`` and ``PATH.pub``."""
    pair = [f"{path}.key", f"{path}.pub"]
    for name in pair:  # before the password is asked for
        if os.path.lexists(name):
            raise ConfigurationError(f"{name} is there already", remedy="remove it, or name another file")
    signer, private = generate(password(pair[0], True), os.path.basename(path))
    write_pair(path, private, signer.public.pem)
    out.info(f"Wrote {pair[0]} (keep it secret) and {pair[1]} (give it to those who install)")
    return signer.public


def show(path: str, known: Trust, read_file: Callable[[str], bytes], password: Password) -> PublicKey:
    """Of a public or a private key in a file, or of one that oci:trust knows by name."""
    if path in known.keys and not os.path.exists(path):
        return known.keys[path]
    data = read_file(path)
    if PUBLIC_MARK in data:
        return read_public_key(data, os.path.basename(path), path)
    return signer_of_pem(data, path, lambda: password(path, False)).public


def document(key: PublicKey) -> Dict[str, str]:
    """For ``--json``."""
    return {"name": key.name, "id": key.id, "kind": key.describe(), "public_key": key.pem.decode()}


def lines_of(key: PublicKey) -> str:
    return f"{key.name}: {key.describe()}\nid {key.id}\n{key.pem.decode()}"


def rows(found: Trust) -> List[str]:
    """A line for each key, with the policies that count it."""
    lines = []
    for name, key in found.keys.items():
        used = [scope for scope, policy in found.policies.items() if key in policy.keys and policy.active]
        lines.append((name, key.short_id, key.describe(), ", ".join(used) or "no policy"))
    return table(lines)


def policy_document(policy: Policy, newest_index: Optional[int]) -> Dict[str, Any]:
    """What a cache is held to, for ``trust show --json``. ``newest_index``: generation of the newest that was seen."""
    return {
        "mode": policy.mode,
        "keys": [{"name": key.name, "id": key.id} for key in policy.keys],
        "threshold": policy.threshold,
        "max_age": policy.max_age,
        "repositories": list(policy.repositories),
        "from": policy.origin,
        "newest_index": newest_index,
        "policy": policy.describe(),
    }


def policy_lines(found: List[Dict[str, Any]]) -> List[str]:
    rows = [(one["name"], one.get("error") or one["policy"], one.get("from") or "", one["mirror"]) for one in found]
    return table(rows)


def accept_older(out: Output, url: str, seen: Generations, as_json: bool) -> None:
    was_known = seen.forget(generation_name(url))
    if as_json:
        print_json({"mirror": url, "forgotten": was_known})
    elif was_known:
        out.info(f"The next index of {url} is taken as it is, if it is signed as the policy asks")
    else:
        out.info(f"No index of {url} is remembered")
