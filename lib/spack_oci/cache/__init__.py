# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The operations that a user names."""
