# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Documents that others write are checked before a key of them is read; errors name the key and show no value."""

import json
import random
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from spack_oci.errors import InvalidContent
from spack_oci.util.plain_schemas import plain_check
from spack_oci.util.resources import read_schema
from spack_oci.util.schemas import validate

SCHEMAS = Path(__file__).resolve().parents[3] / "config_schema" / "documents"
DIGEST = "sha256:" + "a" * 64
DESCRIPTOR = {
    "mediaType": "application/x",
    "digest": DIGEST,
    "size": 5,
    "annotations": {"key": "value"},
    "artifactType": "application/y",
    "platform": {"os": "linux", "architecture": "arm", "variant": "v7", "os.version": "1"},
    "urls": ["https://example.com/layer"],
}
BARE = {"mediaType": "application/x", "digest": DIGEST, "size": 5}

#: schema -> a document in which everything stands that the schema knows, and the keys that it cannot do without
DOCUMENTS = {
    "manifest": (
        {
            "schemaVersion": 2,
            "mediaType": "application/m",
            "config": DESCRIPTOR,
            "layers": [BARE, DESCRIPTOR],
            "annotations": {"key": "value"},
        },
        [("config",), ("layers",), ("config", "digest"), ("layers", 0, "size"), ("layers", 1, "mediaType")],
    ),
    "package-manifest": (
        {"schemaVersion": 2, "mediaType": "application/m", "config": {}, "layers": [{}], "annotations": {}},
        [("config",), ("layers",), ("layers", 0)],
    ),
    "image-index": (
        {
            "schemaVersion": 2,
            "mediaType": "application/m",
            "artifactType": "application/a",
            "manifests": [DESCRIPTOR, BARE],
            "annotations": {"key": "value"},
        },
        [("manifests",), ("manifests", 1, "digest"), ("manifests", 0, "size")],
    ),
    "referrers": (
        {"schemaVersion": 2, "mediaType": "application/m", "manifests": [DESCRIPTOR], "annotations": {"key": "value"}},
        [("manifests", 0, "digest")],
    ),
    "oci-layout": ({"imageLayoutVersion": "1.0.0"}, [("imageLayoutVersion",)]),
    "layout-index": (
        {"schemaVersion": 2, "mediaType": "application/m", "manifests": [], "annotations": {}},
        [],
    ),
    "image-config": (
        {
            "architecture": "arm64",
            "os": "linux",
            "variant": "v8",
            "created": "2020-01-01T00:00:00Z",
            "author": "somebody",
            "rootfs": {"type": "layers", "diff_ids": [DIGEST]},
            "history": [{"created": "x", "author": "x", "created_by": "x", "comment": "x", "empty_layer": True}],
            "config": {
                "User": "nobody",
                "WorkingDir": "/",
                "StopSignal": "SIGTERM",
                "Env": ["PATH=/bin"],
                "Entrypoint": ["/bin/sh"],
                "Cmd": ["-c"],
                "Labels": {"key": "value"},
                "ExposedPorts": {},
                "Volumes": {},
            },
        },
        [("rootfs",), ("rootfs", "diff_ids")],
    ),
    "index-manifest": (
        {
            "schemaVersion": 2,
            "mediaType": "application/m",
            "artifactType": "application/a",
            "config": {},
            "layers": [BARE],
            "annotations": {"org.spack-oci.index.spack": DIGEST, "org.spack-oci.index.database": DIGEST, "other": "x"},
        },
        [("layers",), ("annotations",), ("annotations", "org.spack-oci.index.spack"), ("layers", 0, "digest")],
    ),
    "pin": (
        {"version": 1, "name": "x", "hashes": ["abc"], "by": "x", "at": 1, "until": 2},
        [("version",), ("name",), ("hashes",)],
    ),
    "prune-plan": (
        {"version": 1, "condemned": {"tag": {"manifest": DIGEST, "since": 1}}, "seen": {DIGEST: 1}},
        [("version",), ("condemned",), ("condemned", "tag", "manifest"), ("condemned", "tag", "since")],
    ),
    "package-config": (
        {
            "spec": {"_meta": {}, "nodes": [{}]},
            "buildcache_layout_version": 2,
            "rootfs": {"diff_ids": []},
            "history": [],
            "config": {"Env": ["PATH=/bin"]},
        },
        [("spec",), ("spec", "nodes"), ("spec", "nodes", 0)],
    ),
    "token": ({"token": "a", "access_token": "b", "scope": "c"}, []),
    "tag-list": ({"name": "a/b", "tags": []}, [("tags",)]),
    "docker-config": (
        {
            "auths": {
                "host": {"auth": "a", "username": "b", "password": "c", "identitytoken": "d", "registrytoken": "e"}
            },
            "credHelpers": {"host": "a"},
            "credsStore": "b",
        },
        [],
    ),
}
_WRONG = [5, -1, 1.5, True, "secret", [], ["secret"], {}, {"secret": "secret"}, [[]], "\u00b2", "9" * 5000]


