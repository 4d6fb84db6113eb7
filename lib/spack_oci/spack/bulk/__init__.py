# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Many packages at once: `spack oci install`, and what `spack install` takes from OCI mirrors before Spack's installer
takes the rest."""
