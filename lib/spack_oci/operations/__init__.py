# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What a user names: push, install, images, catalog. Plans apart from their execution."""
