# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""``index.json`` in the form that we write is read faster, and read as any other is."""

import json
from pathlib import Path
from typing import Any, Dict, List, Optional

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spack_oci.descriptor import OCI_INDEX, OCI_MANIFEST, Descriptor
from spack_oci.errors import InvalidContent, NotFound
from spack_oci.layout import open_layout
from spack_oci.layout.index_json import (
    REF_NAME,
    Index,
    Lookup,
    entries_besides,
    index_json,
    look_up,
    parse_index,
    tag_of,
)
from spack_oci.reference import LayoutDirectory

DIGEST = "sha256:" + "a" * 64


def entry(tag: Optional[str], digest: str = DIGEST, **more: Any) -> Dict[str, Any]:
    found: Dict[str, Any] = {"mediaType": OCI_MANIFEST, "digest": digest, "size": 17}
    if tag is not None:
        found["annotations"] = {REF_NAME: tag}
    return {**found, **more}


def compact(*entries: Dict[str, Any], **members: Any) -> bytes:
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries, **members}
    return json.dumps(document, separators=(",", ":")).encode()


def as_json(index: Index) -> Any:
    return json.loads(json.dumps([index.document, index.tagged], default=dict))


TAGS = st.one_of(st.sampled_from(["a", "a.b", "a-1.0-xyz.spack", 'a","b', "ä", "a b", "a/b"]), st.text(max_size=5))
DIGESTS = st.sampled_from([DIGEST, "sha256:" + "0" * 64, "sha512:" + "0" * 128])
ENTRIES = st.builds(
    lambda tag, digest, more: entry(tag, digest, **more),
    st.one_of(st.none(), TAGS),
    DIGESTS,
    st.sampled_from([{}, {"artifactType": "x/y"}, {"annotations": {"x": "y", REF_NAME: "a"}}, {"size": 0}]),
)
DOCUMENTS = st.builds(
    lambda entries, members: {"schemaVersion": 2, **members, "manifests": entries},
    st.lists(ENTRIES, max_size=6),
    st.sampled_from([{}, {"mediaType": OCI_INDEX}]),
)


@settings(deadline=None)
@given(DOCUMENTS, st.booleans())
def test_it_is_read_as_it_is_with_spaces(document: Dict[str, Any], is_ascii: bool) -> None:
    dense = json.dumps(document, separators=(",", ":"), ensure_ascii=is_ascii).encode("utf-8", "surrogatepass")
    try:
        expected = as_json(parse_index(json.dumps(document, indent=1).encode(), "L"))
    except InvalidContent:
        with pytest.raises(InvalidContent):
            parse_index(dense, "L")
        return
    assert as_json(parse_index(dense, "L")) == expected
    for tag in {tag_of(e) for e in document["manifests"]} | {"absent"}:
        found = look_up(dense, tag) if tag else None
        assert found is None or found.entry == expected[1].get(tag)
    rest = entries_besides(dense, (".spack", "b"))
    listed = [e for e in document["manifests"] if not (tag_of(e) or "").endswith((".spack", "b"))]
    assert rest is None or list(map(dict, rest)) == listed


@pytest.mark.parametrize("cut", [1, 2, 3, 40, 200])
def test_what_is_damaged_is_refused(cut: int) -> None:
    data = compact(entry("a"), entry("b"))
    for damaged in (data[:-cut], data + b"x" * cut, data[:-2] + b"," * cut + b"]}"):
        with pytest.raises(InvalidContent, match=r"index\.json of L"):
            parse_index(damaged, "L")


@pytest.mark.parametrize(
    "other",
    [
        {"mediaType": OCI_MANIFEST, "digest": "md5:1", "size": 1, "annotations": {REF_NAME: "a"}},
        {"mediaType": OCI_MANIFEST, "digest": DIGEST, "size": -1, "annotations": {REF_NAME: "a"}},
        {"mediaType": OCI_MANIFEST, "digest": DIGEST, "size": "1", "annotations": {REF_NAME: "a"}},
        {"mediaType": OCI_MANIFEST, "digest": DIGEST, "size": 10**30, "annotations": {REF_NAME: "a"}},
        {},
    ],
)
def test_an_entry_that_is_no_descriptor_is_named(other: Dict[str, Any]) -> None:
    for data in (compact(entry("b"), other), json.dumps({"schemaVersion": 2, "manifests": [other]}, indent=1).encode()):
        with pytest.raises(InvalidContent, match="no descriptor|layout-index"):
            parse_index(data, "L")


