# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What the rest stands on: files, threads, child processes, cancellation. Knows nothing else of the library."""
