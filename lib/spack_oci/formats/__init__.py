# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""File formats that relocation and checks read."""
