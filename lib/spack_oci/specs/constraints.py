# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Specs as a user writes them, and whether a concrete package matches one. No solver: packages exist or they do not.

The language is Spack's (``spack.spec_parser``)::

    hdf5@1.14:+mpi~fortran api=v110 cflags="-O2" target=x86_64_v3: os=debian12 %gcc@12 ^zlib-ng@2.1: /abcdef

``%`` names a direct dependency (since Spack 1.0 a compiler is one), ``^`` any that it links or runs, or a direct one of
any kind; ``%[virtuals=c] gcc`` and ``%c=gcc`` say for what. What Spack knows from its package repository is not known
here: the version of a virtual package, and a virtual as the name of the package itself.
"""

import functools
import re
import shlex
from collections import deque
from dataclasses import dataclass, field, replace
from typing import Any, Dict, FrozenSet, Iterator, List, Mapping, NamedTuple, Optional, Pattern, Tuple

from ..errors import InvalidSpec
from .targets import target_in
from .versions import Version, VersionSet

#: names of compiler flags among the parameters of a node; the other parameters are variants
FLAGS = frozenset(("cflags", "cppflags", "cxxflags", "fflags", "ldflags", "ldlibs"))

#: DAG hash -> node
Graph = Mapping[str, Mapping[str, Any]]

_IDENTIFIER = r"[a-zA-Z_0-9][a-zA-Z_0-9\-]*"
_NAME = r"[a-zA-Z_0-9][a-zA-Z_0-9\-.]*"
_VALUE = r"""(?:[a-zA-Z_0-9\-+*.,:=%^~/\\]+|'(?:[^']|(?<=\\)')*'|"(?:[^"]|(?<=\\)")*")"""
_VERSION = r"=?[a-zA-Z0-9_][a-zA-Z_0-9\-.]*\b"
_RANGE = rf"(?:(?:{_VERSION})?:(?:{_VERSION}(?!\s*=))?|{_VERSION})"
_GIT = r"(?:git\.[a-zA-Z_0-9][a-zA-Z_0-9./\-]*|[A-Fa-f0-9]{40})"
_ASSIGNMENT = rf"(?P<{{0}}virtuals>{_IDENTIFIER}(?:,{_IDENTIFIER})*)=(?P<{{0}}provider>{_NAME})"


@functools.cache
def _token_pattern() -> Pattern[str]:
    """Compiled where a spec is read, which takes 10 ms.

    In this order: what an earlier one takes, a later one does not see (Spack's ``SpecTokens``).
    """
    return re.compile(
        "|".join(
            (
                r"(?P<edge>(?:\^|%%?)\[)",
                rf"(?P<edge_end>\](?:\s*{_ASSIGNMENT.format('edge_')})?)",
                rf"(?P<dependency>(?:\^|%%?)(?:\s*{_ASSIGNMENT.format('')})?)",
                rf"(?P<version>@{_GIT}(?:={_VERSION})?|@\s*{_RANGE}(?:\s*,\s*{_RANGE})*)",
                rf"(?P<switch>(?:\+\+|~~|--|[~+-])\s*{_NAME})",
                rf"(?P<pair>{_NAME}:?==?{_VALUE})",
                rf"(?P<name>{_IDENTIFIER}(?:\.{_IDENTIFIER})*|\*)",
                r"(?P<hash>/[a-zA-Z_0-9]+)",
                r"(?P<space>\s+)",
            )
        )
    )


#: what Spack called some compilers before they were packages
_COMPILERS = {
    "clang": "llvm",
    "oneapi": "intel-oneapi-compilers",
    "rocmcc": "llvm-amdgpu",
    "intel": "intel-oneapi-compilers-classic",
    "arm": "acfl",
}


@dataclass(frozen=True)
class VariantConstraint:
    """``values``: those that the package must have; ``exactly``: and no others; ``everywhere``: in dependencies too."""

    name: str
    #: ``(True,)``, ``(False,)``, or text
    values: Tuple[Any, ...]
    exactly: bool
    everywhere: bool

    def matches(self, value: Any) -> bool:
        """``value``: as a node has it, or None where there is no such variant."""
        if value is None:
            return False
        has = _values(value)
        if self.exactly:
            return has == self.values
        if self.name == "patches":
            return all(any(str(h).startswith(str(v)) for h in has) for v in self.values)
        return all(v in has for v in self.values)

    def __str__(self) -> str:
        if self.values in ((True,), (False,)):
            return ("++" if self.everywhere else "+") + self.name if self.values[0] else f"~{self.name}"
        return f"{self.name}{':' if self.exactly else ''}{'==' if self.everywhere else '='}{','.join(self.values)}"


def _values(value: Any) -> Tuple[Any, ...]:
    if isinstance(value, list):
        return tuple(sorted(set(value))) if len(value) > 1 else tuple(value)
    if str(value).upper() in ("TRUE", "FALSE"):
        return (str(value).upper() == "TRUE",)
    return (value,)


@dataclass(frozen=True)
class Edge:
    """A dependency that is asked for."""

    constraint: "Constraint"
    direct: bool
    virtuals: FrozenSet[str] = frozenset()
    types: FrozenSet[str] = frozenset()

    def __str__(self) -> str:
        return f"{'%' if self.direct else '^'}{self.constraint}"


@dataclass(frozen=True)
class Constraint:
    """A spec that was asked for. None and empty: anything."""

    #: as it was written
    text: str
    name: Optional[str] = None
    namespace: Optional[str] = None
    versions: Optional[VersionSet] = None
    variants: Tuple[VariantConstraint, ...] = ()
    #: (name of the flags, flag)
    flags: Tuple[Tuple[str, str], ...] = ()
    platform: Optional[str] = None
    os: Optional[str] = None
    target: Optional[str] = None
    #: the beginning of a DAG hash
    hash: Optional[str] = None
    dependencies: Tuple[Edge, ...] = ()

    @classmethod
    def parse(cls, text: str) -> "Constraint":
        """One spec. Raises InvalidSpec that says where it stops making sense."""
        found = parse_specs(text)
        if len(found) != 1:
            raise InvalidSpec(f"not one spec but {len(found)}: {text!r}")
        return found[0]

    def __str__(self) -> str:
        return self.text

    def matches(self, node: Mapping[str, Any], graph: Graph) -> bool:
        """``graph``: has all nodes that ``node`` refers to, as far as they are asked for; what it lacks matches
        nothing."""
        return next(self.mismatches(node, graph), None) is None

    def mismatches(self, node: Mapping[str, Any], graph: Graph) -> Iterator[str]:
        """What of this spec a package does not match, as the user wrote it."""
        yield from self.own_mismatches(node)
        everywhere = [v for v in self.variants if v.everywhere]
        if everywhere:
            for other in _closure(node, graph):
                has = other.get("parameters", {})
                yield from (str(v) for v in everywhere if v.name in has and not v.matches(has[v.name]))
        yield from (str(edge) for edge in self.dependencies if not _has_edge(node, edge, graph))

    def own_mismatches(self, node: Mapping[str, Any]) -> Iterator[str]:
        """Without what the spec says about dependencies."""
        if self.name is not None and node["name"] != self.name:
            yield self.name
        if self.hash is not None and not node["hash"].startswith(self.hash):
            yield f"/{self.hash}"
        if self.namespace is not None and node.get("namespace") not in (None, self.namespace):
            yield f"namespace={self.namespace}"
        if self.versions is not None and Version.parse(node["version"]) not in self.versions:
            yield f"@{self.versions}"
        has = node.get("parameters", {})
        for variant in self.variants:
            if not variant.everywhere and not (variant.name not in FLAGS and variant.matches(has.get(variant.name))):
                yield str(variant)
        for name, flag in self.flags:
            if flag not in (has.get(name) or ()):
                yield f"{name}={flag}"
        arch = node["arch"]
        for key, wanted in (("platform", self.platform), ("platform_os", self.os)):
            if wanted is not None and wanted not in ("*", arch[key]):
                yield f"{'os' if key == 'platform_os' else key}={wanted}"
        if self.target is not None and not target_in(target_name(node), self.target):
            yield f"target={self.target}"


def target_name(node: Mapping[str, Any]) -> str:
    """The name of a node's target, which is spelled out where Spack does not know it."""
    target = node["arch"]["target"]
    return target["name"] if isinstance(target, Mapping) else target


class _LinkTo(NamedTuple):
    """An edge of a concrete package."""

    node: Mapping[str, Any]
    virtuals: FrozenSet[str]
    types: FrozenSet[str]


def _links(node: Mapping[str, Any], graph: Graph) -> Iterator[_LinkTo]:
    for edge in node.get("dependencies", ()):
        target = graph.get(edge["hash"])
        if target is not None:
            parameters = edge["parameters"]
            yield _LinkTo(target, frozenset(parameters["virtuals"]), frozenset(parameters["deptypes"]))


def _compiler_of_old_spec(node: Mapping[str, Any]) -> Iterator[_LinkTo]:
    """Before Spack 1.0 the compiler was a note, not a dependency."""
    name, at, version = str((node.get("annotations") or {}).get("compiler") or "").partition("@=")
    if at:
        known = {"name": _COMPILERS.get(name, name), "version": version, "hash": "", "arch": node["arch"]}
        yield _LinkTo(known, frozenset(("c", "cxx", "fortran")), frozenset(("build",)))


def _has_edge(node: Mapping[str, Any], wanted: Edge, graph: Graph) -> bool:
    """First among direct dependencies of all kinds, then, for ``^``, among what those link and run."""
    direct = list(_links(node, graph))
    if any(_link_matches(link, wanted, graph) for link in [*direct, *_compiler_of_old_spec(node)]):
        return True
    if wanted.direct:
        return False
    queue = deque(link for link in direct if link.types & {"link", "run"})
    seen = {link.node["hash"] for link in queue}
    while queue:
        link = queue.popleft()
        if _link_matches(link, wanted, graph):
            return True
        for child in _links(link.node, graph):
            if child.types & {"link", "run"} and child.node["hash"] not in seen:
                seen.add(child.node["hash"])
                queue.append(child)
    return False


def _link_matches(link: _LinkTo, wanted: Edge, graph: Graph) -> bool:
    if not (wanted.virtuals <= link.virtuals and wanted.types <= link.types):
        return False
    constraint = wanted.constraint
    if constraint.name is not None and constraint.name != link.node["name"]:
        # ``^mpi``: of a virtual package, a node does not tell the version
        if constraint.name not in link.virtuals or constraint.versions is not None:
            return False
        return all(_has_edge(link.node, edge, graph) for edge in constraint.dependencies)
    return constraint.matches(link.node, graph)


def _closure(node: Mapping[str, Any], graph: Graph) -> List[Mapping[str, Any]]:
    found = {node["hash"]: node}
    queue = [node]
    while queue:
        for link in _links(queue.pop(), graph):
            if link.node["hash"] not in found:
                found[link.node["hash"]] = link.node
                queue.append(link.node)
    return list(found.values())


def parse_specs(text: str) -> List[Constraint]:
    """All specs of a text, as a command line has them. Raises InvalidSpec."""
    return _Parser(text).specs()


class _Token(NamedTuple):
    kind: str
    text: str
    at: int
    groups: Mapping[str, str]


@dataclass
class _Draft:
    """A node that is being read."""

    start: int
    name: Optional[str] = None
    namespace: Optional[str] = None
    versions: Optional[VersionSet] = None
    variants: Dict[str, VariantConstraint] = field(default_factory=dict)
    flags: List[Tuple[str, str]] = field(default_factory=list)
    architecture: Dict[str, str] = field(default_factory=dict)
    hash: Optional[str] = None
    edges: List[Edge] = field(default_factory=list)

    def finish(self, text: str) -> Constraint:
        return Constraint(
            text,
            self.name,
            self.namespace,
            self.versions,
            tuple(self.variants.values()),
            tuple(self.flags),
            self.architecture.get("platform"),
            self.architecture.get("os"),
            self.architecture.get("target"),
            self.hash,
            tuple(self.edges),
        )


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = deque(self._tokenize())

    def _tokenize(self) -> Iterator[_Token]:
        at = 0
        while at < len(self._text):
            match = _token_pattern().match(self._text, at)
            if match is None:
                raise self._error("unexpected characters", at)
            kind = match.lastgroup or ""  # the group that ends last: not one of those in it
            if kind != "space":
                yield _Token(kind, match.group(), at, {k: v for k, v in match.groupdict().items() if v is not None})
            at = match.end()

    def _error(self, label: str, at: int) -> InvalidSpec:
        shown = self._text[at : at + 20]
        return InvalidSpec(
            f"cannot read the spec {self._text!r}: {label} at {shown!r}",
            remedy="write it as for Spack, e.g. hdf5@1.14:+mpi %gcc ^zlib-ng, and quote it for your shell",
        )

    def _next(self, *kinds: str) -> Optional[_Token]:
        return self._tokens.popleft() if self._tokens and self._tokens[0].kind in kinds else None

    def specs(self) -> List[Constraint]:
        found = []
        while self._tokens:
            found.append(self._spec())
        return found

    def _spec(self) -> Constraint:
        start = self._tokens[0]
        root = self._node()
        #: (draft, where it is attached: None for the root's own)
        current = root
        pending: List[Tuple[_Draft, _Draft, Edge]] = []
        while True:
            token = self._next("edge", "dependency")
            if token is None:
                break
            direct = token.text.startswith("%")
            edge = self._edge(token, direct)
            child = self._node(provider=token.groups.get("provider") or edge[1])
            if child.start < 0:
                raise self._error("a dependency without a name or a constraint", token.at)
            if direct and child.name in _COMPILERS:
                child.name = _COMPILERS[child.name]
            pending.append((current if direct else root, child, edge[0]))
            if not direct:
                current = child
        if root.start < 0 and not pending:
            raise self._error("nothing that a spec begins with", start.at)
        end = self._tokens[0].at if self._tokens else len(self._text)
        # the last first: a dependency's own are complete when it is
        for parent, child, bare in reversed(pending):
            parent.edges.insert(0, replace(bare, constraint=child.finish(self._text_of(child))))
        return root.finish(self._text[start.at : end].strip())

    def _text_of(self, draft: _Draft) -> str:
        """A dependency's part of the text, for messages."""
        rest = self._text[draft.start :]
        match = re.match(r"\S+", rest)
        return match.group() if match else rest

    def _edge(self, token: _Token, direct: bool) -> Tuple[Edge, Optional[str]]:
        """The edge, without what it leads to, and the package that ``]c=gcc`` names."""
        virtuals = set(filter(None, token.groups.get("virtuals", "").split(",")))
        types: set[str] = set()
        provider = None
        while token.kind == "edge":
            inner = self._next("pair", "edge_end")
            if inner is None:
                raise self._error("the attributes of a dependency do not end", token.at)
            if inner.kind == "edge_end":
                virtuals |= set(filter(None, inner.groups.get("edge_virtuals", "").split(",")))
                provider = inner.groups.get("edge_provider")
                break
            name, _, value = inner.text.partition("=")
            words = set(value.strip("'\" ").split(","))
            if name.rstrip(":") == "virtuals":
                virtuals |= words
            elif name.rstrip(":") == "deptypes":
                types |= words
            else:
                raise self._error("an attribute of a dependency that is neither deptypes nor virtuals", inner.at)
        return Edge(Constraint(""), direct, frozenset(virtuals), frozenset(types)), provider

    def _node(self, provider: Optional[str] = None) -> _Draft:
        draft = _Draft(self._tokens[0].at if self._tokens else -1)
        named = _Token("name", provider, draft.start, {}) if provider else self._next("name")
        if named is None and (not self._tokens or self._tokens[0].kind not in ("version", "switch", "pair", "hash")):
            draft.start = -1
            return draft
        draft.start = max(0, named.at if named is not None else draft.start)
        if named is not None and named.text != "*":
            namespace, _, draft.name = named.text.rpartition(".")
            draft.namespace = namespace or None
        while self._tokens:
            if self._tokens[0].kind == "hash" and draft.hash is not None:
                break
            token = self._next("version", "switch", "pair", "hash")
            if token is None:
                break
            getattr(self, f"_{token.kind}")(draft, token)
        return draft

    def _version(self, draft: _Draft, token: _Token) -> None:
        if draft.versions is not None:
            raise self._error("a second version", token.at)
        draft.versions = VersionSet.parse(re.sub(r"\s", "", token.text[1:]))

    def _switch(self, draft: _Draft, token: _Token) -> None:
        everywhere = token.text[:2] in ("++", "~~", "--")
        name = token.text[2 if everywhere else 1 :].strip()
        draft.variants[name] = VariantConstraint(name, (token.text[0] == "+",), True, everywhere)

    def _hash(self, draft: _Draft, token: _Token) -> None:
        draft.hash = token.text[1:]

    def _pair(self, draft: _Draft, token: _Token) -> None:
        match = re.match(rf"({_NAME}?)(:?)(==?)(.*)\Z", token.text, re.DOTALL)
        assert match is not None
        name, exactly, value = match[1], bool(match[2]), _unquoted(match[4])
        everywhere = match[3] == "=="
        if name in ("arch", "architecture"):
            parts = value.split("-")
            for part, text in zip(("platform", "os", "target"), parts if len(parts) == 3 else ("", "", value)):
                if text and text != "None":
                    self._architecture(draft, part, text, token)
        elif name in ("platform", "os", "operating_system", "target"):
            self._architecture(draft, "os" if name == "operating_system" else name, value, token)
        elif name == "namespace":
            draft.namespace = value
        elif name in FLAGS:
            draft.flags.extend((name, flag) for flag in shlex.split(value))
        else:
            draft.variants[name] = _variant(name, value, exactly, everywhere)

    def _architecture(self, draft: _Draft, part: str, value: str, token: _Token) -> None:
        if part in draft.architecture:
            raise self._error(f"a second {part}", token.at)
        draft.architecture[part] = value


def _variant(name: str, value: str, exactly: bool, everywhere: bool) -> VariantConstraint:
    if value.upper() in ("TRUE", "FALSE"):
        return VariantConstraint(name, (value.upper() == "TRUE",), True, everywhere)
    if value == "*":
        return VariantConstraint(name, (), False, everywhere)
    values = value.split(",")
    ordered = tuple(sorted(set(values))) if len(values) > 1 else tuple(values)
    return VariantConstraint(name, ordered, exactly, everywhere)


def _unquoted(text: str) -> str:
    match = re.match(r"(['\"])(.*)\1\Z", text, re.DOTALL)
    return match[2].replace("\\" + match[1], match[1]) if match else text
