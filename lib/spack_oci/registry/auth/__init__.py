# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Who we are to a registry: challenges, tokens, credentials and where they are kept."""
