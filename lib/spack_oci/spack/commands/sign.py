# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Which packages of a mirror `spack oci sign` and `verify` look at; signatures of images."""

from typing import List, Optional, Sequence, Tuple

import spack.llnl.util.tty as tty

from ...content import RepositoryWriter
from ...maintenance.sign import describe_key
from ...operations.images.environment_image import PushedImage
from ...operations.trust.sign import sign_image
from ...package.record import is_package_tag
from ...trust.signers import Signer
from ...util.text import counted
from ..configuration import mirror_arguments, mirrors
from . import list as catalog
from .opened import OpenedMirror, find


def packages_to_sign(words: Sequence[str]) -> Tuple[OpenedMirror, List[str]]:
    """``[MIRROR] [SPEC ...]`` -> the mirror, and the tags of its packages that are meant; without a spec, of all."""
    name, constraints = mirror_arguments.split(words, "sign")
    opened = find(name, mirrors.PUSH)
    if constraints:
        return opened, catalog.tags_of(opened.mirror, constraints)
    return opened, [tag for tag in opened.open().tags() if is_package_tag(tag)]


def packages_to_verify(words: Sequence[str]) -> Tuple[OpenedMirror, Optional[List[str]]]:
    """The same for `verify`; without a spec, None."""
    name, constraints = mirror_arguments.split(words, "verify")
    opened = find(name, mirrors.FETCH)
    return opened, catalog.tags_of(opened.mirror, constraints) if constraints else None


def sign_images(store: RepositoryWriter, signer: Signer, made: Sequence[PushedImage]) -> None:
    for image in made:
        sign_image(store, signer, image.image, image.index, image.sbom)
    tty.info(f"Signed {counted(len(made), 'image')} with {describe_key(signer.public)}")
