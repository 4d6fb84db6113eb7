# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Spec nodes with something changed, the same for the same seed: most are malformed, in all ways that JSON allows."""

import copy
import random
from typing import Any, Dict, Iterator, List, Tuple

from support.packages.cache_builder import dag_hash, node

_ODD: List[Any] = [
    *(None, True, False, 0, 5, -1, 1.5, 10**30, float("nan")),
    *(
        "",
        "*",
        "a",
        "a b c",
        "a,b",
        "a=b",
        "a@1",
        "@",
        ":",
        "1.0:",
        "build",
        "built",
        "all",
        "none",
        "true",
        "²",
        "\ud800",
    ),
    *("x\ny", "git.x", "git.x=1", "=1", "1=2=3", "default_os", "../x", "x" * 300, "%gcc", "a+b", "~x"),
    *([], {}, [[]], [None], [5], ["*"], ["a", 5], ["a", "a"], [{}], {"name": "x"}, {"name": 5}, {"a": {"b": []}}),
]
_MEMBERS = (
    *("versions", "concrete", "compiler", "process_hash", "full_hash", "build_hash", "package_hash", "build_spec"),
    *("dependencies", "patches", "external", "annotations", "propagate", "abstract", "namespace", "parameters", "hash"),
    *("deptypes", "virtuals", "direct", "type", "path", "module", "extra_attributes", "cflags", "ldlibs", "patches"),
)

DEPENDENCIES = [node("compiler", "12.2.0"), node("library", "2.0")]
BUILT = node("built", "1.0")


def base_nodes() -> List[Dict[str, Any]]:
    """Valid nodes that have between them every member that Spack writes."""
    plain = node("plain", dependencies=DEPENDENCIES)
    external = {"path": "/usr", "module": ["mod"], "extra_attributes": {"compilers": {"c": "/usr/bin/gcc"}}}
    rich = {
        **node("rich", "git.main=1.2", dependencies=DEPENDENCIES),
        "arch": {
            "platform": "linux",
            "platform_os": "debian12",
            "target": {"name": "zen3", "vendor": "AMD", "features": ["avx"], "generation": 0, "parents": ["zen2"]},
        },
        "parameters": {"build_system": "cmake", "cuda_arch": ["70", "80"], "cflags": ["-O2"], "shared": True, "n": "5"},
        "propagate": ["shared", "cflags"],
        "abstract": ["cuda_arch"],
        "patches": [dag_hash("patch")],
        "annotations": {"original_specfile_version": 4, "compiler": "gcc@=12.2.0"},
        "build_spec": {"name": "built", "hash": BUILT["hash"]},
    }
    rich["dependencies"][0]["parameters"] = {"deptypes": ["build", "run"], "virtuals": ["c", "cxx"], "direct": True}
    return [plain, node("outside", external=external), rich]


def mutated_nodes(seed: int, count: int) -> Iterator[Dict[str, Any]]:
    chance = random.Random(seed)
    bases = base_nodes()
    for number in range(count):
        result = copy.deepcopy(chance.choice(bases))
        result["hash"] = dag_hash(f"{seed} {number}")
        for _ in range(chance.choice((1, 1, 1, 2, 3))):
            mutate(result, chance)
        yield result


def mutate(root: Dict[str, Any], chance: random.Random) -> None:
    """Change, remove, repeat or add something, anywhere below ``root``; nothing, if there is nothing any more."""
    places = list(_places(root))
    if not places:
        return
    parent, key = chance.choice(places)
    action = chance.randrange(5)
    value = copy.deepcopy(chance.choice(_ODD))
    if action == 0 and isinstance(parent, dict):
        del parent[key]
    elif action == 1 and isinstance(parent, dict):
        parent[chance.choice(_MEMBERS)] = value
    elif action == 2 and isinstance(parent, list):
        parent.insert(key, copy.deepcopy(parent[key]))
    elif action == 3 and isinstance(parent[key], str):
        at = chance.randrange(len(parent[key]) + 1)
        parent[key] = parent[key][:at] + chance.choice(" *@=:,%+~/²\n.-_Aa0") + parent[key][at:]
    else:
        parent[key] = value


def _places(value: Any) -> Iterator[Tuple[Any, Any]]:
    keys: Any = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield value, key
        yield from _places(value[key])
