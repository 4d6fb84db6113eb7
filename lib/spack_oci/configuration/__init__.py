# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The ``oci`` section as values for the library, wherever it was written: Spack's configuration, or a file of ours."""
