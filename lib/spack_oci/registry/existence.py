# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Whether something is in a repository (distribution-spec, "Checking if content exists in the registry")."""

from typing import Mapping, Optional

from ..descriptor import check_digest
from ..errors import NotFound
from .auth.tokens import Scopes
from .client import RegistryClient
from .http.response import Response


def head_or_first_byte(
    client: RegistryClient, url: str, action: str, scopes: Scopes, headers: Optional[Mapping[str, str]] = None
) -> Response:
    """HEAD; where that is not allowed, a GET of one byte: the signed addresses of some stores hold for GET only (403;
    400 in China), and some proxies and object stores do not know HEAD (405, 501).

    Raises NotFound.
    """
    headers = headers or {}
    response = client.call(
        "HEAD", url, action=action, scopes=scopes, accept=(200, 400, 403, 405, 501), headers=headers
    ).without_body()
    if response.status == 200:
        return response
    response = client.call(
        "GET", url, action=action, scopes=scopes, accept=(200, 206, 416), headers={**headers, "Range": "bytes=0-0"}
    )
    response.discard()
    return response


def has_blob(client: RegistryClient, digest: str, scopes: Scopes) -> bool:
    repository = client.repository
    url = f"{repository.endpoint}/blobs/{check_digest(digest)}"
    try:
        head_or_first_byte(client, url, f"looking for {digest} in {repository}", scopes)
    except NotFound:
        return False
    return True
