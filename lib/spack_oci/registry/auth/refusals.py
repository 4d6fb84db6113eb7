# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What to do about a refused write, by what the registry says: its words differ, the cases are few."""

from typing import Sequence

from .challenge import parse_challenges

#: seen in pipelines of GitHub: a fork, or a workflow without the permission (github.com/orgs/community/discussions)
_MAY_ONLY_READ = ("installation not allowed to",)
#: of a package that a person pushed first: it belongs to no repository's workflows
_NOT_LINKED = ("permission_denied: write_package", "permission_denied: create_package")
#: of a personal token
_LACKS_SCOPE = ("does not match expected scopes", "insufficient_scope", "insufficient scope")

READ_ONLY_JOB = (
    "the token of this job may only read: give the workflow `permissions: packages: write`; the pipelines of forks "
    "never get it, `push --if-writable` skips there"
)
NOT_LINKED = (
    "the package was first pushed by hand, so workflows may not write to it: in its settings on GitHub, under Manage "
    "Actions access, add this repository with the role Write"
)
READ_ONLY_TOKEN = (
    "the token is good, but may only read: use one that may write (GitHub: scope write:packages; GitLab: "
    "write_registry), or skip such jobs with `push --if-writable`"
)
EXPIRED = (
    "these credentials were accepted earlier in this command, so they have expired or were withdrawn: use some that "
    "live as long as the job, and run it again; what is in the registry is not sent again"
)


def remedy_of_refusal(status: int, message: str, challenges: Sequence[str], accepted_before: bool) -> str:
    """For a 401 or 403 to a write with credentials; empty where nothing is known.

    ``message``: the error's; ``challenges``: values of ``WWW-Authenticate``; ``accepted_before``: the same credentials
    were good for the same kind of request.
    """
    said = message.lower()
    if any(words in said for words in _MAY_ONLY_READ):
        return READ_ONLY_JOB
    if any(words in said for words in _NOT_LINKED):
        return NOT_LINKED
    errors = {c.parameters.get("error", "") for c in parse_challenges(", ".join(challenges))}  # RFC 6750, 3.1
    if "insufficient_scope" in errors or any(words in said for words in _LACKS_SCOPE):
        return READ_ONLY_TOKEN
    if accepted_before and status == 401:
        return EXPIRED
    return ""
