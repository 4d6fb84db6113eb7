# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""``oci:trust`` and ``oci:signing`` as values: the policy of a store, and who signs."""

import functools
import getpass
import json
import os
import sys
from typing import Any, Callable, Dict, Mapping, Optional, Tuple

from ..errors import ConfigurationError
from ..trust.keys import read_key_file, read_public_key
from ..trust.policy import Policy, Trust, trust_of
from ..trust.signers import ProgramSigner, Signer, signer_ahead, signer_of_file

#: cosign's own variable
PASSWORD_VARIABLE = "COSIGN_PASSWORD"

#: makes the value of a path an absolute one
Path = Callable[[str], str]


def policy_of(section: Mapping[str, Any], url: str, path: Path, signed: bool = False) -> Policy:
    """What ``oci:trust`` asks of the packages of the store at ``url``; see :meth:`Trust.policy_for` for ``signed``.

    Raises ConfigurationError for settings without a meaning, StorageError for a key that cannot be read. Cheap where
    there are no policies, and after the first time.
    """
    if not signed and not section.get("policies"):
        return Policy()  # and cryptography is not imported
    return read_trust(section, path).policy_for(url, signed)


def read_trust(section: Mapping[str, Any], path: Path) -> Trust:
    """All of ``oci:trust``."""
    return _trust(json.dumps(section, sort_keys=True, default=str), path)


@functools.lru_cache(maxsize=4)
def _trust(section: str, path: Path) -> Trust:
    return trust_of(json.loads(section), lambda name: read_key_file(path(name)))


def signer_of(
    section: Mapping[str, Any], path: Path, key: Optional[str] = None, ahead: bool = False
) -> Optional[Signer]:
    """Who signs: the private key in the file ``key``, else what ``oci:signing`` names; None if it names nothing.

    The password of an encrypted key is asked for once in a process. ``ahead``: see :func:`.signer_ahead`.
    """
    if key is None and section.get("program"):
        if section.get("key"):
            raise ConfigurationError("oci:signing has a key and a program", remedy="keep the one that is to sign")
        return _program(section, path)
    key = key or section.get("key")
    if not key:
        return None
    made_of = (path(key), json.dumps(section, default=str), path)
    if made_of not in _file_signers:
        make = signer_ahead if ahead else signer_of_file
        _file_signers[made_of] = make(path(key), lambda: password(section, path(key), path))
    return _file_signers[made_of]


#: (file, oci:signing, what makes paths absolute) -> who signs with that
_file_signers: Dict[Tuple[str, str, Path], Signer] = {}


def required_signer(section: Mapping[str, Any], path: Path, key: Optional[str] = None, ahead: bool = False) -> Signer:
    found = signer_of(section, path, key, ahead)
    if found is None:
        raise ConfigurationError(
            "there is no key to sign with",
            remedy="name one with --key FILE, or set oci:signing:key; `spack oci key generate` makes one",
        )
    return found


def _program(section: Mapping[str, Any], path: Path) -> Signer:
    if not section.get("public_key"):
        raise ConfigurationError(
            "oci:signing has a program, but not the public key that belongs to it", remedy="set oci:signing:public_key"
        )
    public = read_public_key(read_key_file(path(section["public_key"])), os.path.basename(section["public_key"]))
    argv = [path(word) if word.startswith(("$", "~")) else word for word in section["program"]]
    return ProgramSigner(public, argv)


def password(section: Mapping[str, Any], key: str, path: Path, confirm: bool = False) -> bytes:
    """Of the file ``key``: from a variable, a file, or the terminal. ``confirm``: it is a new one, ask twice."""
    variable = section.get("password_variable")
    if variable:
        if variable not in os.environ:
            raise ConfigurationError(f"the variable {variable} (oci:signing:password_variable) is not set")
        return os.environ[variable].encode()
    if section.get("password_file"):
        found = read_key_file(path(section["password_file"]), "file of a password", "see oci:signing:password_file")
        return found.split(b"\n")[0].rstrip(b"\r")
    if PASSWORD_VARIABLE in os.environ:
        return os.environ[PASSWORD_VARIABLE].encode()
    if not sys.stdin.isatty():
        raise ConfigurationError(
            f"the key {key} needs a password",
            remedy=f"set {PASSWORD_VARIABLE}, oci:signing:password_variable or oci:signing:password_file",
        )
    first = getpass.getpass(f"Password of {key}: ")
    if confirm and getpass.getpass("Once more: ") != first:
        raise ConfigurationError("the two passwords are not the same")
    return first.encode()
