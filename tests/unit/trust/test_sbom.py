# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""SPDX documents: valid by the reference implementation, the same bytes again, ids that do not collide."""

import json

import pytest
from spack_oci.trust.cpe import cpe_of
from spack_oci.trust.licenses import read_license
from spack_oci.trust.sbom import RecipeFacts, Source, sbom

A, B, C = ("a" * 32, "b" * 32, "c" * 32)


def node(name, dag_hash, *edges, **more):
    dependencies = [
        {"name": other, "hash": h, "parameters": {"deptypes": list(kinds), "virtuals": []}}
        for other, h, *kinds in edges
    ]
    return {
        "name": name,
        "version": "1.3",
        "hash": dag_hash,
        "namespace": "builtin",
        "dependencies": dependencies,
        **more,
    }


NODES = [
    node("app", A, ("zlib", B, "link"), ("cmake", C, "build"), ("zlib", "d" * 32, "link", "build")),
    node("zlib", B),
    node("zlib", "d" * 32, ("cmake", C, "build", "test")),
    node("cmake", C, external={"path": "/usr"}),
]
FACTS = {
    A: RecipeFacts(
        "Apache-2.0 WITH LLVM-exception",
        "https://app.example",
        (Source("https://app.example/a.tar.gz", "0" * 64),),
    ),
    B: RecipeFacts("Zlib", "", (Source("https://zlib.example/z.tar.gz", "1" * 64),)),
    "d" * 32: RecipeFacts("(MIT OR Apache-2.0)", "", (Source("git+https://github.com/madler/zlib.git@abcdef"),)),
}


def made(roots=(A,), facts=FACTS, **more):
    return json.loads(sbom(roots, NODES, facts, **more))


def relations(document):
    return {(r["spdxElementId"], r["relationshipType"], r["relatedSpdxElement"]) for r in document["relationships"]}


@pytest.mark.parametrize(
    "facts",
    [
        FACTS,
        {},
        {A: RecipeFacts("see COPYING", "no url", (Source("file.tar.gz", "md5"),))},
        {A: RecipeFacts("GPLv2 OR (custom AND MIT)"), B: RecipeFacts("Public-Domain"), C: RecipeFacts("GNU+")},
    ],
)
@pytest.mark.parametrize("roots", [(A,), (B, "d" * 32)])
def test_the_reference_implementation_finds_nothing_wrong(tmp_path, facts, roots):
    parse_anything = pytest.importorskip("spdx_tools.spdx.parser.parse_anything", reason="needs spdx-tools")
    from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

    path = tmp_path / "x.spdx.json"
    path.write_bytes(sbom(roots, NODES, facts))
    document = parse_anything.parse_file(str(path))
    assert [m.validation_message for m in validate_full_spdx_document(document)] == []


def test_the_same_packages_have_the_same_bytes():
    assert sbom([A], NODES, FACTS) == sbom([A], list(reversed(NODES)), dict(reversed(FACTS.items())))


def test_two_builds_of_one_package_have_two_ids():
    document = made()
    ids = [package["SPDXID"] for package in document["packages"]]
    assert len(set(ids)) == len(ids)
    assert {f"SPDXRef-Package-zlib-{B}", f"SPDXRef-Package-zlib-{'d' * 32}"} <= set(ids)


def test_dependencies_say_what_they_are_for():
    app, zlib, other, cmake = (
        f"SPDXRef-Package-{name}" for name in (f"app-{A}", f"zlib-{B}", f"zlib-{'d' * 32}", f"cmake-{C}")
    )
    found = relations(made())
    assert ("SPDXRef-DOCUMENT", "DESCRIBES", app) in found
    assert (app, "DEPENDS_ON", zlib) in found
    assert (app, "DEPENDS_ON", other) in found and (other, "BUILD_DEPENDENCY_OF", app) in found
    assert (cmake, "BUILD_DEPENDENCY_OF", app) in found and (app, "DEPENDS_ON", cmake) not in found
    assert (cmake, "TEST_DEPENDENCY_OF", other) in found
    assert not [one for one in found if one[1] == "CONTAINS"]


