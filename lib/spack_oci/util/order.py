# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Orders of a dependency graph in which everything comes after what it depends on.

(The orders of Spack itself, which something depends on to the letter, are those of ``package/runtime_graph.py``.)
"""

from collections import defaultdict, deque
from typing import Deque, Dict, Iterable, List, Mapping, Set


def dependencies_first(dependencies: Mapping[str, Iterable[str]]) -> List[str]:
    """Depth first: each key of ``dependencies`` in the order of the mapping, right after what it needs and what was not
    listed before. Dependencies that are no key are left out; of a cycle, the key that was met first comes last.
    """
    result: List[str] = []
    seen: Set[str] = set()
    for start in dependencies:
        pending = [(start, False)]
        while pending:
            key, done = pending.pop()
            if done:
                result.append(key)
            elif key not in seen:
                seen.add(key)
                pending.append((key, True))
                below = [name for name in dependencies[key] if name in dependencies and name not in seen]
                pending.extend((name, False) for name in reversed(below))
    return result


def installation_order(dependencies: Mapping[str, Iterable[str]], newest_first: bool = False) -> List[str]:
    """The order in which an installer takes the keys of ``dependencies``, guessed. A wrong guess costs time only.

    What can be installed waits in line, first those that depend on nothing, in the order of the mapping; then each
    as soon as the last of its dependencies is installed. ``newest_first``: the one that came last is served first.
    Dependencies that are no key are there already. Keys in a cycle are left out.
    """
    missing: Dict[str, Set[str]] = {key: set(names) & dependencies.keys() for key, names in dependencies.items()}
    dependents: Dict[str, List[str]] = defaultdict(list)
    for key, names in missing.items():
        for name in names:
            dependents[name].append(key)
    ready: Deque[str] = deque(key for key, names in missing.items() if not names)
    result: List[str] = []
    while ready:
        key = ready.pop() if newest_first else ready.popleft()
        result.append(key)
        for dependent in dependents[key]:
            missing[dependent].discard(key)
            if not missing[dependent]:
                ready.append(dependent)
    return result
