# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Microarchitectures: which is better, and which runs here, by ``archspec``, the library of the Spack team.

It is imported when a target is compared: it reads its table of 200 kB, and asks the processor.
"""

from functools import cache
from typing import Any


@cache
def _known(name: str) -> Any:
    import archspec.cpu

    return archspec.cpu.TARGETS.get(name) or archspec.cpu.generic_microarchitecture(name)


def target_in(name: str, wanted: str) -> bool:
    """Whether a target is the wanted one, or in a range (``x86_64_v2:``, ``:zen3``), or one of several (``,``)."""
    return any(_in_range(name, one) for one in wanted.split(","))


def _in_range(name: str, wanted: str) -> bool:
    low, colon, high = wanted.partition(":")
    if not colon:
        return wanted in ("*", name)
    target = _known(name)
    return (not low or target >= _known(low)) and (not high or target <= _known(high))


@cache
def host_target() -> str:
    """Of this machine."""
    import archspec.cpu

    return archspec.cpu.host().name


def family(name: str) -> str:
    """``x86_64``, ``aarch64``, ..."""
    return _known(name).family.name


def runs_on(name: str, host: str) -> bool:
    return bool(_known(name) <= _known(host))


def rank(name: str) -> int:
    """The more, the better a target is among those that run on one machine: the number of its ancestors."""
    return len(_known(name).ancestors)
