# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Whether a command printed what the document says: all of it, but for hashes, times, sizes and the platform."""

import difflib
import re
from itertools import groupby
from typing import List

#: what differs from run to run -> what stands for it; in this order
_VARYING = (
    (r"sha256:[0-9a-f]{7,64}", "sha256:DIGEST"),
    (r"(?<![a-z0-9])[a-z2-7]{32}(?![a-z0-9])", "HASH"),
    (r"/[a-z2-7]{7}(?![a-z0-9])", "/HASH"),
    (r"^(\s*)[a-z2-7]{7}(?= \S+@)", r"\1HASH"),
    (r"\b[0-9a-f]{8,64}\b", "HEX"),
    (r"\blinux-[a-z0-9._]+ ?[-/] ?[a-z0-9_]+\b", "PLATFORM"),
    (r"\b(x86_64|aarch64|amd64|arm64)(_v\d)?\b", "MACHINE"),
    (r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d)?)?", "DATE"),
    (r"\b\d+(\.\d+)? ?([kKMG]?i?B(/s)?|m?s|seconds?|bytes|%)(?!\w)", "AMOUNT"),
    (r"^\[ *\d+/\d+\]|^(==> )?\[ *\d+/(\d+)\]", "[I/N]"),
    (r"\ball \d+ active", "all active"),
    (r"\b\d+\.\d+\.\d+(\.dev\d*)?( \([0-9a-f]+\))?", "VERSION"),
)


#: how lines of things begin that are done at the same time
_CONCURRENT = ("[I/N]", "[+]", "==> Tagged oci-")


def normalized(lines: List[str]) -> List[str]:
    """Lines with placeholders; those of things that are done at the same time, in alphabetical order."""
    result = []
    for line in lines:
        for pattern, placeholder in _VARYING:
            line = re.sub(pattern, placeholder, line)
        result.append(re.sub(r" +", " ", line).rstrip())
    ordered: List[str] = []
    for start, group in groupby(result, key=_concurrent):
        ordered += sorted(group, key=str if start else _as_it_is)
    return ordered


def _as_it_is(line: str) -> str:
    return ""


def _concurrent(line: str) -> str:
    return next((start for start in _CONCURRENT if line.startswith(start)), "")


def agree(expected: List[str], printed: List[str]) -> bool:
    """``expected``: the document's lines; ``...`` is any number of lines."""
    pattern = "".join(
        r"(?:.*\n)*?" if line.strip() == "..." else re.escape(line) + r"\n" for line in normalized(expected)
    )
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in normalized(printed))) is not None


def difference(expected: List[str], printed: List[str]) -> str:
    return "\n".join(difflib.unified_diff(expected, printed, "docs/tutorial.md", "printed", lineterm=""))
