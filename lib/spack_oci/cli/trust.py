# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack-oci sign`, `key` and `trust`: signatures of what a cache has, keys, policies."""

import argparse

from ..commandline.common import messages_apart, print_json
from ..configuration import trust as configuration
from ..maintenance import keys
from ..operations.trust.generations import Generations, generation_name
from ..package.record import is_package_tag
from ..trust.policy import Trust
from . import output, settings
from .opened import OpenedCache


def sign(args: argparse.Namespace) -> int:
    from ..maintenance import sign as command
    from ..maintenance.verify import tags_matching

    cache = OpenedCache(args.mirror, True)
    with messages_apart(args.json or args.digests == "-"):
        tags = (
            tags_matching(cache, args.specs)
            if args.specs
            else [tag for tag in cache.open().tags() if is_package_tag(tag)]
        )
    if args.digests:
        command.write_digests(args.digests, command.references(cache, tags))
        return 0
    signer = configuration.required_signer(settings.read().signing, settings.absolute, args.key)
    with messages_apart(args.json):
        outcomes = command.sign(cache, tags, signer)
    if args.json:
        print_json(command.outcome_document(cache, outcomes))
    else:
        command.print_outcomes(cache, outcomes, signer.public)
    return 1 if any(o.error for o in outcomes) else 0


def _trust() -> Trust:
    return configuration.read_trust(settings.read().trust, settings.absolute)


def _read_file(path: str) -> bytes:
    return configuration.read_key_file(settings.absolute(path))


def _password(path: str, is_new: bool) -> bytes:
    return configuration.password(settings.read().signing, path, settings.absolute, is_new)


def generate_key(args: argparse.Namespace) -> int:
    made = keys.make(output, args.path, _password)  # type: ignore[arg-type]
    if args.json:
        print_json(keys.document(made))
    return 0


def show_key(args: argparse.Namespace) -> int:
    found = keys.show(args.key, _trust(), _read_file, _password)
    if args.json:
        print_json(keys.document(found))
    else:
        print(keys.lines_of(found), end="")
    return 0


def list_keys(args: argparse.Namespace) -> int:
    found = _trust()
    if args.json:
        print_json({"keys": [keys.document(key) for key in found.keys.values()]})
    else:
        for line in keys.rows(found):
            print(line)
    return 0


def show_policies(args: argparse.Namespace) -> int:
    seen = Generations(settings.read().trust_directory)
    found = []
    for word in args.mirrors:
        cache = OpenedCache(word, False)
        newest = seen.newest(generation_name(cache.url))
        found.append({"name": word, "mirror": cache.url, **keys.policy_document(cache.policy(), newest)})
    if args.json:
        print_json({"mirrors": found})
    else:
        for line in keys.policy_lines(found):
            print(line)
    return 0


def accept_older(args: argparse.Namespace) -> int:
    cache = OpenedCache(args.mirror, False)
    keys.accept_older(output, cache.open().url, Generations(settings.read().trust_directory))  # type: ignore[arg-type]
    return 0
