# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Which packages share a layer when there are more packages than layers.

Overlay file systems and engines limit the layers of an image: Docker fails at 126, podman 4 at 129. Below the limit
every package is a layer of its own, the very blob that is in the cache. Above it packages are grouped by a strategy:

``size``
    the largest packages stay alone, and the small ones, which cost little to pull again, go together.
``popularity``
    the packages that most others depend on stay alone, since other images have them too.
``volatility``
    packages that change together go together. When a package changes, so do the hashes of all that depend on it; the
    groups minimise the bytes that a client pulls after the update of one package, each being as likely as the other.

A plan depends on nothing but names, dependencies and the order of magnitude of sizes: the same environment gets the
same groups on every machine, and an update of a package leaves the groups of the others as they were.
"""

from dataclasses import dataclass, field
from typing import Callable, Dict, FrozenSet, Iterable, List, Mapping, Sequence, Tuple

from ..errors import ConfigurationError, ImageError
from ..package.record import Layer

#: base and environment layers counted
DEFAULT_MAX_LAYERS = 120


@dataclass(frozen=True)
class Member:
    """A package of an image. ``dependencies``: dag hashes of its direct link and run dependencies in the image."""

    dag_hash: str
    name: str
    layer: Layer = field(repr=False)
    dependencies: FrozenSet[str] = frozenset()
    #: absolute, where its files are in the layer
    prefix: str = ""

    @property
    def size(self) -> int:
        return self.layer.descriptor.size


Group = Tuple[Member, ...]


@dataclass(frozen=True)
class Strategy:
    """``plan``: members (dependencies first) and a number of layers -> groups, at most as many."""

    name: str
    plan: Callable[[Sequence[Member], int], List[Group]] = field(repr=False, compare=False)


def plan_layers(members: Sequence[Member], limit: int, strategy: Strategy) -> List[Group]:
    """Groups of ``members`` (dependencies first), one a layer, at most ``limit``, the most stable at the bottom.

    Docker's classic store pulls again what lies above a changed layer, whatever its digest.
    """
    if limit < 1:
        raise ImageError(
            "the base image leaves no layer for the packages",
            remedy="raise oci:max_layers (Docker runs 125 at most), or squash the base image",
        )
    groups = [(member,) for member in members] if len(members) <= limit else strategy.plan(members, limit)
    graph = _Graph(members)
    return sorted(groups, key=lambda group: (graph.change_count(group), graph.key(group)))


def layers_left(max_layers: int, base_layers: int, others: int) -> int:
    """How many layers are for packages. ``others``: view, lock file. Raises :class:`ImageError` if none is."""
    left = max_layers - base_layers - others
    if left < 1:
        raise ImageError(
            f"the base image has {base_layers} layers, and an image may have {max_layers}",
            remedy="raise oci:max_layers (Docker runs 125 at most), or choose a base image with fewer layers",
        )
    return left


def _by_size(members: Sequence[Member], limit: int) -> List[Group]:
    graph = _Graph(members)
    return _keep_alone(members, limit, key=lambda member: (-graph.magnitude(member), member.name))


def _by_popularity(members: Sequence[Member], limit: int) -> List[Group]:
    graph = _Graph(members)
    return _keep_alone(members, limit, key=lambda member: (-graph.dependents(member), member.name))


def _keep_alone(members: Sequence[Member], limit: int, key: Callable[[Member], tuple]) -> List[Group]:
    """The first ``limit - 1`` by ``key`` alone, the rest in one group."""
    alone = {member.dag_hash for member in sorted(members, key=key)[: limit - 1]}
    rest = tuple(member for member in members if member.dag_hash not in alone)
    return [(member,) for member in members if member.dag_hash in alone] + ([rest] if rest else [])


def _by_volatility(members: Sequence[Member], limit: int) -> List[Group]:
    """Merge the two neighbours whose union costs the least more, until few enough are left.

    Cost of a group: its size times the number of packages whose update changes it. Neighbours in the order of
    volatility: packages far apart in it hardly ever merge well.
    """
    graph = _Graph(members)
    ordered = sorted(members, key=lambda member: (graph.change_count((member,)), member.name, member.dag_hash))
    groups = [_Candidate((member,), graph.closure(member), 2 ** graph.magnitude(member)) for member in ordered]
    # of merging a group with the one behind it
    costs = [left.cost_of_union(right) for left, right in zip(groups, groups[1:])]
    while len(groups) > limit:
        cheapest = costs.index(min(costs))
        groups[cheapest : cheapest + 2] = [groups[cheapest].union(groups[cheapest + 1])]
        del costs[cheapest]
        for index in (cheapest - 1, cheapest):
            if 0 <= index < len(costs):
                costs[index] = groups[index].cost_of_union(groups[index + 1])
    return [candidate.members for candidate in groups]


@dataclass(frozen=True)
class _Candidate:
    members: Group
    #: bit set of the packages whose update changes a member
    causes: int
    size: int

    @property
    def cost(self) -> int:
        return self.size * _bits(self.causes)

    def cost_of_union(self, other: "_Candidate") -> int:
        return (self.size + other.size) * _bits(self.causes | other.causes) - self.cost - other.cost

    def union(self, other: "_Candidate") -> "_Candidate":
        return _Candidate(self.members + other.members, self.causes | other.causes, self.size + other.size)


class _Graph:
    """Who depends on whom, as bit sets over the members."""

    def __init__(self, members: Sequence[Member]) -> None:
        bit = {member.dag_hash: 1 << index for index, member in enumerate(members)}
        if len(bit) != len(members):
            raise ImageError("a package is in the image twice")
        self._closures: Dict[str, int] = {}
        self._dependents: Dict[str, int] = {}
        for member in members:
            closure = bit[member.dag_hash]
            for dependency in member.dependencies & bit.keys():
                closure |= self._closures.get(dependency, 0)
            self._closures[member.dag_hash] = closure
        closures = list(self._closures.values())
        for member in members:
            self._dependents[member.dag_hash] = sum(1 for c in closures if c & bit[member.dag_hash])

    def closure(self, member: Member) -> int:
        """Itself and all that it depends on: an update of any of them changes it."""
        return self._closures[member.dag_hash]

    def change_count(self, group: Iterable[Member]) -> int:
        """Updates of how many packages change the group."""
        causes = 0
        for member in group:
            causes |= self.closure(member)
        return _bits(causes)

    def dependents(self, member: Member) -> int:
        return self._dependents[member.dag_hash]

    def magnitude(self, member: Member) -> int:
        """Logarithm of the size, rounded: a rebuilt package is never exactly as large as before."""
        return member.size.bit_length()

    def key(self, group: Group) -> Tuple[Tuple[str, str], ...]:
        return tuple((member.name, member.dag_hash) for member in group)


def _bits(number: int) -> int:
    return bin(number).count("1")


SIZE = Strategy("size", _by_size)
POPULARITY = Strategy("popularity", _by_popularity)
VOLATILITY = Strategy("volatility", _by_volatility)
STRATEGIES: Mapping[str, Strategy] = {strategy.name: strategy for strategy in (SIZE, POPULARITY, VOLATILITY)}


def strategy_named(name: str) -> Strategy:
    try:
        return STRATEGIES[name]
    except KeyError:
        raise ConfigurationError(
            f"no such layer strategy: {name!r}", remedy=f"choose one of {', '.join(STRATEGIES)}"
        ) from None
