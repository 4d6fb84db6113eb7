# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack-oci sign`, `key` and `trust`: signatures of what a cache has, keys, policies."""

import argparse
from typing import List, Optional, Tuple

from ..configuration import trust as configuration
from ..maintenance import keys
from ..operations.trust.generations import Generations, generation_name
from ..package.record import is_package_tag
from ..trust.policy import Trust
from ..trust.signers import Signer
from . import output, settings
from .opened import OpenedCache


def sign(args: argparse.Namespace) -> int:
    from ..maintenance import sign as command
    from ..maintenance.verify import tags_matching

    def packages() -> Tuple[OpenedCache, List[str]]:
        cache = OpenedCache(args.mirror, True)
        if args.specs:
            return cache, tags_matching(cache, args.specs)
        return cache, [tag for tag in cache.open().tags() if is_package_tag(tag)]

    def required_signer(key: Optional[str]) -> Signer:
        return configuration.required_signer(settings.read().signing, settings.absolute, key)

    return command.run(packages, required_signer, args)


def _trust() -> Trust:
    return configuration.read_trust(settings.read().trust, settings.absolute)


def _read_file(path: str) -> bytes:
    return configuration.read_key_file(settings.absolute(path))


def _password(path: str, is_new: bool) -> bytes:
    return configuration.password(settings.read().signing, path, settings.absolute, is_new)


def generate_key(args: argparse.Namespace) -> int:
    return keys.run_generate(output, _password, args)


def show_key(args: argparse.Namespace) -> int:
    return keys.run_show(_trust(), _read_file, _password, args)


def list_keys(args: argparse.Namespace) -> int:
    return keys.run_list(_trust(), args)


def show_policies(args: argparse.Namespace) -> int:
    seen = Generations(settings.read().trust_directory)
    found = []
    for word in args.mirrors:
        cache = OpenedCache(word, False)
        newest = seen.newest(generation_name(cache.url))
        found.append({"name": word, "mirror": cache.url, **keys.policy_document(cache.policy(), newest)})
    return keys.run_policies(found, args)


def accept_older(args: argparse.Namespace) -> int:
    cache = OpenedCache(args.mirror, False)
    keys.accept_older(output, cache.open().url, Generations(settings.read().trust_directory), args.json)
    return 0
