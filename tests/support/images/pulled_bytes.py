# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What a client pulls for an image when it has the one before: how strategies for layers are compared."""

from typing import Sequence, Tuple

from spack_oci.image.layers import Group


def bytes_to_pull(old: Sequence[Group], new: Sequence[Group]) -> int:
    """What a client that has the image of ``old`` pulls for the one of ``new``.

    For clients that look for a layer by its digest, as podman, containerd and Apptainer do. Group layers count as much
    as their members' layers.
    """
    there = {_identity(group) for group in old}
    return sum(member.size for group in new if _identity(group) not in there for member in group)


def bytes_to_pull_by_chain(old: Sequence[Group], new: Sequence[Group]) -> int:
    """The same for Docker's classic store, which uses a layer again only on top of the same layers."""
    shared = 0
    for before, after in zip(old, new):
        if _identity(before) != _identity(after):
            break
        shared += 1
    return sum(member.size for group in new[shared:] for member in group)


def _identity(group: Group) -> Tuple[str, ...]:
    return tuple(member.layer.diff_id for member in group)
