# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What registries answer to a deletion, and what a prune makes of it: it deletes, or names the refusal and loses
nothing. ``docs/registries.md`` says whose answers they are."""

import json
from dataclasses import dataclass, field
from typing import Any, Dict, Sequence

import pytest
from spack_oci.errors import SpackOciError
from spack_oci.index.condemned import read_plan
from spack_oci.index.update.loop import update_index
from spack_oci.operations.lifecycle.contents import read_contents
from spack_oci.operations.lifecycle.prune import Keep, condemn, delete_condemned, plan_prune
from support.packages.cache_builder import QUICK, node, push_package, sign, tag_of
from support.registries.fault_registry import Fault, fault_registry
from support.registries.registry_cases import store_at

KEPT, FIRST, SECOND = (node(name) for name in ("kept", "doomed-1", "doomed-2"))
FOREVER = 1 << 20


def errors(code, message):
    return json.dumps({"errors": [{"code": code, "message": message}]}).encode()


@dataclass
class Answer:
    """``status``, ``body``: to each DELETE of a manifest, or the ``behaviour`` of the registry; ``deleted``: packages
    that go; ``asked``: requests to delete; ``said``: in the error of those that do not."""

    behaviour: Dict[str, Any] = field(default_factory=dict)
    status: int = 0
    body: bytes = b""
    headers: Dict[str, str] = field(default_factory=dict)
    path: str = "/manifests/"
    deleted: int = 2
    failed: int = 0
    said: Sequence[str] = ()


DISALLOWED = (
    "The operation is disallowed on this registry, repository or image. View troubleshooting steps at "
    "https://aka.ms/acr/faq/#why-does-my-pull-or-push-request-fail-with-disallowed-operation"
)
ANSWERS = {
    # distribution, quay, harbor, acr, gitlab: 202 to the digest; a single tag is another matter
    "quay": Answer({"delete_tags": True}),
    "gitlab": Answer({"delete_tags": True, "referrers": False}),
    "acr": Answer(status=405, body=errors("UNSUPPORTED", "The operation is unsupported."), path="/manifests/doomed"),
    "google": Answer({"delete_tags": True, "keeps_tagged": True}),
    # and where it is refused
    "docker-hub": Answer(
        status=405,
        body=errors("UNSUPPORTED", "The operation is unsupported."),
        deleted=0,
        failed=1,
        said=["405", "does not delete manifests"],
    ),
    "ecr-without-deletion": Answer(
        status=404,
        body=b"404 page not found",
        deleted=0,
        failed=1,
        said=["still there", "--untag"],
    ),
    "ecr-permission": Answer(
        status=403,
        body=errors("DENIED", "User is not authorized to perform: ecr:BatchDeleteImage"),
        deleted=0,
        failed=1,
        said=["ecr:BatchDeleteImage"],
    ),
    "gitlab-job-token": Answer(
        status=401,
        body=errors("UNAUTHORIZED", "authentication required"),
        headers={"WWW-Authenticate": 'Basic realm="x", error="insufficient_scope"'},
        deleted=0,
        failed=1,
        said=["UNAUTHORIZED"],
    ),
    "quay-robot": Answer(
        status=401,
        body=errors("UNAUTHORIZED", "access to the requested resource is not authorized"),
        headers={"WWW-Authenticate": 'Basic realm="x"'},
        deleted=0,
        failed=1,
        said=["not authorized"],
    ),
    "harbor-read-only": Answer(
        status=403,
        body=errors("DENIED", "The system is in read only mode. Any modification is prohibited."),
        deleted=0,
        failed=1,
        said=["read only mode"],
    ),
    # of one package: the others go
    "harbor-immutable": Answer(
        status=412,
        body=errors("PRECONDITION", "the tag is configured as immutable, cannot be deleted"),
        path="FIRST",
        deleted=1,
        failed=1,
        said=["immutable"],
    ),
    "acr-locked": Answer(
        status=405,
        body=errors("UNKNOWN", DISALLOWED),
        path="FIRST",
        deleted=1,
        failed=1,
        said=["disallowed"],
    ),
    "in-an-index": Answer(
        status=409,
        body=errors("MANIFEST_REFERENCED", "manifest is referenced by a manifest list"),
        path="FIRST",
        deleted=1,
        failed=1,
        said=["referenced"],
    ),
}


def prune(store):
    contents = read_contents(store)
    plan = plan_prune(store, contents, Keep(named=frozenset({KEPT["hash"]})))
    result = condemn(store, plan, QUICK)
    return delete_condemned(store, lambda: read_contents(store), result, QUICK, grace=0)


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS.keys())
def test_answers_to_a_deletion(answer):
    with fault_registry(auth="basic", **answer.behaviour) as registry:
        store = store_at(registry)
        for each in (KEPT, FIRST, SECOND):
            push_package(store, [each])
        sign(store, store.resolve(tag_of(SECOND)))
        update_index(store, QUICK)
        path = store.resolve(tag_of(FIRST)).digest if answer.path == "FIRST" else answer.path
        if answer.status:
            registry.faults.append(
                Fault("DELETE", path, status=answer.status, body=answer.body, headers=answer.headers, times=FOREVER)
            )
        result = prune(store)
        assert len(result.deleted) == answer.deleted and len(result.failed) == answer.failed, result
        for error in result.failed.values():
            assert isinstance(error, SpackOciError) and all(word in str(error) for word in answer.said), str(error)
        # what could not be deleted is there, out of the index, and on the plan; a later run goes on
        left = 2 - answer.deleted
        contents = read_contents(store)
        assert len(contents.packages) == 1 + left and set(contents.index.tags) == {tag_of(KEPT)}
        assert len(read_plan(store).condemned) == left
        registry.faults.clear()
        assert len(prune(store).deleted) == left and read_contents(store).packages == {tag_of(KEPT)}
        assert not read_contents(store).attached
