# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The newest signed index that this machine has seen of each repository.

A file a repository, in a directory that nothing cleans: who forgets these numbers can be shown an old index again.
"""

import hashlib
import os
from typing import Optional, Tuple

from ...descriptor import canonical_json, parse_json
from ...errors import InvalidContent, StorageError
from ...util.concurrency.locks import locked_if_possible
from ...util.files import atomic_write, storage_errors


class Generations:
    """``directory`` is made with the first number. All methods raise StorageError."""

    def __init__(self, directory: str) -> None:
        self._directory = directory

    def newest(self, repository: str) -> Optional[int]:
        return self._read(repository)[0]

    def signed_at(self, repository: str) -> Optional[int]:
        """When the newest one was signed, seconds since 1970."""
        generation, signed_at = self._read(repository)
        return signed_at or generation  # a generation is hardly anything else, and was all that was remembered once

    def _read(self, repository: str) -> "Tuple[Optional[int], Optional[int]]":
        try:
            with open(self._path(repository), "rb") as f:
                found = parse_json(f.read(), self._path(repository))
        except FileNotFoundError:
            return None, None
        except OSError as e:
            raise StorageError.from_os_error(f"reading what was seen of the index of {repository}", e) from e
        except InvalidContent as e:
            raise StorageError(
                f"what was seen of the index of {repository} is damaged: {e.message}",
                remedy="accept the index that is there now with `spack oci trust accept-older`",
            ) from None
        generation, signed_at = found.get("generation"), found.get("time")
        return generation if isinstance(generation, int) else None, signed_at if isinstance(signed_at, int) else None

    def saw(self, repository: str, generation: int, signed_at: Optional[int] = None) -> None:
        newest = self.newest(repository)
        if newest is not None and newest >= generation:
            return
        with storage_errors(f"remembering the index of {repository}"):
            os.makedirs(self._directory, mode=0o700, exist_ok=True)
            with locked_if_possible(os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)):
                newest = self.newest(repository)  # another process may have seen a newer one meanwhile
                if newest is None or newest < generation:
                    seen = {"repository": repository, "generation": generation, "time": signed_at}
                    with atomic_write(self._path(repository)) as f:
                        f.write(canonical_json({name: value for name, value in seen.items() if value is not None}))

    def forget(self, repository: str) -> bool:
        """False: nothing was remembered."""
        try:
            os.unlink(self._path(repository))
        except FileNotFoundError:
            return False
        except OSError as e:
            raise StorageError.from_os_error(f"forgetting the index of {repository}", e) from e
        return True

    def _path(self, repository: str) -> str:
        return os.path.join(self._directory, hashlib.sha256(repository.encode()).hexdigest()[:20] + ".json")


def generation_name(url: str) -> str:
    """What the index of the store at ``url`` is remembered under: HOST/NAME, or the directory of a layout."""
    return url.partition("://")[2]
