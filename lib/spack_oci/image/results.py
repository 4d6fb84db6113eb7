# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Small results that never become wrong (what C library a layer has), kept as JSON files in a directory."""

import hashlib
import json
import os
from typing import Any, Optional, Protocol

from ..util.files import atomic_write


class Results(Protocol):
    """A ``dict`` will do."""

    def get(self, key: str) -> Optional[Any]: ...

    def __setitem__(self, key: str, value: Any) -> None: ...


class ResultDirectory:
    """Key -> JSON value. Safe for several processes; what cannot be read or written is worked out again."""

    def __init__(self, path: str) -> None:
        self._path = path

    def _file(self, key: str) -> str:
        return os.path.join(self._path, hashlib.sha256(key.encode("utf-8")).hexdigest() + ".json")

    def get(self, key: str) -> Optional[Any]:
        try:
            with open(self._file(key), encoding="utf-8") as f:
                document = json.load(f)
            return document["value"] if document["key"] == key else None
        except (OSError, ValueError, KeyError, TypeError):
            return None  # not there, or damaged

    def __setitem__(self, key: str, value: Any) -> None:
        try:
            os.makedirs(self._path, exist_ok=True)
            with atomic_write(self._file(key)) as f:
                f.write(json.dumps({"key": key, "value": value}).encode("utf-8"))
        except OSError:
            return  # a cache that cannot be written to is no reason to fail
