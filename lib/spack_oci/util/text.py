# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Text for people."""

from typing import Iterable, List, Sequence


def counted(count: int, noun: str) -> str:
    """``1 package``, ``2 packages``."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def table(rows: Iterable[Sequence[str]], header: Sequence[str] = ()) -> List[str]:
    """Lines with aligned columns."""
    rows = [tuple(str(c) for c in row) for row in ([header, *rows] if header else rows)]
    widths = [max(len(r[i]) for r in rows) for i in range(len(rows[0]))] if rows else []
    return ["  ".join(c.ljust(w) for c, w in zip(row, widths)).rstrip() for row in rows]


def elided(items: Sequence[str], keep: int = 5) -> str:
    """``a, b, c, ... (12 more)``."""
    shown = list(items) if len(items) <= keep + 1 else [*items[:keep], f"... ({len(items) - keep} more)"]
    return ", ".join(shown)


def about(subject: str, text: str) -> str:
    """``SUBJECT: text``, once: many errors begin with what they are about."""
    return text if text.startswith(subject) else f"{subject}: {text}"
