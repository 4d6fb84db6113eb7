# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Bar charts for a terminal."""

import shutil
import sys
from typing import List, Sequence, Tuple

from .text import table

#: eighths of a block
_EIGHTHS = " ▏▎▍▌▋▊▉█"
#: columns of the longest bar, and how few are still a chart
_LONGEST, _SHORTEST = 40, 10


def bar(value: float, largest: float, width: int, ascii_only: bool = False) -> str:
    """``width`` columns for ``largest``; something for everything that is not nothing."""
    if value <= 0 or largest <= 0:
        return ""
    if ascii_only:
        return "#" * max(1, round(width * value / largest))
    eighths = max(1, round(8 * width * value / largest))
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()


def chart(rows: Sequence[Tuple[Sequence[str], float]], header: Sequence[str] = ()) -> List[str]:
    """Lines: the columns of each row, aligned, and a bar for its value, as long as the terminal has room."""
    lines = table([columns for columns, _ in rows], header)
    room = shutil.get_terminal_size().columns - max(map(len, lines), default=0) - 2
    if room < _SHORTEST or not rows:
        return lines
    largest = max(value for _, value in rows)
    ascii_only = "utf" not in (sys.stdout.encoding or "").lower()
    widest = max(map(len, lines))
    bars = [bar(value, largest, min(room, _LONGEST), ascii_only) for _, value in rows]
    if header:
        bars.insert(0, "")
    return [f"{line.ljust(widest)}  {drawn}".rstrip() for line, drawn in zip(lines, bars)]
