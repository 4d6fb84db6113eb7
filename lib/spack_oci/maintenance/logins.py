# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What ``login`` and ``logout`` tell of what they did."""

from ..registry.login import LoginResult, LogoutResult
from ..util.documents import messages_apart, print_json
from .cache import Output


def tell_of_login(out: Output, result: LoginResult, as_json: bool) -> int:
    """Exit code."""
    with messages_apart(as_json):
        for warning in result.warnings:
            out.warn(warning)
        if not as_json:
            out.info(f"Logged in to {result.key}; stored in {result.stored_in}")
    if as_json:
        print_json({"registry": result.key, "stored_in": result.stored_in, "warnings": list(result.warnings)})
    return 0


def tell_of_logout(out: Output, result: LogoutResult, as_json: bool) -> int:
    """Exit code: 1 if there was nothing to forget."""
    with messages_apart(as_json):
        for source in result.still_known:
            out.warn(f"there are still credentials for {result.key}: {source}")
        if not result.removed_from:
            out.warn(f"not logged in to {result.key}")
        elif not as_json:
            out.info(f"Removed the credentials for {result.key} from {', '.join(result.removed_from)}")
    if as_json:
        removed, known = list(result.removed_from), list(result.still_known)
        print_json({"registry": result.key, "removed_from": removed, "still_known": known})
    return 0 if result.removed_from else 1
