# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""An install tree of Spack's without Spack: its layout, its database, its locks, and the specs of what it holds.

Spec documents are dictionaries as Spack writes them (a *node*: ``name``, ``version``, ``arch``, ``parameters``,
``dependencies``, ``hash``, ...), never objects of Spack's.
"""
