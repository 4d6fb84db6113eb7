# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack-oci`: caches and stores of Spack's without Spack.

An adapter like ``spack/``; neither knows of the other. Importing it is cheap: what
a sub-command needs is imported when it runs.
"""
