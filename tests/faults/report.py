#!/usr/bin/env python3
# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`make reliability`: write the table of faults into docs/reliability.md, between its two marks."""

import sys
from pathlib import Path
from typing import List

ROOT = Path(__file__).resolve().parents[2]
if __name__ == "__main__":
    sys.path[:0] = [str(ROOT / "lib"), str(ROOT / "tests")]

from faults.operations import OPERATIONS  # noqa: E402
from faults.table import FAULTS  # noqa: E402

PATH = ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- table of faults -->\n", "<!-- end of the table -->\n"


def table() -> List[str]:
    heads = ["fault", *(operation.title for operation in OPERATIONS)]
    lines = [heads, ["---"] * len(heads)]
    lines += [[fault.title, *(fault.ends(operation) for operation in OPERATIONS)] for fault in FAULTS]
    return [f"| {' | '.join(line)} |" for line in lines]


def document(text: str) -> str:
    """The text with the table as it is now."""
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    return before + BEGIN + "\n".join(["", *table(), "", ""]) + END + after


if __name__ == "__main__":
    PATH.write_text(document(PATH.read_text()))
