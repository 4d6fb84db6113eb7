# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""``spack oci sign``: which packages of a mirror are signed, and images."""

from typing import List, Sequence

import spack.llnl.util.tty as tty
import spack.mirrors.mirror

from ...content import RepositoryWriter
from ...maintenance.sign import describe_key
from ...operations.images.environment_image import PushedImage
from ...operations.trust.sign import sign_image
from ...package.record import is_package_tag
from ...trust.signers import Signer
from ...util.text import counted
from ..configuration import mirrors
from . import list as catalog


def tags_of(mirror: "spack.mirrors.mirror.Mirror", constraints: Sequence[str]) -> List[str]:
    """The tags of the packages that the constraints mean; without any, of all packages that the mirror has."""
    if not constraints:
        store = mirrors.open_store(mirror, mirrors.PUSH)
        return [tag for tag in store.tags() if is_package_tag(tag)]
    return catalog.tags_of(mirror, constraints)


def sign_images(store: RepositoryWriter, signer: Signer, made: Sequence[PushedImage]) -> None:
    for image in made:
        sign_image(store, signer, image.image, image.index)
    tty.info(f"Signed {counted(len(made), 'image')} with {describe_key(signer.public)}")
