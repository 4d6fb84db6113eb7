# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Keys, signatures that cosign verifies, policies, SBOM and provenance: values and decisions, no network."""
