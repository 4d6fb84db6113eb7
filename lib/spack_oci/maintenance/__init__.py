# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What the sub-commands on a cache as a whole do and print, for both programs.

How a cache is named and opened, how specs are read and how messages look is the program's: see :mod:`.cache`.
"""