def paths(document, here=()):
    """Where a value stands."""
    inside = document.items() if isinstance(document, dict) else enumerate(document)
    for key, value in inside:
        yield (*here, key)
        if isinstance(value, (dict, list)):
            yield from paths(value, (*here, key))


def at(document, path):
    for key in path:
        document = document[key]
    return document


def broken(schema, count=100):
    """Documents with one value of another type, or without one that is needed. ``(document, path)``."""
    document, needed = DOCUMENTS[schema]
    chance = random.Random(schema)
    # the nodes of a spec are checked by hand
    places = [path for path in paths(document) if "nodes" not in path[:-1]]
    for number in range(count):
        mutant = json.loads(json.dumps(document))
        if needed and number % 5 == 0:
            path = chance.choice(needed)
            del at(mutant, path[:-1])[path[-1]]
            yield mutant, path
            continue
        path = chance.choice(places)
        there = at(document, path)
        # an integer that may be any is only refused where it is none
        others = [v for v in _WRONG if not isinstance(v, type(there)) and not (type(there) is int and v is True)]
        at(mutant, path[:-1])[path[-1]] = chance.choice(others)
        yield mutant, path


def test_every_schema_is_tried_here_and_is_itself_valid():
    assert {path.stem for path in SCHEMAS.glob("*.json")} == set(DOCUMENTS)
    for path in SCHEMAS.glob("*.json"):
        jsonschema.Draft202012Validator.check_schema(read_schema(f"documents/{path.stem}"))


@pytest.mark.parametrize("schema", sorted(DOCUMENTS))
def test_a_sound_document_passes(schema):
    document, _ = DOCUMENTS[schema]
    assert validate(document, schema, "it") is document


@pytest.mark.parametrize("schema", sorted(DOCUMENTS))
def test_a_hundred_broken_documents_are_refused_with_document_and_key(schema):
    for document, path in broken(schema):
        with pytest.raises(InvalidContent) as caught:
            validate(document, schema, "the document")
        message = caught.value.message
        names = [str(key) for key in path if isinstance(key, str)]
        assert message.startswith("the document is not valid: ") and names[0] in message, (message, document)
        assert "secret" not in message and "\u00b2" not in message and len(message) < 300, json.dumps(document)


@pytest.mark.parametrize("schema", sorted(DOCUMENTS))
def test_what_passes_without_a_validator_is_what_the_validator_passes(schema):
    read = read_schema(f"documents/{schema}")
    assert plain_check(read)(DOCUMENTS[schema][0]), "or every command would import the validator"
    for document, _ in broken(schema, 1000):
        assert not plain_check(read)(document), document


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-2, 3) | st.floats(0, 2) | st.sampled_from(["", "a", "sha256"]),
        lambda each: st.lists(each, max_size=3) | st.dictionaries(st.sampled_from("ab"), each, max_size=2),
        max_leaves=5,
    )
)
def test_nothing_passes_that_the_validator_refuses(document):
    """Each keyword, with values of every type; also of a keyword that is not known without a validator."""
    scalar = {"$ref": "#/$defs/scalar"}
    schemas = (
        {"type": ["integer", "null"], "minimum": 0, "maximum": 2},
        {"type": "number"},
        {"type": "object", "required": ["a"], "properties": {"a": scalar}, "additionalProperties": {"const": 1}},
        {"properties": {"a": {"items": scalar, "minItems": 1}}, "propertyNames": {"pattern": "^a"}},
        {"anyOf": [{"const": True}, {"type": "string", "minLength": 1, "pattern": "^sha"}, {"items": {"const": 0}}]},
        {"items": False, "additionalProperties": True},
        {"uniqueItems": True},
    )
    for schema in schemas:
        whole = {**schema, "$defs": {"scalar": {"type": ["boolean", "string"]}}}
        if plain_check(whole)(document):
            jsonschema.Draft202012Validator(whole).validate(document)


@pytest.mark.parametrize("document", [None, [], "text", 5])
def test_a_document_that_is_no_object_is_refused(document):
    with pytest.raises(InvalidContent, match="the document is not valid: it is "):
        validate(document, "manifest", "the document")


def test_what_a_key_is_called_cannot_reach_the_terminal():
    with pytest.raises(InvalidContent) as caught:
        validate({**DOCUMENTS["manifest"][0], "annotations": {"\x1b]52;c;x\x07": 5}}, "manifest", "the document")
    assert "\x1b" not in caught.value.message
