# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What is replaced inside Spack: the table, and the replacements."""

from .table import HOOKS, Hook, HookStatus, enabled, install_hooks, modules_imported, original_of, statuses

__all__ = ["HOOKS", "Hook", "HookStatus", "enabled", "install_hooks", "modules_imported", "original_of", "statuses"]
