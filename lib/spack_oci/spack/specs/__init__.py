# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""From Spack's specs and recipes to the records of the library, and back."""
