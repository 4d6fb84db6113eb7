# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The distribution protocol.

From the bottom up: ``retry``, ``credentials``, ``settings`` (policies and values); ``connections``, ``proxies``,
``transport`` (one request, one answer); ``failures``, ``challenge``, ``tokens``, ``auth``; ``client`` (a request with
authorization, redirects and retries); ``uploads``, ``stream``, ``downloads``, ``manifests`` (the verbs); ``store``
(ContentStore); ``login``, ``probe`` (what the commands ``login`` and ``doctor`` do).
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
