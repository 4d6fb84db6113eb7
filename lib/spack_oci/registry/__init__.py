# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The client of OCI registries: the distribution specification, over HTTP.

- ``http/``: one request and its response. ``transport`` (the protocol, and what speaks it with a ``requests`` session:
  ``pools``, ``session``, ``connections``, ``minimum_rate``, ``tls``, ``proxies``), ``response``, ``fields`` and
  ``urls`` (parsers of what servers send), ``retry`` (policies), ``limiter`` and ``throttled`` (the rate that a host
  allows), ``transport_errors`` and ``response_errors``.
- ``auth/``: who asks. ``challenge``, ``tokens``, ``authorizer``; ``credentials``, ``docker_config``, ``helper``.
- ``client``: a request with authorization, redirects and retries. On it, the verbs: ``existence``, ``uploads``,
  ``stream`` and ``downloads``, ``manifests``.
- ``store``: a repository as a ``ContentStore``. ``settings``: all that can be set.
- ``login``, ``probe``: what the commands ``login`` and ``doctor`` do.
"""

from .auth.credentials import Credentials, CredentialSource, StaticCredentials, VariableCredentials
from .http.retry import RetryPolicy
from .settings import Mirror, RegistrySettings, UploadPolicy
from .store import RegistryStore, open_repository

__all__ = [
    "CredentialSource",
    "Credentials",
    "Mirror",
    "RegistrySettings",
    "RegistryStore",
    "RetryPolicy",
    "StaticCredentials",
    "UploadPolicy",
    "VariableCredentials",
    "open_repository",
]
