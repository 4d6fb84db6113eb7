# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""A software bill of materials of packages, as an SPDX 2.3 document in JSON (https://spdx.github.io/spdx-spec/v2.3/).

A pure function of the spec's nodes and of what the recipes say: the same packages have the same bytes. Ids hold the DAG
hash, so two builds of one package do not collide.
"""

import re
from dataclasses import dataclass, field
from typing import Any, Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Set, Tuple
from urllib.parse import quote

from .. import __version__
from ..descriptor import canonical_json
from .cpe import cpe_of
from .licenses import NOASSERTION, read_license

MEDIA_TYPE = "application/spdx+json"
EPOCH = "1970-01-01T00:00:00Z"

_NAMESPACE = "https://spdx.org/spdxdocs/spack-oci"
_ID_CHARACTER = re.compile(r"[^A-Za-z0-9.-]")
#: download locations that SPDX allows, of those that recipes have
_URL = re.compile(r"(https?|ftp|git(\+[a-z]+)?)://[^\s\"<>\\^`{|}]+\Z")
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")


class Source(NamedTuple):
    """Of a package: where its source code is. ``sha256``: of the archive, where the recipe has it."""

    url: str
    sha256: str = ""


class RecipeFacts(NamedTuple):
    """What a recipe says of a build. ``licenses``: as it says it, or empty."""

    licenses: str = ""
    homepage: str = ""
    sources: Tuple[Source, ...] = ()


#: DAG hash -> what is known
Facts = Mapping[str, RecipeFacts]


@dataclass
class _Builder:
    nodes: Mapping[str, Mapping[str, Any]]
    facts: Facts
    packages: List[Dict[str, Any]] = field(default_factory=list)
    relationships: List[Tuple[str, str, str]] = field(default_factory=list)
    seen: Set[str] = field(default_factory=set)
    #: licenses that SPDX's list does not have -> what a recipe says
    licenses: Dict[str, str] = field(default_factory=dict)

    def add(self, dag_hash: str) -> str:
        """The id of a node, which is described with all that it depends on."""
        identifier = _package_id(self.nodes[dag_hash])
        pending = [dag_hash]
        while pending:
            current = pending.pop()
            if current in self.seen:
                continue
            self.seen.add(current)
            node = self.nodes[current]
            self._describe(node)
            for edge in node.get("dependencies") or ():
                if edge["hash"] in self.nodes:
                    self._relate(node, self.nodes[edge["hash"]], edge)
                    pending.append(edge["hash"])
        return identifier

    def _describe(self, node: Mapping[str, Any]) -> None:
        facts = self.facts.get(node["hash"], RecipeFacts())
        sources = [source for source in facts.sources if _URL.match(source.url)]
        license_ = read_license(facts.licenses, _clean(node["name"]))
        self.licenses.update(license_.references)
        package: Dict[str, Any] = {
            "SPDXID": _package_id(node),
            "name": node["name"],
            "versionInfo": str(node["version"]),
            "supplier": NOASSERTION,
            "downloadLocation": sources[0].url if sources else NOASSERTION,
            "filesAnalyzed": False,
            "licenseConcluded": NOASSERTION,
            "licenseDeclared": license_.expression,
            "copyrightText": NOASSERTION,
            "externalRefs": list(_references(node, sources)),
        }
        if _URL.match(facts.homepage):
            package["homepage"] = facts.homepage
        if node.get("external"):
            package["comment"] = "an external package: provided by the system, not built by Spack"
        self.packages.append(package)
        for source in sources:
            self._add_source(node, source)

    def _add_source(self, node: Mapping[str, Any], source: Source) -> None:
        checked = source.sha256 if _SHA256.match(source.sha256) else ""
        identifier = f"SPDXRef-Source-{checked[:32] or _clean(source.url)[-100:]}"
        if identifier not in self.seen:
            self.seen.add(identifier)
            package: Dict[str, Any] = {
                "SPDXID": identifier,
                "name": source.url.rpartition("/")[2] or node["name"],
                "versionInfo": str(node["version"]),
                "supplier": NOASSERTION,
                "downloadLocation": source.url,
                "filesAnalyzed": False,
                "licenseConcluded": NOASSERTION,
                "licenseDeclared": NOASSERTION,
                "copyrightText": NOASSERTION,
            }
            if checked:
                package["checksums"] = [{"algorithm": "SHA256", "checksumValue": checked}]
            self.packages.append(package)
        self.relationships.append((_package_id(node), "GENERATED_FROM", identifier))

    def _relate(self, node: Mapping[str, Any], other: Mapping[str, Any], edge: Mapping[str, Any]) -> None:
        kinds = set((edge.get("parameters") or {}).get("deptypes") or ())
        if kinds & {"link", "run"}:
            self.relationships.append((_package_id(node), "DEPENDS_ON", _package_id(other)))
        if "build" in kinds:
            self.relationships.append((_package_id(other), "BUILD_DEPENDENCY_OF", _package_id(node)))
        if "test" in kinds:
            self.relationships.append((_package_id(other), "TEST_DEPENDENCY_OF", _package_id(node)))


def sbom(
    roots: Sequence[str],
    nodes: Iterable[Mapping[str, Any]],
    facts: Facts,
    *,
    name: Optional[str] = None,
    created: str = EPOCH,
) -> bytes:
    """The document of the packages with the DAG hashes ``roots``.

    ``nodes``: of a Spack spec (version 5) with all dependencies; ``facts``: as far as they are known; ``name``: of an
    image; default: that of the only root; ``created``: RFC 3339, UTC.
    """
    by_hash = {node["hash"]: node for node in nodes}
    builder = _Builder(by_hash, facts)
    described = [builder.add(dag_hash) for dag_hash in roots]
    root = by_hash[roots[0]]
    name = name or f"{root['name']}-{root['version']}"
    relationships = [("SPDXRef-DOCUMENT", "DESCRIBES", identifier) for identifier in described]
    relationships += sorted(set(builder.relationships))
    return canonical_json(
        {
            "spdxVersion": "SPDX-2.3",
            "dataLicense": "CC0-1.0",
            "SPDXID": "SPDXRef-DOCUMENT",
            "name": name,
            "documentNamespace": f"{_NAMESPACE}/{quote(name, safe='')}-{_identity(roots)}",
            "creationInfo": {"created": created, "creators": [f"Tool: spack-oci-{__version__}"]},
            "documentDescribes": described,
            "packages": sorted(builder.packages, key=lambda package: package["SPDXID"]),
            **({"hasExtractedLicensingInfos": _other_licenses(builder.licenses)} if builder.licenses else {}),
            "relationships": [
                {"spdxElementId": one, "relationshipType": kind, "relatedSpdxElement": other}
                for one, kind, other in relationships
            ],
        }
    )


def _other_licenses(found: Mapping[str, str]) -> List[Dict[str, str]]:
    text = "The license is what the recipe of the package in Spack calls {}; its text is in the source code."
    return [
        {"licenseId": reference, "name": word, "extractedText": text.format(word)}
        for reference, word in sorted(found.items())
    ]


def _identity(roots: Sequence[str]) -> str:
    if len(roots) == 1:
        return roots[0]
    import hashlib

    return hashlib.sha256(" ".join(sorted(roots)).encode()).hexdigest()[:32]


def _package_id(node: Mapping[str, Any]) -> str:
    return f"SPDXRef-Package-{_clean(node['name'])}-{_clean(node['hash'])}"


def _clean(text: str) -> str:
    return _ID_CHARACTER.sub("-", text)


def _references(node: Mapping[str, Any], sources: Sequence[Source]) -> Iterable[Dict[str, str]]:
    for locator in (_purl_of_spack(node), _purl_generic(node, sources)):
        yield {"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": locator}
    cpe = cpe_of(node["name"], str(node["version"]))
    if cpe:
        yield {"referenceCategory": "SECURITY", "referenceType": "cpe23Type", "referenceLocator": cpe}


def _purl_of_spack(node: Mapping[str, Any]) -> str:
    """As it is proposed (package-url/purl-spec #895)."""
    namespace = quote(str(node.get("namespace") or "builtin").replace(".", "/"), safe="/")
    name, version = quote(node["name"], safe=""), quote(str(node["version"]), safe="")
    return f"pkg:spack/{namespace}/{name}@{version}?hash={node['hash']}"


def _purl_generic(node: Mapping[str, Any], sources: Sequence[Source]) -> str:
    purl = f"pkg:generic/{quote(node['name'], safe='')}@{quote(str(node['version']), safe='')}"
    if not sources:
        return purl
    source = sources[0]
    checksum = f"checksum=sha256:{source.sha256}&" if _SHA256.match(source.sha256) else ""
    return f"{purl}?{checksum}download_url={quote(source.url, safe='/:')}"
