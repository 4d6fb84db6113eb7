# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The order in which an installer takes packages, guessed. A wrong guess costs time, nothing else."""

from collections import defaultdict, deque
from typing import Deque, Dict, Iterable, List, Mapping, Set


def order_of_need(dependencies: Mapping[str, Iterable[str]], newest_first: bool = False) -> List[str]:
    """The keys of ``dependencies``, each after what it depends on.

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
