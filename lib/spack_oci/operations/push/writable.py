# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Whether a push can do anything at all (``push --if-writable``): pipelines of forks have tokens that only read."""

import errno
from typing import Any, Callable, Dict, Optional

from ...content import ChecksWriting
from ...errors import CredentialsNotSet, Forbidden, SpackOciError, StorageError, Unauthorized
from .outcome import PushResult

_NOT_PERMITTED = (errno.EACCES, errno.EPERM, errno.EROFS)


def why_not_writable(open_store: Callable[[], Any]) -> Optional[SpackOciError]:
    """Why the store may not be written to; None if it may. ``open_store`` makes what is not there yet.

    A variable that should hold the credentials and is not set counts: that is what the pipeline of a fork has. What
    says neither, as a registry that is down, is raised: it is no reason to skip.
    """
    try:
        store = open_store()
        if isinstance(store, ChecksWriting):
            store.check_writable()
    except (CredentialsNotSet, Forbidden, Unauthorized) as e:
        return e
    except StorageError as e:
        if e.errno not in _NOT_PERMITTED:
            raise
        return e
    return None


def skipped_line(url: str, reason: SpackOciError) -> str:
    """What to tell, in one line."""
    return f"Nothing is pushed to {url} (--if-writable): {' '.join(reason.message.split())}"


def skipped_document(url: str, reason: SpackOciError) -> Dict[str, Any]:
    """The same for ``--json``."""
    return {"mirror": url, **PushResult([]).to_dict(), "not_installed": [], "not_writable": str(reason)}
