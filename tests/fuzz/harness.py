# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Fuzzing with a seed and a corpus: inputs are damaged in every way, and what reads them must keep its promises.

A target is a module in ``targets/``: ``material(directory)`` makes valid inputs, ``attempt(data, directory)`` tries one
and returns what is wrong with the outcome, or None; ``TOKENS`` are bytes that mean something in the format; ``damage``
(optional) replaces the general one here. An exception that ``attempt`` lets through is a finding, and so is an input
that takes longer than SLOW. Findings are kept in ``corpus/TARGET/``, whose files are tried first, so that one that was
mended stays mended.
"""

import importlib
import math
import os
import pkgutil
import random
import tempfile
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, List, Optional, Sequence

DIRECTORY = Path(__file__).resolve().parent
CORPUS = DIRECTORY / "corpus"
#: seconds of the processor for one input, of a few kilobytes: those of a clock are the busy machine's
SLOW = 10.0
#: where inputs are written: in memory, if it can be had, since most targets make and remove hundreds of small files
_SCRATCH = next((path for path in ("/dev/shm",) if os.access(path, os.W_OK)), None)


def target_names() -> List[str]:
    return sorted(module.name for module in pkgutil.iter_modules([str(DIRECTORY / "targets")]))


def corpus_of(name: str) -> List[Path]:
    directory = CORPUS / name
    return sorted(directory.iterdir()) if directory.is_dir() else []


@dataclass
class Outcome:
    """``executions``: inputs that were tried, those of the corpus among them; ``findings``: what is wrong, and where
    the input was kept."""

    target: str
    seed: int
    executions: int = 0
    findings: List[str] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.target}: seed {self.seed}, {self.executions} inputs, {len(self.findings)} findings"


def damage(data: bytes, others: Sequence[bytes], tokens: Sequence[bytes], rng: random.Random) -> bytes:
    """Bytes changed, removed, repeated, replaced by tokens or by parts of other inputs; cut short."""
    result = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 3, 8, 30))):
        at = rng.randrange(len(result) + 1)
        length = rng.choice((1, 1, 2, 4, 8, 64))
        kind = rng.randrange(7)
        if kind == 0 and at < len(result):
            result[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        elif kind == 1:
            del result[at : at + length]
        elif kind == 2:
            result[at:at] = bytes(result[at : at + length]) * rng.choice((1, 2, 50))
        elif kind == 3 and tokens:
            token = rng.choice(tokens)
            result[at : at + rng.choice((0, len(token)))] = token
        elif kind == 4:
            other = rng.choice(others)
            start = rng.randrange(len(other) + 1)
            result[at : at + length] = other[start : start + length]
        elif kind == 5:
            result[at : at + length] = bytes(rng.randrange(256) for _ in range(length))
        elif kind == 6 and rng.random() < 0.2:
            del result[at:]
    return bytes(result[: 1 << 20])


def fuzz(name: str, seed: int, *, seconds: float = math.inf, inputs: float = math.inf, keep: bool = True) -> Outcome:
    """For so many seconds of the processor (those of a clock are worth less on a busy machine), or so many inputs
    besides those of the corpus. ``keep``: write findings into the corpus."""
    target = importlib.import_module(f"fuzz.targets.{name}")
    rng = random.Random(seed)
    outcome = Outcome(name, seed)
    with tempfile.TemporaryDirectory(dir=_SCRATCH) as scratch:
        material = target.material(Path(scratch))
        for path in corpus_of(name):
            _try(target, path.read_bytes(), Path(scratch) / "t", outcome, str(path))
        end, last = time.process_time() + seconds, outcome.executions + inputs
        while time.process_time() < end and outcome.executions < last:
            data = rng.choice(material)
            if hasattr(target, "damage"):
                data = target.damage(data, rng)
            else:
                data = damage(data, material, target.TOKENS, rng)
            wrong = _try(target, data, Path(scratch) / "t", outcome, f"input {outcome.executions}")
            if wrong and keep:
                (CORPUS / name).mkdir(parents=True, exist_ok=True)
                (CORPUS / name / f"{seed}-{outcome.executions}").write_bytes(data)
    return outcome


def _try(target: Any, data: bytes, directory: Path, outcome: Outcome, label: str) -> Optional[str]:
    started = time.process_time()
    try:
        wrong = target.attempt(data, directory)
    except Exception:
        wrong = traceback.format_exc()
    took = time.process_time() - started
    if wrong is None and took > SLOW:
        wrong = f"it took {took:.1f} s"
    outcome.executions += 1
    if wrong is not None:
        outcome.findings.append(f"{label} ({len(data)} bytes): {wrong}")
    return wrong
