# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Whether something is in a repository (distribution-spec, "Checking if content exists in the registry")."""

from typing import Mapping, Optional

from ..descriptor import check_digest
from ..errors import NotFound
from .auth.tokens import Scopes
from .client import RegistryClient
from .http.transport import Answer


def head_or_first_byte(
    client: RegistryClient, url: str, doing: str, scopes: Scopes, headers: Optional[Mapping[str, str]] = None
) -> Answer:
    """HEAD; where that is forbidden, as by stores whose signed addresses hold for GET only, a GET of one byte.

    Raises NotFound.
    """
    headers = headers or {}
    answer = client.call("HEAD", url, doing=doing, scopes=scopes, accept=(200, 403), headers=headers).read_nothing()
    if answer.status == 200:
        return answer
    answer = client.call(
        "GET", url, doing=doing, scopes=scopes, accept=(200, 206, 416), headers={**headers, "Range": "bytes=0-0"}
    )
    answer.discard()
    return answer


def has_blob(client: RegistryClient, digest: str, scopes: Scopes) -> bool:
    repository = client.repository
    url = f"{repository.endpoint}/blobs/{check_digest(digest)}"
    try:
        head_or_first_byte(client, url, f"looking for {digest} in {repository}", scopes)
    except NotFound:
        return False
    return True
