# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Scripts whose first line is longer than the system reads, or has the path of a store with a blank in it, where the
system would cut it: they begin with the line of ``STORE/bin/sbang`` instead.

Spack's convention (``spack.hooks.sbang``): the first line becomes ``#!/bin/sh STORE/bin/sbang``, and the long one is
the second, behind what begins a comment in the language of the script.
"""

import os
import re
import stat
from typing import Iterable, List, Optional

from ..util.files import atomic_write, storage_errors

#: characters of a first line that every Linux reads (``BINPRM_BUF_SIZE``), less the end of the line
LIMIT = 127
#: a line longer than this is none that Spack would change
_LONGEST = 4096

_INTERPRETER = re.compile(rb"#![ \t]*([^ \t\0\n]+)")

#: ``bin/sbang``: runs a script by the interpreter that one of its first two lines names
SBANG = r"""#!/bin/sh
# Runs the script that is named first, by the interpreter in one of its first two lines, which may be of any length:
#   #!... (any language)   --!... (lua)   //!... (node)   <?php #!... ?> (php)
# perl and ruby get -x, so that they skip what stands before their own line.
# Words are separated by blanks, of which the path of the store that this file is in may have some itself.

fail() { printf 'sbang: %s\n' "$1" >&2; exit 1; }

[ -n "${1-}" ] || fail "no script is named"
[ -f "$1" ] || fail "$1: no such file"

command_line=
count=0
while [ "$count" -lt 2 ] && { IFS= read -r line || [ -n "$line" ]; }; do
    count=$((count + 1))
    case "$line" in
        '#!/bin/sh '*/sbang) ;;  # the line that leads here
        '#!'*) command_line=${line#??} ;;
        '//!'*|'--!'*) command_line=${line#???} ;;
        '<?php #!'*) command_line=${line#'<?php #!'}; command_line=${command_line%' ?>'} ;;
    esac
done < "$1"

[ -n "$command_line" ] || fail "$1 names no interpreter"

set -f  # words of the line, no patterns
store=${0%/bin/sbang}
first_word=
line=${command_line#"${command_line%%[![:blank:]]*}"}
case "$line" in
    "$store"/*)
        rest=${line#"$store"}
        first_word=$store${rest%%[[:blank:]]*}
        command_line=${rest#"${rest%%[[:blank:]]*}"} ;;
esac
if [ -n "$first_word" ]; then
    program=${first_word##*/}
else
    program=$(set -- $command_line; [ "$1" != /usr/bin/env ] || shift; printf '%s' "${1##*/}")
fi
skip=
case "$program" in
    sbang) fail "the interpreter of $1 is sbang itself" ;;
    perl|ruby) skip=-x ;;
esac
exec ${first_word:+"$first_word"} $command_line $skip "$@"
"""


def shorten_first_lines(prefix: str, programs: Iterable[str], sbang_path: str) -> List[str]:
    """Change those of the ``programs`` below ``prefix`` (see :func:`is_program`) whose first line is too long.

    Paths, also what is returned: those that were changed. Raises StorageError.
    """
    with storage_errors(f"changing first lines of scripts in {prefix}"):
        return [path for path in programs if _shorten(path, sbang_path)]


def is_program(status: os.stat_result) -> bool:
    return stat.S_ISREG(status.st_mode) and bool(status.st_mode & 0o111)


def _shorten(path: str, sbang_path: str) -> bool:
    with open(path, "rb") as file:
        first = file.read(2)
        if first != b"#!":
            return False
        first += file.readline(_LONGEST - 2)
        in_store = _in_store_with_blank(first, sbang_path)
        interpreter = in_store or _interpreter(first)
        is_read = len(first) <= LIMIT and in_store is None
        if is_read or interpreter is None or first.startswith(b"#!/bin/sh " + os.fsencode(sbang_path)):
            return False
        rest = file.read()
    mode = stat.S_IMODE(os.stat(path).st_mode)
    with atomic_write(path, mode=mode, exact=True) as new:
        new.write(b"#!/bin/sh " + os.fsencode(sbang_path) + b"\n" + _second_line(first, interpreter) + rest)
    return True


def _in_store_with_blank(first: bytes, sbang_path: str) -> Optional[bytes]:
    """The interpreter, if it is in the store of this ``sbang``, whose path has a blank (prefix-dev/pixi #1990)."""
    store = os.fsencode(os.path.dirname(os.path.dirname(sbang_path)))
    command = first[2:].lstrip(b" \t")
    if not re.search(rb"[ \t]", store) or not command.startswith(store + b"/"):
        return None
    return store + re.split(rb"[ \t\0\n]", command[len(store) :], maxsplit=1)[0]


def _interpreter(first: bytes) -> Optional[bytes]:
    if not first.endswith(b"\n") and len(first) >= _LONGEST:
        return None
    match = _INTERPRETER.match(first)
    return match[1] if match else None


def _second_line(first: bytes, interpreter: bytes) -> bytes:
    name = interpreter.rpartition(b"/")[2]
    if name in (b"lua", b"luajit"):
        return b"--!" + first[2:]
    if name == b"node":
        return b"//!" + first[2:]
    if name == b"php":
        return b"<?php " + first.rstrip(b"\n") + b" ?>\n"
    return first
