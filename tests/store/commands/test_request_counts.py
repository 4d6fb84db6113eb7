# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""How many requests a registry is asked where nothing is odd: for each package, and for each command.

Whoever adds one here slows down every push or install of everybody, and uses up what a registry allows.
"""

import collections

from support.registries.fault_registry import fault_registry
from support.spacks.client import Client

#: the test packages, those that an install is told by name, and what it installs (two more are for builds alone)
PACKAGES, ROOTS, INSTALLED = 9, ("oci-stack", "oci-leaf@1.0"), 7


def test_requests_of_each_command(built, store, tmp_path):
    with fault_registry() as registry:
        url = f"oci+http://{registry.host}/team/cache"

        def asked(home, *words):
            before = len(registry.requests())
            Client(tmp_path / home).run(*words)
            lines = (line.split() for line in registry.requests()[before:])
            return collections.Counter(f"{method} {status}" for method, _, status in lines)

        push = asked("pusher", "push", built, url)
        # a layer, a config and a manifest; and at first, until it is known that an upload tells that it is missing, as
        # many as threads have begun
        assert 1 <= push.pop("HEAD 404") <= 2 * PACKAGES
        assert push == {"GET 404": 1, "POST 202": 2 * PACKAGES, "PUT 201": 3 * PACKAGES, "POST 201": 1}
        # the tags, and whether somebody prunes
        assert asked("pusher", "push", built, url) == {"GET 200": 1, "GET 404": 1}

        update = asked("new", "update-index", url)
        assert 1 <= update.pop("HEAD 404") <= 8
        assert update == {
            "GET 404": 1,
            "GET 200": 3 + 2 * PACKAGES,
            "HEAD 200": 1,
            "POST 202": 4,
            "PUT 201": 6,
            "POST 201": 1,
        }
        # the digest of each tag, but with --new-only
        assert asked("new", "update-index", url) == {"GET 200": 3, "HEAD 200": 1 + PACKAGES}
        assert asked("new", "update-index", "--new-only", url) == {"GET 200": 3, "HEAD 200": 1}
        assert asked("pusher", "push", "--update-index", built, url) == {"GET 200": 4, "GET 404": 1, "HEAD 200": 1}

        index = {"GET 200": 3, "HEAD 200": 1}
        assert asked("user", "list", "--allarch", url) == index
        assert asked("user", "list", "--allarch", url) == {"HEAD 200": 1}
        # a layer of each package; manifest and config of those that a user names
        install = asked("another", "install", url, *ROOTS, "--store", store)
        assert install == {**index, "GET 200": index["GET 200"] + INSTALLED + 2 * len(ROOTS)}
