# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What Spack's configuration says: mirrors and where they are, credentials, the ``oci`` section, policies."""
