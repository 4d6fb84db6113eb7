# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The sub-commands of ``spack oci``, as far as they need Spack."""
