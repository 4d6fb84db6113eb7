# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""A whole binary: first the fields of ELF that can be rewritten freely in their place, then every other string.

A string that nothing fits in is a failure only if the running program can see it. In a part of an ELF file that is not
loaded, which is debug information, it is buried.
"""

from typing import Callable, Iterator, List, NamedTuple, Optional, Tuple

from ..formats import elf
from .cstring import SUFFIX_SAFETY, OtherNames, Patch, Unplaced, bury, relocate_strings
from .mapping import Buffer, PathMapping, PrefixMap
from .patchelf import INTERPRETER, RPATH, RUNPATH, Growth

#: files are searched in parts of this size: what a core keeps close to it
CHUNK = 512 << 10

#: (offset, what is to be filled) -> how many bytes were, fewer only at the end of the file
ReadInto = Callable[[int, memoryview], int]


class BinaryChanges(NamedTuple):
    """What to write where, in this order, and what could not be replaced."""

    patches: List[Patch]
    unplaced: List[Unplaced]


def no_other_names(mapped: PathMapping) -> Tuple[bytes, ...]:
    return ()


def relocate_bytes(data: bytes, mapping: PrefixMap, other_names: OtherNames = no_other_names) -> BinaryChanges:
    """The changes for a binary that is in memory."""
    paths = elf.read_paths(lambda offset, length: data[offset : offset + length])
    fields = _field_changes(paths, mapping, other_names)
    done = [(patch.offset, patch.offset + len(patch.data)) for patch in fields.patches]
    strings = relocate_strings(data, mapping, other_names, done)
    return _settle(paths, BinaryChanges(fields.patches + strings.patches, fields.unplaced + strings.unplaced))


def _overlap(mapping: PrefixMap) -> int:
    return mapping.longest + SUFFIX_SAFETY + 1


def relocate_at(
    read_into: ReadInto,
    mapping: PrefixMap,
    other_names: OtherNames = no_other_names,
    part: int = CHUNK,
) -> BinaryChanges:
    """The changes for a binary on disk, which is read in parts of ``part`` bytes."""
    view = memoryview(bytearray(part + _overlap(mapping)))
    filled = first = read_into(0, view)

    def read_at(offset: int, length: int) -> bytes:
        """Most of what describes an ELF file is in its first part; the whole of it if that is all."""
        if offset + length <= first or first < len(view):
            return bytes(view[offset : min(offset + length, first)])
        data = bytearray(length)
        return bytes(data[: read_into(offset, memoryview(data))])

    paths = elf.read_paths(read_at)
    patches, unplaced = _field_changes(paths, mapping, other_names)
    done = [(patch.offset, patch.offset + len(patch.data)) for patch in patches]
    start = 0
    while True:
        at_end = filled < len(view)
        part_done = [(begin - start, end - start) for begin, end in done]
        strings = relocate_strings(view[:filled], mapping, other_names, part_done, None if at_end else part)
        patches += [Patch(start + patch.offset, patch.data) for patch in strings.patches]
        unplaced += [Unplaced(start + u.offset, u.mapped, u.too_long) for u in strings.unplaced]
        if at_end:
            return _settle(paths, BinaryChanges(patches, unplaced))
        start += strings.next_start
        filled = read_into(start, view)


def apply(data: Buffer, patches: List[Patch]) -> bytearray:
    result = bytearray(data)
    for offset, replacement in patches:
        result[offset : offset + len(replacement)] = replacement
    return result


def _settle(paths: elf.ElfPaths, changes: BinaryChanges) -> BinaryChanges:
    """Bury what does not fit where no running program looks."""
    dead = [u for u in changes.unplaced if not paths.is_loaded(u.offset)]
    if not dead:
        return changes
    buried = [Patch(u.offset, bury(u.mapped.old, b"")) for u in dead]
    return BinaryChanges(changes.patches + buried, [u for u in changes.unplaced if paths.is_loaded(u.offset)])


def _field_changes(paths: elf.ElfPaths, mapping: PrefixMap, other_names: OtherNames) -> BinaryChanges:
    changes = BinaryChanges([], [])
    for field, name in ((paths.rpath, RUNPATH if paths.is_runpath else RPATH), (paths.interpreter, INTERPRETER)):
        if field is None:
            continue
        entries = [field.value] if name == INTERPRETER else [entry for entry in field.value.split(b":") if entry]
        found = [mapping.match(entry) for entry in entries]
        changes.unplaced.extend(_lost(field.offset, entries, found, mapping))
        if all(mapped is None or mapped.new == mapped.old for mapped in found):
            continue
        value = _fitting_value(entries, found, len(field.value), other_names)
        if value is None:
            mapped = max((p for p in found if p is not None), key=lambda p: len(p.new) - len(p.old))
            changes.unplaced.append(Unplaced(field.offset, mapped, True, Growth(name, _direct_value(entries, found))))
            # no second complaint about the same bytes
            changes.patches.append(Patch(field.offset, field.value))
        else:
            changes.patches.append(Patch(field.offset, value.ljust(len(field.value), b"\0")))
    return changes


def _lost(
    offset: int, entries: List[bytes], found: List[Optional[PathMapping]], mapping: PrefixMap
) -> Iterator[Unplaced]:
    """The entries in the prefix of a package that the build info names and nobody here knows: not a dead path, as those
    of build dependencies are, but something that the file is linked with."""
    for entry, mapped in zip(entries, found):
        prefix = mapping.unknown_at(entry)
        if mapped is not None and mapped.dag_hash is None and prefix is not None:
            yield Unplaced(offset, mapped, False, became=mapped.new + prefix[len(mapped.old) :])


def _direct_value(entries: List[bytes], mappings: List[Optional[PathMapping]]) -> bytes:
    """The entries under their new prefixes."""
    return b":".join(entry if p is None else p.new + entry[len(p.old) :] for entry, p in zip(entries, mappings))


def _fitting_value(
    entries: List[bytes], mappings: List[Optional[PathMapping]], room: int, other_names: OtherNames
) -> Optional[bytes]:
    """The entries joined by ":", at most ``room`` bytes; None if they do not fit under any of their names.

    Entries grow under their new prefix as long as all fit. Otherwise those that grow take another name, and one that
    has none because it belongs to no package goes: nothing is there.
    """
    value = _direct_value(entries, mappings)
    if len(value) <= room:
        return value
    shortened: List[bytes] = []
    for entry, mapped, renamed in zip(entries, mappings, value.split(b":")):
        if mapped is None or len(renamed) <= len(entry):
            shortened.append(renamed)
        elif mapped.dag_hash is not None:
            names = [mapped.new, *other_names(mapped)]
            shortened.append(min(names, key=len) + entry[len(mapped.old) :])
    value = b":".join(shortened)
    if not value:  # an empty string is a path, too: the current directory
        value = bury(entries[0], None)
    return value if len(value) <= room else None
