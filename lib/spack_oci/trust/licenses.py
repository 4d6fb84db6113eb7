# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What recipes say of licenses, as SPDX license expressions (SPDX 2.3, annex D).

One recipe in fifty names a license that SPDX's list does not have ("custom", "Public-Domain", "GPLv2"). Such a word
becomes a reference of the document (``LicenseRef-...``), which keeps it, and keeps the document valid.
"""

import functools
import re
from typing import Dict, List, Mapping, NamedTuple, Optional

NOASSERTION = "NOASSERTION"
REFERENCE = "LicenseRef-"

_TOKEN = re.compile(r"[A-Za-z0-9.+-]+|\(|\)|\s+")
_OPERATORS = ("AND", "OR", "WITH")


class License(NamedTuple):
    """``expression``: an SPDX expression, or NOASSERTION; ``references``: those in it -> what the recipe says."""

    expression: str
    references: Mapping[str, str] = {}


def read_license(text: str, package: str) -> License:
    """``package``: whose recipe says ``text``, as "custom" means something else in each."""
    tokens = _TOKEN.findall(text)
    words = [token for token in tokens if token.strip()]
    if not text or "".join(tokens) != text or not _alternates(words):
        return License(NOASSERTION)
    references: Dict[str, str] = {}
    found: List[str] = []
    for position, word in enumerate(words):
        is_exception = position > 0 and words[position - 1] == "WITH"
        known = word if word in (*_OPERATORS, "(", ")") else _canonical(word, is_exception)
        if known is None and is_exception:
            return License(NOASSERTION)
        if known is None:
            known = word if word.startswith(REFERENCE) else f"{REFERENCE}{package}-{word}"
            if not re.fullmatch(r"LicenseRef-[A-Za-z0-9.-]+", known):
                return License(NOASSERTION)
            references[known] = word
        found.append(known)
    return License(" ".join(found).replace("( ", "(").replace(" )", ")"), references)


def _canonical(word: str, is_exception: bool) -> Optional[str]:
    """The identifier as SPDX writes it; None: its list does not have it. A ``+`` stands for later versions."""
    known = _known(is_exception)
    if word.lower() in known:
        return known[word.lower()]
    base = known.get(word[:-1].lower()) if word.endswith("+") and not is_exception else None
    return f"{base}+" if base else None


@functools.cache
def _known(exceptions: bool) -> Mapping[str, str]:
    from . import spdx_license_list as spdx

    return {one.lower(): one for one in (spdx.EXCEPTIONS if exceptions else spdx.LICENSES)}


def _alternates(words: List[str]) -> bool:
    """Operands and operators take turns, WITH has one word on each side, and parentheses close."""
    depth, wants_operand, before = 0, True, ""
    for word in words:
        if word == "(" and wants_operand and before != "WITH":
            depth += 1
        elif word == ")" and not wants_operand and depth:
            depth -= 1
        elif (word in _OPERATORS) != wants_operand and word not in "()":
            if word == "WITH" and before == ")":
                return False
            wants_operand = not wants_operand
        else:
            return False
        before = word
    return depth == 0 and not wants_operand