def test_what_is_written_is_what_is_read() -> None:
    signature = entry(None, "sha256:" + "b" * 64, artifactType="x/y")
    data = index_json({"annotations": {"x": "y"}}, [entry("b"), entry("a"), signature, entry('"', size=3)])
    index = parse_index(data, "L")
    assert list(index.tagged) == ['"', "a", "b"]
    assert index_json(index.document, index.document["manifests"]) == data
    assert json.loads(data)["annotations"] == {"x": "y"}


def test_of_two_entries_with_a_tag_the_first_is_found() -> None:
    first, second = entry("a", "sha256:" + "1" * 64), entry("a", "sha256:" + "2" * 64)
    data = compact(first, second)
    assert look_up(data, "a") == Lookup(first)
    # written in another way: to be read as a whole
    assert look_up(compact({**first, "artifactType": "x/y"}, second), "a") is None


def test_an_artifact_is_found_by_its_tag():
    one = {
        "mediaType": OCI_MANIFEST,
        "digest": DIGEST,
        "size": 17,
        "artifactType": "x/y",
        "annotations": {REF_NAME: "a"},
    }
    assert look_up(compact(entry("b"), one, entry("c")), "a") == Lookup(one)


@pytest.mark.parametrize(
    "data",
    [
        compact(entry("b"), annotations={REF_NAME: "a"}),
        compact(entry("b", data=json.dumps({REF_NAME: "a"}, separators=(",", ":")))),
        compact(entry("b", platform={"os": "linux", "x": {REF_NAME: "a"}})),
        json.dumps({"schemaVersion": 2, "manifests": [entry("a")]}).encode(),
        json.dumps([entry("a")], separators=(",", ":")).encode(),
    ],
    ids=["of the index", "in a string", "of a platform", "with spaces", "in another document"],
)
def test_a_name_elsewhere_is_no_tag(data: bytes) -> None:
    assert look_up(data, "a") is None


def test_a_tag_that_is_not_there_is_known_not_to_be_there_unless_it_may_be_escaped():
    assert look_up(compact(entry("b")), "a") == Lookup(None)
    assert look_up(compact(entry("b"), entry('"')), "a") is None
    assert look_up(compact(entry("b")).replace(b'"b"', b'"\\u0061"'), "a") is None
    assert look_up(json.dumps({"schemaVersion": 2, "manifests": [entry("a")]}).encode("utf-16"), "a") is None


@pytest.mark.parametrize("annotations", ["a", {REF_NAME: 5}, 7])
def test_an_entry_with_odd_annotations_is_left_to_who_names_it(annotations: Any) -> None:
    assert entries_besides(compact(entry("a"), {**entry("b"), "annotations": annotations}), ("a",)) is None


class TestOfALargeLayout:
    """One tag is found without a look at the others."""

    @pytest.fixture
    def tags(self) -> List[str]:
        return [f"package-{i}-{i:032}.spack" for i in range(6000)]

    @pytest.fixture
    def directory(self, tmp_path: Path, tags: List[str]) -> Path:
        open_layout(LayoutDirectory(str(tmp_path / "L")), create=True)
        (tmp_path / "L" / "index.json").write_bytes(index_json({}, [entry(tag) for tag in tags]))
        return tmp_path / "L"

    def test_damage_elsewhere_does_not_matter(self, directory: Path, tags: List[str]) -> None:
        path = directory / "index.json"
        path.write_bytes(path.read_bytes()[:-1])
        layout = open_layout(LayoutDirectory(str(directory)))
        assert layout.resolve(tags[77]) == Descriptor(OCI_MANIFEST, DIGEST, 17)
        with pytest.raises(InvalidContent, match="not JSON"):
            list(layout.tags())

    def test_all_are_read_when_many_are_asked_for(self, directory: Path, tags: List[str]) -> None:
        layout = open_layout(LayoutDirectory(str(directory)))
        assert {layout.resolve(tag).digest for tag in tags} == {DIGEST}
        with pytest.raises(NotFound, match="has no tag"):
            layout.resolve("absent")

    def test_a_change_is_seen(self, directory: Path, tags: List[str]) -> None:
        layout = open_layout(LayoutDirectory(str(directory)))
        layout.resolve(tags[0])
        layout.delete_manifest(tags[0])
        with pytest.raises(NotFound):
            layout.resolve(tags[0])
