# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What is replaced inside Spack: the table, what installs it, and the replacements."""

from .apply import (
    ACTIVE,
    NOT_NEEDED,
    PENDING,
    REFUSED,
    HookStatus,
    checked_statuses,
    enabled,
    install_hooks,
    original_of,
    statuses,
    uninstall_hooks,
)
from .table import HOOKS, Hook

__all__ = [
    "ACTIVE",
    "HOOKS",
    "NOT_NEEDED",
    "PENDING",
    "REFUSED",
    "Hook",
    "HookStatus",
    "checked_statuses",
    "enabled",
    "install_hooks",
    "original_of",
    "statuses",
    "uninstall_hooks",
]
