# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Which package a spec means, among those that there are; and why none of them does, or more than one.

What is installed comes first, then the newest version (a release before what is being developed and before a release
candidate, as Spack's concretizer has it), then the best target that this machine has, then its own operating system.
What is still the same in all of that differs in something that only the user can decide.
"""

import difflib
from collections import Counter
from dataclasses import dataclass, field
from typing import AbstractSet, Any, Dict, FrozenSet, Iterable, Iterator, List, Mapping, Sequence, Set, Tuple

from ..errors import Ambiguous, NothingFits
from ..specs.constraints import FLAGS, Constraint, Graph, target_name
from ..specs.targets import rank
from ..specs.versions import Version
from .machine import Machine

#: packages that are named in an error
_SHOWN = 8
_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


@dataclass(frozen=True)
class Candidates:
    """What can be had. ``graph``: nodes by DAG hash, those of dependencies too; ``available``: the packages among them;
    ``installed``: those that are in the store already; ``where``: for errors."""

    graph: Graph
    available: AbstractSet[str]
    installed: AbstractSet[str] = field(default_factory=frozenset)
    where: str = "the cache"

    def nodes(self) -> Iterator[Mapping[str, Any]]:
        for dag_hash in sorted(self.available | self.installed):
            yield self.graph[dag_hash]


def choose(constraint: Constraint, candidates: Candidates, machine: Machine) -> Mapping[str, Any]:
    """The node that a spec means. Raises NothingFits, Ambiguous."""
    matching = [n for n in candidates.nodes() if constraint.matches(n, candidates.graph)]
    if not matching:
        raise no_match(constraint, candidates)
    misfits = {
        n["hash"]: machine.misfit(n, candidates.graph) for n in matching if n["hash"] not in candidates.installed
    }
    fitting = [n for n in matching if misfits.get(n["hash"]) is None]
    if not fitting:
        reasons = Counter(misfit for misfit in misfits.values() if misfit)
        told = [f"{_number(n)} {m.one if n == 1 else m.several}" for m, n in reasons.most_common()]
        raise NothingFits(
            f"{_builds(len(matching), str(constraint))} in {candidates.where}: {'; '.join(told)}",
            remedy="push one that was built on such a machine",
        )
    return _best(constraint, fitting, candidates, machine)


def matching(constraint: Constraint, candidates: Candidates) -> List[Mapping[str, Any]]:
    """All that a spec means, whatever the machine."""
    return [n for n in candidates.nodes() if constraint.matches(n, candidates.graph)]


def _best(
    constraint: Constraint, fitting: Sequence[Mapping[str, Any]], candidates: Candidates, machine: Machine
) -> Mapping[str, Any]:
    def order(node: Mapping[str, Any]) -> Tuple[Any, ...]:
        return (
            node["hash"] in candidates.installed,
            Version.parse(node["version"]).preference,
            rank(target_name(node)),
            node["arch"]["platform_os"] == machine.os,
        )

    top = max(map(order, fitting))
    best = [node for node in fitting if order(node) == top]
    if len(best) == 1:
        return best[0]
    told = [f"/{n['hash'][:7]} ({_difference(n, best, candidates.graph)})" for n in best[:_SHOWN]]
    if len(best) > _SHOWN:
        told.append(f"{len(best) - _SHOWN} more")
    raise Ambiguous(
        f"{constraint} names {_number(len(best))} packages that are as good as each other: {', '.join(told)}",
        remedy=f"say which, e.g. {best[0]['name']}/{best[0]['hash'][:7]}",
    )


def _difference(node: Mapping[str, Any], others: Sequence[Mapping[str, Any]], graph: Graph) -> str:
    """What a package has that not all others have."""
    traits = _traits(node, graph)
    common: FrozenSet[str] = frozenset.intersection(*(_traits(other, graph) for other in others))
    return " ".join(sorted(traits - common)[:6]) or "other dependencies"


def _traits(node: Mapping[str, Any], graph: Graph) -> FrozenSet[str]:
    found: Set[str] = set()
    for name, value in node.get("parameters", {}).items():
        if name in FLAGS:
            found.update(f"{name}={flag}" for flag in value)
        elif isinstance(value, bool):
            found.add(f"{'+' if value else '~'}{name}")
        else:
            found.add(f"{name}={','.join(value) if isinstance(value, list) else value}")
    found.add(f"os={node['arch']['platform_os']}")
    for edge in node.get("dependencies", ()):
        other = graph.get(edge["hash"])
        version = f"@{other['version']}" if other is not None else ""
        direct = {"c", "cxx", "fortran"} & set(edge["parameters"]["virtuals"])
        found.add(f"{'%' if direct else '^'}{edge['name']}{version}")
    return frozenset(found)


def no_match(constraint: Constraint, candidates: Candidates) -> NothingFits:
    """What to tell of a constraint that no candidate satisfies: what was meant, or in what those of its name differ."""
    names, versions = set(), set()
    missing: Dict[str, int] = Counter()
    for node in candidates.nodes():
        names.add(node["name"])
        if constraint.name in (None, node["name"]):
            missing[" and ".join(constraint.mismatches(node, candidates.graph))] += 1
            versions.add(node["version"])
    if not missing:
        close = difflib.get_close_matches(constraint.name or "", names, 3)
        there = f"--allarch {candidates.where}" if "://" in candidates.where else f"--store {candidates.where}"
        remedy = f"did you mean {' or '.join(close)}?" if close else f"see what there is with `spack-oci list {there}`"
        return NothingFits(f"{constraint.name} is not in {candidates.where}", remedy=remedy)
    told = [f"{_number(n)} {'is' if n == 1 else 'are'} not {label}" for label, n in Counter(missing).most_common(4)]
    newest = sorted(versions, key=Version.parse, reverse=True)
    label = constraint.name or "anything"
    return NothingFits(
        f"{constraint} is not in {candidates.where}; {_builds(sum(missing.values()), label)}: {'; '.join(told)}",
        remedy=f"versions that are there: {', '.join(newest[:_SHOWN])}" if constraint.name else "",
    )


def _builds(count: int, label: str) -> str:
    return f"{_number(count)} build{'' if count == 1 else 's'} of {label} {'is' if count == 1 else 'are'} there"


def _number(count: int) -> str:
    return _NUMBERS[count] if count < len(_NUMBERS) else str(count)


def closure(roots: Iterable[str], graph: Graph) -> Tuple[List[Mapping[str, Any]], List[str]]:
    """(nodes that ``roots`` link and run, themselves included, dependencies first; hashes that ``graph`` lacks)."""
    order: List[Mapping[str, Any]] = []
    lacking: List[str] = []
    seen = set()
    pending: List[Tuple[str, bool]] = [(root, False) for root in reversed(list(roots))]
    while pending:
        dag_hash, complete = pending.pop()
        if complete:
            order.append(graph[dag_hash])
        elif dag_hash not in seen:
            seen.add(dag_hash)
            if dag_hash not in graph:
                lacking.append(dag_hash)
                continue
            pending.append((dag_hash, True))
            edges = [
                e["hash"]
                for e in graph[dag_hash].get("dependencies", ())
                if {"link", "run"} & set(e["parameters"]["deptypes"])
            ]
            pending.extend((h, False) for h in reversed(edges) if h not in seen)
    return order, lacking
