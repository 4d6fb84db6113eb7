# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Threads, child processes, cancellation, and locks among processes: nothing else forks or starts a thread."""
