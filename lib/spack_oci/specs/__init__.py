# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Concrete specs without a solver: constraints on them, versions and targets in Spack's order, specs as text."""
