# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Everything that a user can set about how one registry is talked to, as plain values."""

from typing import NamedTuple, Optional, Sequence

from .. import __version__
from ..reference import Repository
from .auth.credentials import CredentialSource
from .http.retry import RetryPolicy

MIB = 1 << 20

#: distribution-spec asks clients for nothing; registries use it to find misbehaving ones
USER_AGENT = f"spack-oci/{__version__}"


class UploadPolicy(NamedTuple):
    """How blobs go up. All sizes in bytes.

    A blob is sent in one request (``POST`` + ``PUT``) unless ``monolithic`` is False. When the registry, or what stands
    in front of it, does not take it that way, it goes in pieces of ``chunk_size``, which shrink down to ``min_chunk``
    when they are refused as too large (413). ``attempts``: how often in all one upload may be resumed without getting
    any further.
    """

    monolithic: bool = True
    chunk_size: int = 32 * MIB
    min_chunk: int = MIB // 2
    attempts: int = 5


class Mirror(NamedTuple):
    """A pull-through copy of a repository, asked before it. ``settings``: None means the origin's, less credentials."""

    repository: Repository
    settings: Optional["RegistrySettings"] = None


class RegistrySettings(NamedTuple):
    """``credentials`` are asked in order. Times are in seconds.

    ``ca_bundle``: a file or directory of certificates, used instead of the system's. ``client_cert``, ``client_key``:
    PEM files. ``read_timeout``: the longest silence of the server; ``commit_timeout``: the same while it stores an
    uploaded blob; ``minimum_rate``: bytes per second below which an answer that trickles in counts as silence.
    ``connections``: connections kept open to a host (``oci:jobs:transfer``). ``mirrors``: asked in order by pulls, the
    repository itself last. ``allow_http_realm``: the user accepts that credentials go to a token server over http;
    ``http_hosts``: the same for these ``HOST[:PORT]`` only. ``parallel_ranges``: streams for one large blob that is
    saved to a file; 1 unless measured to be slower: on loopback four streams take as long, and a second pass for the
    digest on top.
    """

    credentials: Sequence[CredentialSource] = ()
    verify_tls: bool = True
    ca_bundle: Optional[str] = None
    client_cert: Optional[str] = None
    client_key: Optional[str] = None
    connect_timeout: float = 10.0
    read_timeout: float = 60.0
    commit_timeout: float = 600.0
    minimum_rate: int = 1024
    retry: RetryPolicy = RetryPolicy()
    upload: UploadPolicy = UploadPolicy()
    connections: int = 8
    mirrors: Sequence[Mirror] = ()
    user_agent: str = USER_AGENT
    allow_http_realm: bool = False
    http_hosts: Sequence[str] = ()
    parallel_ranges: int = 1
