# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Text for people."""

import re
import textwrap
from typing import Dict, Iterable, List, Optional, Sequence, Tuple

#: what differs between the messages of two packages although their cause is one: digests, hashes, tags, numbers
_PARTICULAR = re.compile(r"[\w.+-]*(?:[0-9a-f]{40,}|\b[a-z0-9]{32}\b)[\w.+-]*|\d+(?:\.\d+)?")


def counted(count: int, noun: str) -> str:
    """``1 package``, ``2 packages``."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def table(rows: Iterable[Sequence[str]], header: Sequence[str] = ()) -> List[str]:
    """Lines with aligned columns."""
    rows = [tuple(str(c) for c in row) for row in ([header, *rows] if header else rows)]
    widths = [max(len(r[i]) for r in rows) for i in range(len(rows[0]))] if rows else []
    return ["  ".join(c.ljust(w) for c, w in zip(row, widths)).rstrip() for row in rows]


#: columns that the last one of a table needs, to be wrapped beside the others and not below them
_READABLE = 30


def wrapped_table(rows: Sequence[Sequence[str]], indent: str, columns: Optional[int]) -> List[str]:
    """As :func:`table`, with text in the last column, which goes on below itself where a line is full.

    ``columns``: of the terminal; None: lines of any length, for a log.
    """
    lines = [indent + line for line in table(rows)]
    if columns is None or not rows:
        return lines
    start = sum(max(len(row[i]) for row in rows) + 2 for i in range(len(rows[0]) - 1))
    hanging = indent + " " * (start if columns - start - len(indent) >= _READABLE else len(indent))
    wrapper = textwrap.TextWrapper(
        columns - 1, subsequent_indent=hanging, break_on_hyphens=False, drop_whitespace=True, replace_whitespace=False
    )
    return [part for line in lines for part in wrapper.wrap(line)]


def presentable(text: str) -> str:
    """What somebody else has sent, on one line and without what a terminal would obey."""
    return " ".join("".join(c if c.isprintable() or c.isspace() else "?" for c in text).split())


def visible(line: str) -> str:
    """What somebody else has written, blanks as they are: nothing in it that a terminal obeys, or draws in another
    order."""
    return line if line.isprintable() else "".join(c if c.isprintable() else "?" for c in line)


def similar(word: str, known: Iterable[str], most: int = 3) -> str:
    """``"one or another"`` of the words that are ``known`` and nearly the same, for a question; empty: none is."""
    import difflib  # 5 ms, which only a mistake costs

    return " or ".join(difflib.get_close_matches(word, sorted(set(known)), most, 0.7))


def elided(items: Sequence[str], keep: int = 5) -> str:
    """``a, b, c, ... (12 more)``."""
    shown = list(items) if len(items) <= keep + 1 else [*items[:keep], f"... ({len(items) - keep} more)"]
    return ", ".join(shown)


def about(subject: str, text: str) -> str:
    """``SUBJECT: text``, once: many errors begin with what they are about."""
    return text if text.startswith(subject) else f"{subject}: {text}"


def by_cause(failures: Sequence[Tuple[str, object]]) -> List[str]:
    """One line for each cause: what it says (of the first that has it) and who else has it.

    ``failures``: (name, error). Causes are the same if their messages are, but for names, digests and numbers.
    """
    groups: Dict[str, List[Tuple[str, str]]] = {}
    for name, error in failures:
        message = str(error)
        groups.setdefault(_PARTICULAR.sub("", message.replace(name, "")), []).append((name, message))
    lines = []
    for group in groups.values():
        names, message = [name for name, _ in group], group[0][1]
        if len(names) > 1:
            lines.append(f"{elided(names)}: {message}")
        else:
            lines.append(message if names[0] in message else f"{names[0]}: {message}")
    return lines
