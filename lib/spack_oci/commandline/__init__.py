# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The words and options of sub-commands that both `spack oci` and `spack-oci` have."""
