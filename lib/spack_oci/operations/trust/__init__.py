# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Signatures in a store: written when packages are pushed, read and judged before packages are used."""
