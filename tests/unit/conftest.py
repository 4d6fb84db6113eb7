# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""No deadline for properties: on a busy machine, anything may take a second."""

from hypothesis import settings

settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