def test_sources_have_their_url_and_checksum():
    document = made()
    (source,) = [p for p in document["packages"] if p["SPDXID"] == f"SPDXRef-Source-{'0' * 32}"]
    assert source["downloadLocation"] == "https://app.example/a.tar.gz"
    assert source["checksums"] == [{"algorithm": "SHA256", "checksumValue": "0" * 64}]
    assert (f"SPDXRef-Package-app-{A}", "GENERATED_FROM", source["SPDXID"]) in relations(document)


def test_packages_have_purls_and_what_is_known_of_cpes():
    by_id = {p["SPDXID"]: p for p in made()["packages"]}
    references = {r["referenceLocator"] for r in by_id[f"SPDXRef-Package-zlib-{B}"]["externalRefs"]}
    assert references == {
        f"pkg:spack/builtin/zlib@1.3?hash={B}",
        f"pkg:generic/zlib@1.3?checksum=sha256:{'1' * 64}&download_url=https://zlib.example/z.tar.gz",
        "cpe:2.3:a:zlib:zlib:1.3:*:*:*:*:*:*:*",
    }


def test_a_license_that_the_list_lacks_is_a_reference_that_keeps_the_word():
    document = made(facts={B: RecipeFacts("MIT OR custom"), A: RecipeFacts("custom")})
    declared = {p["name"]: p["licenseDeclared"] for p in document["packages"] if B in p["SPDXID"] or A in p["SPDXID"]}
    assert declared == {"zlib": "MIT OR LicenseRef-zlib-custom", "app": "LicenseRef-app-custom"}
    listed = {one["licenseId"]: one["extractedText"] for one in document["hasExtractedLicensingInfos"]}
    assert set(listed) == {"LicenseRef-app-custom", "LicenseRef-zlib-custom"}
    assert "custom" in listed["LicenseRef-app-custom"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("MIT", "MIT"),
        ("(MIT OR Apache-2.0) AND Zlib", "(MIT OR Apache-2.0) AND Zlib"),
        ("GPL-2.0-or-later WITH GCC-exception-3.1", "GPL-2.0-or-later WITH GCC-exception-3.1"),
        ("gpl-2.0-ONLY", "GPL-2.0-only"),
        ("Apache-1.0+", "Apache-1.0+"),
        ("GPLv2", "LicenseRef-pkg-GPLv2"),
        ("BSD-3-Clause AND Public-Domain", "BSD-3-Clause AND LicenseRef-pkg-Public-Domain"),
        ("LicenseRef-Qt-Commercial OR MIT", "LicenseRef-Qt-Commercial OR MIT"),
        ("GPL-2.0-only WITH OpenSSL-Exception", "NOASSERTION"),
        ("", "NOASSERTION"),
        ("see COPYING", "NOASSERTION"),
        ("MIT AND", "NOASSERTION"),
        ("(MIT", "NOASSERTION"),
        ("MIT, BSD", "NOASSERTION"),
        ("AND", "NOASSERTION"),
        ("GNU+", "NOASSERTION"),
        ("(MIT OR Zlib) WITH GCC-exception-3.1", "NOASSERTION"),
        ("MIT WITH (GCC-exception-3.1)", "NOASSERTION"),
    ],
)
def test_licenses_are_expressions_that_validators_accept(text, expected):
    assert read_license(text, "pkg").expression == expected


@pytest.mark.parametrize(
    ("name", "version", "expected"),
    [
        ("zlib", "1.3.1", "cpe:2.3:a:zlib:zlib:1.3.1:*:*:*:*:*:*:*"),
        ("openssl", "1.1.1w", "cpe:2.3:a:openssl:openssl:1.1.1w:*:*:*:*:*:*:*"),
        ("openssh", "9.3p2", "cpe:2.3:a:openbsd:openssh:9.3:p2:*:*:*:*:*:*"),
        ("node-js", "22.4.0", "cpe:2.3:a:nodejs:node.js:22.4.0:*:*:*:*:*:*:*"),
        ("krb5", "1.21", r"cpe:2.3:a:mit:kerberos_5:1.21:*:*:*:*:*:*:*"),
        ("zlib", "develop", ""),
        ("app", "1.0", ""),
    ],
)
def test_a_cpe_is_there_where_it_is_known_and_not_guessed(name, version, expected):
    assert cpe_of(name, version) == expected
