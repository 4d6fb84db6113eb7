# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The run environment of installed packages: from their images, merged, and as a script for a shell.

A package's image carries its run environment in ``config.Env`` (docs/format.md): lists of directories, its own and
those of what it needs, in front of what the base image has; and single values. What is below an old prefix of the
package is below its new prefix here. What is not (the base image's ``/usr/bin``) is left to the machine.
"""

import os
import re
import shlex
from dataclasses import dataclass, field
from typing import Dict, Iterable, List, Mapping, Optional, Sequence, Tuple

from ..relocate.build_info import BuildInfo
from ..util.text import presentable

#: what a shell takes for a variable (POSIX, base definitions 3.235). A name stands in scripts without quotes, and an
#: image may be anybody's
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
#: lists that do not end in PATH
_LISTS = re.compile(r"(PATH|PATHS|DIRS|PERL5LIB|R_LIBS|R_LIBS_SITE|CLASSPATH|_LIBS)\Z")
#: the rest of a path behind a prefix that ends with a hash
_HASHED = re.compile(r".*?-([a-z2-7]{32})(/.*)?\Z")
#: directories of the system, in an image's environment by default or because the C library is an external in /usr
_SYSTEM = re.compile(r"/(usr(/local)?/)?(s?bin|lib(64)?|share|include|man)(/|\Z)|/usr/?\Z|/\Z")


@dataclass(frozen=True)
class Change:
    """One variable: ``entries`` that go in front of the list in it, or, if ``separator`` is empty, its one value."""

    name: str
    entries: Tuple[str, ...]
    separator: str = ":"

    def apply(self, old: Optional[str]) -> str:
        if not self.separator:
            return self.entries[0]
        rest = [entry for entry in (old or "").split(self.separator) if entry and entry not in self.entries]
        return self.separator.join([*self.entries, *(rest or self.default)])

    @property
    def default(self) -> Tuple[str, ...]:
        """`man` takes an empty entry for its own directories, and without one looks into no others."""
        return ("",) if self.name == "MANPATH" else ()

    def to_list(self) -> List[object]:
        return [self.name, list(self.entries), self.separator]

    @classmethod
    def from_list(cls, data: Sequence[object]) -> "Change":
        """Raises ValueError or TypeError for what :meth:`to_list` does not make."""
        name, entries, separator = data
        is_one = isinstance(entries, list) and entries and separator in _SEPARATORS
        if not is_one or not is_variable(str(name), "".join(entries)):  # type: ignore[arg-type]
            raise ValueError(f"not a change of a variable: {ascii(data)[:100]}")
        return cls(str(name), tuple(entries), str(separator))  # type: ignore[arg-type]


Changes = Tuple[Change, ...]
#: of lists; none: a single value
_SEPARATORS = (":", ";", "")


def is_variable(name: str, value: str) -> bool:
    """Whether a process can have it in its environment, and a script of a shell set it."""
    return _NAME.match(name) is not None and "\0" not in value


@dataclass(frozen=True)
class PathsHere:
    """Where paths of the machine that built a package are on this one. ``prefixes``: DAG hash -> prefix."""

    info: BuildInfo
    prefixes: Mapping[str, str]
    #: old prefix -> new one
    _here: Mapping[str, str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        known = {old: self.prefixes[h] for h, old in self.info.hash_to_prefix.items() if h in self.prefixes}
        object.__setattr__(self, "_here", known)

    def find(self, path: str) -> Optional[str]:
        """None for what is in no package."""
        if not path.startswith("/"):
            return None
        end = len(path)
        while end > 0:  # an environment of hundreds of packages names thousands of paths
            old = path[:end]
            if old in self._here:
                return self._here[old] + path[end:]
            end = path.rfind("/", 0, end)
        # what is run by what is run is not in that list, but has its hash in its name
        match = _HASHED.match(path) if path.startswith(f"{self.info.store_root}/") else None
        return self.prefixes[match[1]] + (match[2] or "") if match and match[1] in self.prefixes else None


def changes_of_image(entries: Iterable[str], paths: PathsHere, has_base: bool) -> Changes:
    """From ``config.Env`` of a package's image. ``has_base``: single values that name no package may be the base's."""
    found = []
    for entry in entries:
        name, equals, value = entry.partition("=")
        change = _change(name, value, paths, has_base) if equals and is_variable(name, value) else None
        if change is not None:
            found.append(change)
    return tuple(found)


def _change(name: str, value: str, paths: PathsHere, has_base: bool) -> Optional[Change]:
    separator = ";" if ";" in value and name.startswith("LUA_") else ":"
    parts = [part for part in value.split(separator) if part and not _SYSTEM.match(part)]
    if value and not parts:
        return None
    here = [paths.find(part) for part in parts]
    ours = tuple(dict.fromkeys(path for path in here if path is not None))
    if name == "PATH":
        return Change(name, ours) if ours else None
    if has_base and not ours:
        return None
    if len(parts) == 1 and not (ours and _is_list(name, ours[0], paths)):
        return Change(name, (ours[0] if ours else value,), "")
    if not ours:
        return Change(name, (value,), "")
    kept = [path or part for path, part in zip(here, parts) if path or not has_base]
    return Change(name, tuple(dict.fromkeys(kept)), separator)


def _is_list(name: str, path: str, paths: PathsHere) -> bool:
    """``CMAKE_PREFIX_PATH`` is one, ``CUDA_PATH`` is the name of the package's own directory."""
    is_prefix = path.rstrip("/") in paths.prefixes.values()
    return bool(_LISTS.search(name)) and (name.endswith("PREFIX_PATH") or not is_prefix)


@dataclass(frozen=True)
class Merged:
    changes: Changes
    #: variables that two packages set to different values; the first one's is taken
    conflicts: Tuple[str, ...] = ()


def merge(parts: Iterable[Changes]) -> Merged:
    """One environment of several: what comes first is in front."""
    lists: Dict[str, Tuple[List[str], str]] = {}
    conflicts: List[str] = []
    for changes in parts:
        for change in changes:
            known = lists.get(change.name)
            if known is None:
                lists[change.name] = list(change.entries), change.separator
            elif change.separator and known[1]:
                known[0].extend(entry for entry in change.entries if entry not in known[0])
            elif known[0] != list(change.entries):
                conflicts.append(change.name)
    merged = tuple(Change(name, tuple(entries), separator) for name, (entries, separator) in sorted(lists.items()))
    return Merged(merged, tuple(dict.fromkeys(conflicts)))


def environment(changes: Changes, base: Mapping[str, str]) -> Dict[str, str]:
    """``base`` with the changes."""
    result = dict(base)
    for change in changes:
        result[change.name] = change.apply(base.get(change.name))
    return result


SHELLS = ("sh", "fish", "csh")


def shell_of(name: str) -> str:
    """``/bin/zsh`` -> ``sh``: one script serves sh, bash, dash, ksh and zsh."""
    base = os.path.basename(name)
    return "fish" if base == "fish" else "csh" if base in ("csh", "tcsh") else "sh"


def script(changes: Changes, shell: str, label: str) -> str:
    """What a shell of a user reads; ``deactivate`` undoes it. ``label``: named in its first line."""
    head = f"# Made by spack-oci: the run environment of {presentable(label)}. `deactivate` undoes it.\n"
    return head + {"sh": _sh, "fish": _fish, "csh": _csh}[shell](changes)


def _sh(changes: Changes) -> str:
    """Entries are taken out of a list one by one, so that what was added to it meanwhile stays."""
    lines = [
        "if command -v _spack_oci_undo >/dev/null 2>&1; then deactivate; fi",
        "_spack_oci_drop() {  # LIST SEPARATOR ENTRY: sets _spack_oci_list to the list without the entry",
        '    _spack_oci_list="$2$1$2"',
        '    while :; do case "$_spack_oci_list" in',
        '        *"$2$3$2"*) _spack_oci_list="${_spack_oci_list%%"$2$3$2"*}$2${_spack_oci_list#*"$2$3$2"}" ;;',
        "        *) break ;;",
        "    esac; done",
        '    _spack_oci_list="${_spack_oci_list#"$2"}"; _spack_oci_list="${_spack_oci_list%"$2"}"',
        "}",
    ]
    undo: List[str] = []
    for change in changes:
        name = change.name
        lines.append(f'_SPACK_OCI_HAD_{name}="${{{name}+yes}}"')
        if not change.separator:
            lines.append(f'_SPACK_OCI_OLD_{name}="${{{name}-}}"')
            lines.append(f"export {name}={shlex.quote(change.entries[0])}")
            back = f'if [ -n "$_SPACK_OCI_HAD_{name}" ]; then {name}="$_SPACK_OCI_OLD_{name}"; else unset {name}; fi'
            undo += [back, f"unset _SPACK_OCI_HAD_{name} _SPACK_OCI_OLD_{name}"]
            continue
        joined = shlex.quote(change.separator.join(change.entries))
        rest = f"{change.separator}${{{name}-}}" if change.default else f"${{{name}:+{change.separator}${name}}}"
        lines.append(f'export {name}={joined}"{rest}"')
        for entry in change.entries:
            undo.append(
                f'_spack_oci_drop "${{{name}-}}" {shlex.quote(change.separator)} {shlex.quote(entry)}; '
                f'{name}="$_spack_oci_list"'
            )
        undo.append(f'if [ -z "$_SPACK_OCI_HAD_{name}" ] && [ -z "${name}" ]; then unset {name}; fi')
        undo.append(f"unset _SPACK_OCI_HAD_{name}")
    lines += ["_spack_oci_undo() {", *(f"    {line}" for line in undo or [":"]), "}"]
    lines += [
        "deactivate() {",
        "    _spack_oci_undo",
        "    unset -f _spack_oci_undo _spack_oci_drop deactivate; unset _spack_oci_list",
        "    hash -r 2>/dev/null || :",
        "}",
        "hash -r 2>/dev/null || :",
    ]
    return "\n".join(lines) + "\n"


def _fish(changes: Changes) -> str:
    lines = ["functions -q deactivate; and deactivate"]
    undo = []
    for change in changes:
        name, old = change.name, f"_SPACK_OCI_OLD_{change.name}"
        lines.append(f"set -q {name}; and set -g {old} ${name}")
        if change.separator == ":":
            quoted = " ".join(_fish_quote(e) for e in change.entries)
            # `--path`: joined with colons for other programs
            lines.append(f"set -gx --path {name} {quoted} ${name}")
            if change.default:
                lines.append(f"set -q {old}; or set -gx --path {name} ${name} ''")
        else:
            joined = _fish_quote(change.separator.join(change.entries))
            rest = f'(set -q {name}; and echo "{change.separator}${name}")' if change.separator else ""
            lines.append(f"set -gx {name} {joined}{rest}")
        kind = "--path " if change.separator == ":" else ""
        undo.append(f"if set -q {old}; set -gx {kind}{name} ${old}; set -e {old}; else; set -e {name}; end")
    lines += ["function deactivate", *(f"    {line}" for line in undo), "    functions -e deactivate", "end"]
    return "\n".join(lines) + "\n"


def _fish_quote(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _csh(changes: Changes) -> str:
    lines = ["if ( $?_SPACK_OCI_ACTIVE ) then", "    deactivate", "endif", "set _SPACK_OCI_ACTIVE = 1"]
    undo = []
    for change in changes:
        name, old = change.name, f"_SPACK_OCI_OLD_{change.name}"
        value = _csh_quote(change.separator.join(change.entries))
        lines.append(f"if ( $?{name} ) then")
        lines.append(f'    set {old} = "${name}"')
        rest = f'{_csh_quote(change.separator)}"${old}"' if change.separator else ""
        lines.append(f"    setenv {name} {value}{rest}")
        lines += ["else", f"    setenv {name} {value}{change.separator if change.default else ''}", "endif"]
        undo.append(f'test $?{old} = 1 && setenv {name} "${old}"; test $?{old} = 0 && unsetenv {name}; unset {old}')
    undo.append("unset _SPACK_OCI_ACTIVE; unalias deactivate; rehash")
    lines.append("alias deactivate '" + "; ".join(undo).replace("'", "'\\''").replace("!", "\\!") + "'")
    lines.append("rehash")
    return "\n".join(lines) + "\n"


def _csh_quote(text: str) -> str:
    return "'" + text.replace("'", "'\\''").replace("!", "\\!").replace("\n", "\\\n") + "'"
