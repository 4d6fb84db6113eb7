# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""One image copied, in one call."""

from spack_oci.content.copy import GraphCopy


def copy_image(source, destination, reference, **options):
    """The options of :class:`GraphCopy` (``jobs``, ``progress``, ``full``) and of :meth:`GraphCopy.copy`."""
    own = {name: options.pop(name) for name in ("jobs", "progress", "full") if name in options}
    with GraphCopy(source, destination, **own) as copier:
        return copier.copy(reference, **options)
