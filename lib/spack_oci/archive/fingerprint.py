# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The state of a prefix without reading its files: two equal states mean that packing would give the same layer."""

import hashlib
import json
import os
import stat
from typing import Any, Mapping, NamedTuple

from .prefix_files import prefix_files, read_error


class PrefixFingerprint(NamedTuple):
    """``fingerprint``: hexadecimal; ``size``: bytes of the regular files."""

    fingerprint: str
    size: int


def prefix_fingerprint(prefix: str, build_info: Mapping[str, Any]) -> PrefixFingerprint:
    """Fingerprint of names, types, sizes, times and inodes below ``prefix``, and of ``build_info``.

    The change time (ctime) is part of it, which no program can set back, so that content replaced under an old
    modification time is noticed. Raises PrefixChanged, StorageError.
    """
    hasher = hashlib.sha256(json.dumps(build_info, sort_keys=True).encode("utf-8"))
    total = 0
    root = os.fsencode(prefix)
    for directory, entries in prefix_files(root):
        lines = [b"d %s" % directory]
        for entry in entries:
            try:
                found = os.lstat(entry.path)
            except OSError as e:
                raise read_error(entry.path, e) from e
            if stat.S_ISREG(found.st_mode):
                total += found.st_size
            lines.append(
                b"%s %o %d %d %d %d %d"
                % (
                    entry.relative,
                    found.st_mode,
                    found.st_size,
                    found.st_mtime_ns,
                    found.st_ctime_ns,
                    found.st_dev,
                    found.st_ino,
                )
            )
        hasher.update(b"\0".join(lines) + b"\n")
    return PrefixFingerprint(hasher.hexdigest(), total)
