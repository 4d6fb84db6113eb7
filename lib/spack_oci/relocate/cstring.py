# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Old paths in C strings of a binary: bytes are replaced, none is added or removed.

Linkers let strings share their ends: ``"zlib"`` may be the tail of ``"/opt/zlib"``. So the last bytes of a string
should stay as they are, and a shorter path is padded in front (``/////new``), which names the same file. Spack's rule,
and ours: a path is padded when it is followed by at least seven more characters, or when the last seven characters of
the string stay the same; otherwise, if it becomes more than seven bytes shorter, it is written at the front and ended
with a new NUL, the old tail staying behind it.
"""

from typing import Callable, List, NamedTuple, Optional, Sequence, Tuple

from .mapping import PathMapping, PrefixMap, View
from .patchelf import Growth

#: characters at the end of a string that may be shared with another one
SUFFIX_SAFETY = 7
#: the same for an alias, which ends like the hash that it stands for: no other string ends with part of a hash
ALIAS_SUFFIX = 3


class Patch(NamedTuple):
    offset: int
    data: bytes


class Unplaced(NamedTuple):
    """A path that could not be replaced."""

    offset: int
    mapped: PathMapping
    #: whether a path of the old length or shorter would do; else it has to be shorter by more than SUFFIX_SAFETY
    too_long: bool
    #: set if a tool can make room in the file
    growth: Optional[Growth] = None
    #: set if the path is in the old prefix of a package that is not known here: what that became, perhaps nothing
    became: Optional[bytes] = None


class Strings(NamedTuple):
    patches: List[Patch]
    unplaced: List[Unplaced]
    #: offset at which the next part has to begin
    next_start: int


#: other names, in order of preference, for what an old path becomes; all are tried where ``mapped.new`` does not fit
OtherNames = Callable[[PathMapping], Sequence[bytes]]


def replace(old: bytes, new: bytes, suffix: Optional[bytes]) -> Optional[bytes]:
    """The bytes that take the place of ``old`` and, if any, ``suffix`` and NUL; None if that is impossible.

    ``suffix``: what follows up to the NUL that ends the string; None if that is further away than SUFFIX_SAFETY bytes.
    """
    shorter = len(old) - len(new)
    if shorter < 0:
        return None
    if suffix is None or len(suffix) >= SUFFIX_SAFETY or old[-SUFFIX_SAFETY + len(suffix) :] == _tail(new, suffix):
        return b"/" * shorter + new
    if shorter > SUFFIX_SAFETY:
        return new + suffix + b"\0"
    return None


def _tail(new: bytes, suffix: bytes) -> bytes:
    return new[-SUFFIX_SAFETY + len(suffix) :]


def relocate_strings(
    data: View,
    mapping: PrefixMap,
    other_names: OtherNames = lambda mapped: (),
    done: Sequence[Tuple[int, int]] = (),
    limit: Optional[int] = None,
) -> Strings:
    """Patches for all old paths in ``data``.

    ``done``: (start, end) of parts that were relocated by other means. ``limit``: paths that start there or behind are
    left to the next call; what is between ``limit`` and the end of ``data`` should hold the longest old path and
    SUFFIX_SAFETY + 1 bytes more, unless the file ends there.
    """
    patches: List[Patch] = []
    unplaced: List[Unplaced] = []
    go_on = 0
    for at, mapped in mapping.find(data):
        if at < go_on:
            continue
        if limit is not None and at >= limit:
            break
        end = at + len(mapped.old)
        go_on = end
        if mapped.new != mapped.old and not any(start <= at < stop for start, stop in done):
            suffix = _suffix(data, end)
            replacement = _first_fit(mapped, suffix, other_names)
            if replacement is not None:
                patches.append(Patch(at, replacement))
                go_on = max(end, at + len(replacement))
            elif mapped.dag_hash is None:
                if not _continues(data, end):
                    patches.append(Patch(at, bury(mapped.old, suffix)))
            else:
                unplaced.append(Unplaced(at, mapped, len(mapped.new) > len(mapped.old)))
    return Strings(patches, unplaced, max(go_on, len(data) if limit is None else limit))


def _first_fit(mapped: PathMapping, suffix: Optional[bytes], other_names: OtherNames) -> Optional[bytes]:
    replacement = replace(mapped.old, mapped.new, suffix)
    if replacement is not None:
        return replacement
    for name in other_names(mapped):
        if len(name) <= len(mapped.old) and name[-ALIAS_SUFFIX:] == mapped.old[-ALIAS_SUFFIX:]:
            return b"/" * (len(mapped.old) - len(name)) + name
        replacement = replace(mapped.old, name, suffix)
        if replacement is not None:
            return replacement
    return None


def _suffix(data: View, end: int) -> Optional[bytes]:
    window = bytes(data[end : end + SUFFIX_SAFETY + 1])
    length = window.find(b"\0")
    return None if length < 0 else window[:length]


def _continues(data: View, end: int) -> bool:
    """True if the path component that ends at ``end`` goes on: ``/opt/spack`` in ``/opt/spack-src`` is another path."""
    following = bytes(data[end : end + 1])
    return following.isalnum() or following in (b"_", b"-", b".", b"+", b"@", b"~")


def bury(old: bytes, suffix: Optional[bytes]) -> bytes:
    """A path as long as ``old`` that cannot exist unless root makes it: ``/---/...``.

    For a path under the old root that belongs to no package (a build directory, a build tool), where the new root does
    not fit. What other strings may share is kept, as far as something is left to change.
    """
    kept = 0 if suffix is None else max(0, SUFFIX_SAFETY - len(suffix))
    kept = min(kept, len(old) - 2)
    changed = len(old) - kept
    return b"/" + b"-" * (changed - 1) + old[changed:]
