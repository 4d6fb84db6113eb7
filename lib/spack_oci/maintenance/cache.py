# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""A cache as a program has opened it for one of its sub-commands."""

from typing import Any, Optional, Protocol, Sequence, Set

from ..content import ContentStore
from ..content.blob_cache import BlobCache
from ..index.model import PackageIndex
from ..index.update.loop import UpdateSettings
from ..operations.trust.trusted_index import TrustedIndex
from ..operations.trust.write import Written
from ..reference import LayoutDirectory, Location
from ..trust.keys import PublicKey
from ..trust.policy import Policy
from ..trust.signers import Signer
from ..util.progress import Reporter


class Output(Protocol):
    """Messages, as the program prints them; further lines are indented."""

    def info(self, message: str) -> None: ...

    def warn(self, message: str, *lines: str) -> None: ...

    def error(self, message: str, *lines: str) -> None: ...


class Cache(Protocol):
    """What the program was told to work with."""

    @property
    def program(self) -> str:
        """As :class:`~spack_oci.commandline.definitions.Program` has it."""

    @property
    def jobs(self) -> int:
        """Connections."""

    @property
    def out(self) -> Output: ...

    @property
    def url(self) -> str: ...

    @property
    def location(self) -> Location: ...

    def open(self, *, create: bool = False) -> ContentStore:
        """``create``: make a layout directory if there is none. Raises NotFound for one that does not exist."""

    def open_index(self) -> ContentStore:
        """Where its index is."""

    def blobs(self) -> BlobCache:
        """What this machine keeps of blobs."""

    def update_settings(self) -> UpdateSettings: ...

    def reporter(self) -> Reporter: ...

    def matching(self, index: PackageIndex, specs: Sequence[str]) -> Set[str]:
        """DAG hashes of the packages that any of ``specs`` means. Raises NotFound for one that none does."""

    # --- signatures

    def policy(self) -> Policy:
        """What its packages are held to."""

    def known_keys(self) -> Sequence[PublicKey]:
        """Those that the configuration has names for."""

    def trusted_index(self) -> Optional[TrustedIndex]:
        """Who reads its index under the policy; None: nobody has to."""

    def read_key_file(self, path: str) -> bytes: ...

    def signer(self) -> Optional[Signer]:
        """Who signs what is written; None: nobody."""

    def update_after_signing(self, written: Sequence[Written], signer: Signer) -> Any:
        """Have the index hold signatures that were just made, and sign it."""

    def snapshot_statement(self, signer: Signer, name: str) -> Any:
        """How ``signer`` signs a snapshot."""


class Caches(Protocol):
    """All that a user can name."""

    def find(self, word: str, *, writes: bool) -> Cache:
        """Raises ConfigurationError, InvalidReference for what is none."""

    def at(self, location: LayoutDirectory, *, writes: bool) -> Cache:
        """The layout in a directory, perhaps of a bundle."""

    def absolute(self, path: str) -> str:
        """Of a path on the command line."""

    @property
    def cache_root(self) -> str:
        """Where bundles are unpacked."""
