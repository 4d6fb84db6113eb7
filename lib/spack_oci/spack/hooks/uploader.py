# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What `spack buildcache push`, autopush and `spack ci` get from Spack's ``make_uploader`` for an OCI mirror."""

import os
from typing import Any, Callable, List, Optional, Sequence, Tuple

import spack.binary_distribution
import spack.error
import spack.mirrors.mirror
import spack.spec

from ...errors import ConfigurationError, SpackOciError
from ...operations.push.outcome import PushResult
from ...reference import is_oci_url
from ...trust.signers import Signer
from .. import compat, indexes
from ..commands import push
from ..commands.image_options import options
from ..configuration import mirrors, settings


def make_uploader(
    original: Callable,
    mirror: "spack.mirrors.mirror.Mirror",
    force: bool = False,
    update_index: bool = False,
    signing_key: Optional[str] = None,
    base_image: Optional[str] = None,
) -> Any:
    """Hook of ``spack.binary_distribution.make_uploader``."""
    if not is_oci_url(mirror.push_url):
        return original(mirror, force, update_index, signing_key, base_image)
    return OciUploader(mirror, force, update_index, base_image, _signer())


#: what `spack buildcache push` was told: a key, "" for the configured one; None: nothing
_asked: List[Optional[str]] = []


def buildcache_push(original: Callable, args: Any) -> Any:
    """Hook of what `spack buildcache push` runs: Spack drops ``--key`` and ``--signed`` for OCI mirrors before it asks
    for an uploader, with a warning."""
    if not is_oci_url(args.mirror.push_url):
        return original(args)
    if args.key or args.signed:
        _asked.append(args.key or "")
    elif args.signed is False:
        _asked.append(None)
    args.key, args.signed = None, False
    try:
        return original(args)
    finally:
        _asked.clear()


def _signer() -> Optional[Signer]:
    """By what the command says, else by oci:signing: nothing of signing is imported where neither names a key."""
    asked = _asked[-1:]
    if asked == [None] or (not asked and not settings.read().signing):
        return None
    from ..configuration import trust

    if not asked:
        return trust.signer()
    if asked[0] and not os.path.exists(asked[0]):
        raise ConfigurationError(
            f"--key {asked[0]} is no file, and packages in OCI mirrors are not signed with GPG keys",
            remedy="name a private key that `spack oci key generate` or `cosign generate-key-pair` wrote",
        )
    return trust.required_signer(asked[0] or None)


class OciUploader(spack.binary_distribution.Uploader):
    """Same interface as Spack's uploaders: a context manager with ``push``, ``push_or_raise`` and ``tag``."""

    def __init__(
        self,
        mirror: "spack.mirrors.mirror.Mirror",
        force: bool,
        update_index: bool,
        base_image: Optional[str],
        signer: Optional[Signer] = None,
    ) -> None:
        super().__init__(mirror, force, update_index)
        self.base_image = base_image
        self.signer = signer
        self.result: Optional[PushResult] = None

    # Spack's own opens a pool of processes and a directory here; the engine has its own
    def __enter__(self) -> "OciUploader":
        return self

    def __exit__(self, *args: Any) -> None:
        pass

    def _request(self, tags: Sequence[str] = ()) -> push.Request:
        wanted = options(base_image=self.base_image, tags=tags)
        return push.Request(
            self.mirror,
            (),
            force=self.force,
            private=True,  # Spack has left out already what may not be redistributed
            update_index=self.update_index,
            read_dependencies=False,  # an autopush of each package would ask for all below it, again and again
            image=wanted,
            signer=self.signer,
        )

    def push(self, specs: List["spack.spec.Spec"]) -> Tuple[List["spack.spec.Spec"], List[Tuple[Any, BaseException]]]:
        """(specs that were there already, [(spec, error)]); never raises for a single package."""
        by_hash = {s.dag_hash(): s for s in specs}
        try:
            store = mirrors.open_store(self.mirror, mirrors.PUSH, create=True)
            self.result = push.push_specs(store, self._request(), specs)
            if self.update_index and self.result.pushed:
                indexes.update_after_push(self.mirror, self.result, self.signer)
        except SpackOciError as e:
            raise compat.OciError(e) from e
        skipped = [by_hash[o.package.dag_hash] for o in self.result.skipped]
        return skipped, [(by_hash[o.package.dag_hash], _spack_error(o.error)) for o in self.result.failed]

    def tag(self, tag: str, roots: List["spack.spec.Spec"]) -> None:
        """An image of several roots and what they need, under a name."""
        try:
            store = mirrors.open_store(self.mirror, mirrors.PUSH, create=True)
            push.tag_images(store, self._request([tag]), roots, self.result.layers if self.result else {})
        except SpackOciError as e:
            raise compat.OciError(e) from e


def _spack_error(error: Optional[BaseException]) -> BaseException:
    """Spack prints a SpackError in one line and anything else with a traceback."""
    if isinstance(error, SpackOciError):
        return compat.OciError(error)
    return error or spack.error.SpackError("unknown error")
