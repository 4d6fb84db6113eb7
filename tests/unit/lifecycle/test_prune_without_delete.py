# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Pruning where the registry itself deletes nothing: by GitHub's REST API, and by moving tags away."""

import json

import pytest
from spack_oci.descriptor import parse_json
from spack_oci.errors import ConfigurationError, InvalidContent, NotFound, RateLimited, Unauthorized, UnexpectedResponse
from spack_oci.index.condemned import read_plan
from spack_oci.index.update.loop import update_index
from spack_oci.operations.check.findings import Level
from spack_oci.operations.check.verify import verify_cache
from spack_oci.operations.lifecycle.contents import read_contents
from spack_oci.operations.lifecycle.prune import Keep, condemn, delete_condemned, plan_prune
from spack_oci.operations.lifecycle.untag import REMOVED_TYPE
from spack_oci.reference import Repository
from spack_oci.registry import RegistrySettings, RetryPolicy
from spack_oci.registry.github import GithubDeletion, GithubPackages
from spack_oci.registry.store import transport_for
from support.memory_store import MemoryStore
from support.packages.cache_builder import QUICK, node, push_package, sign, tag_of
from support.registries.github_api import github_api

NODES = [node(f"n{number}") for number in range(8)]
KEPT, *DOOMED = NODES
REPOSITORY = Repository("ghcr.io", "org/team/cache")


@pytest.fixture
def store():
    store = MemoryStore("oci://ghcr.io/org/team/cache")
    for each in NODES:
        push_package(store, [each])
    sign(store, store.resolve(tag_of(DOOMED[0])))
    update_index(store, QUICK)
    store.fail("delete_manifest", UnexpectedResponse("the registry answered 405", status=405))
    return store


def versions(store):
    found = {digest: [] for digest in store.manifests}
    for tag, digest in store.tagged.items():
        found[digest].append(tag)
    return found


def forget(store, digest):
    """As GitHub does: a version, and all its tags."""
    del store.manifests[digest]
    store.tagged = {tag: d for tag, d in store.tagged.items() if d != digest}


@pytest.fixture
def waits():
    return []


@pytest.fixture
def connect(store, waits):
    """The store with deletion by the API; and the API."""
    servers = []

    def make(token="t0ken", **behaviour):
        server = github_api(lambda: versions(store), lambda digest: forget(store, digest), **behaviour)
        api = server.__enter__()
        servers.append(server)
        retry = RetryPolicy()._replace(sleep=waits.append)
        packages = GithubPackages(REPOSITORY, token, transport_for(RegistrySettings()), retry, api.url)
        return GithubDeletion(store, packages), api

    yield make
    for server in servers:
        server.__exit__(None, None, None)


def prune(store, now=1e9, **more):
    contents = read_contents(store)
    plan = plan_prune(store, contents, Keep(named=frozenset({KEPT["hash"]})), now=now)
    result = condemn(store, plan, QUICK, now=now)
    return delete_condemned(store, lambda: read_contents(store), result, QUICK, grace=0, now=now, **more)


def tags(store):
    return {tag for tag in store.tags() if tag.endswith(".spack") and tag != "index.spack"}


@pytest.mark.parametrize("owners", ["orgs", "users"])
def test_githubs_api_deletes_over_several_pages(connect, store, owners):
    github, api = connect(page=3, owners=owners)
    result = prune(github)
    assert not result.failed and len(result.deleted) == 7 and result.attached == 1
    assert tags(store) == {tag_of(KEPT)} and not read_plan(store).condemned
    assert len([r for r in api.requests if "&page=" in r]) >= 3
    assert len([r for r in api.requests if r.startswith("DELETE")]) == 8
    assert store.calls["delete_manifest"] == 0


def test_a_list_of_versions_without_an_end_is_an_error(connect, store):
    github, api = connect(page=3, endless=True)
    result = prune(github)
    assert not result.deleted and "has no end" in str(next(iter(result.failed.values())))
    assert len([r for r in api.requests if r.startswith("GET")]) <= 2 * (1 + len(result.failed))


def test_versions_with_too_many_downloads_stay_and_the_others_go(connect, store):
    github, api = connect()
    popular = store.resolve(tag_of(DOOMED[3])).digest
    api.popular = {popular}
    result = prune(github)
    assert list(result.failed) == [tag_of(DOOMED[3])] and len(result.deleted) == 6
    error = result.failed[tag_of(DOOMED[3])]
    assert "5000 downloads" in str(error) and "GitHub's support" in error.remedy
    # it stays on the plan, and out of the index
    assert (
        set(read_plan(store).condemned) == {tag_of(DOOMED[3])} and DOOMED[3]["hash"] not in read_contents(store).index
    )


def test_a_token_that_may_not_delete_is_told_once(connect, store):
    github, api = connect(may_delete=False)
    result = prune(github)
    assert len(result.failed) == 1 and not result.deleted
    (error,) = result.failed.values()
    assert "Must have admin rights" in str(error) and "delete:packages" in str(error) and "t0ken" not in str(error)
    assert len([r for r in api.requests if r.startswith("DELETE")]) == 1
    assert len(read_plan(store).condemned) == 7


def test_a_rate_limit_that_ends_in_no_year_is_one(connect):
    github, api = connect(wait=10**17)
    api.limited = 9
    (error,) = prune(github).failed.values()
    assert isinstance(error, RateLimited) and error.retry_after <= 7 * 86400


@pytest.mark.parametrize("number", ["1e999", "NaN", '"x"', "[]", "null"])
def test_a_version_whose_number_is_none_is_said_to_be_none(connect, number, monkeypatch):
    github, api = connect()
    listed = json.dumps([{"id": 1, "name": "x"}]).replace("1", number).encode()
    monkeypatch.setattr("spack_oci.registry.github.decoded", lambda response, limit: (response.discard(), listed)[1])
    with pytest.raises(InvalidContent, match="an entry that is none"):
        github._packages.versions()


def test_a_short_rate_limit_is_waited_for_and_a_long_one_ends_the_run(connect, store, waits):
    github, api = connect(wait=5)
    api.limited = 1
    assert not prune(github).failed and len(waits) == 1 and 3 <= waits[0] <= 6
    push_package(store, [DOOMED[0]])
    push_package(store, [DOOMED[1]])
    update_index(store, QUICK)
    github, api = connect(wait=3000)
    api.versions()
    github._packages.versions()
    api.limited = 9
    result = prune(github)
    (error,) = result.failed.values()
    assert isinstance(error, RateLimited) and "its limit of requests is reached until" in str(error)
    assert api.limited == 8 and len(waits) == 1 and len(read_plan(store).condemned) == 2
    api.limited = 0
    assert len(prune(github).deleted) == 2


def test_a_package_that_the_token_does_not_see_and_a_wrong_token(connect):
    github, _ = connect(name="other")
    with pytest.raises(NotFound) as error:
        github._packages.versions()
    assert "read:packages" in error.value.remedy
    github, _ = connect(token="wrong-s3cret")
    with pytest.raises(Unauthorized) as error:
        github._packages.versions()
    assert "Bad credentials" in str(error.value) and "s3cret" not in str(error.value)


def test_a_tag_is_not_removed_with_others_of_its_version(connect, store):
    github, _ = connect()
    store.tagged["also"] = store.tagged[tag_of(KEPT)]
    with pytest.raises(ConfigurationError, match="with all its tags"):
        github.delete_manifest("also")


def test_a_token_is_not_sent_over_http_to_another_machine():
    with pytest.raises(ConfigurationError, match="not sent over http"):
        GithubPackages(REPOSITORY, "t", transport_for(RegistrySettings()), api="http://github.example/api/v3")


def test_untag_where_nothing_can_be_deleted(store):
    digests = {tag: store.resolve(tag).digest for tag in tags(store)}
    result = prune(store, only_untag=True)
    assert not result.failed and set(result.untagged) == {tag_of(n) for n in DOOMED} == set(result.deleted)
    for each in DOOMED:
        descriptor, data = store.get_manifest(tag_of(each))
        assert parse_json(data, "x")["artifactType"] == REMOVED_TYPE and descriptor.digest != digests[tag_of(each)]
        # what it was is still there, for the registry to take away
        assert digests[tag_of(each)] in store.manifests
    assert store.resolve(tag_of(KEPT)).digest == digests[tag_of(KEPT)]
    # nobody takes them for packages, nor prunes them again
    warnings = []
    update_index(store, QUICK._replace(warn=warnings.append), full=True)
    assert not warnings and read_contents(store).packages == {tag_of(KEPT)}
    assert not verify_cache(store, read_contents(store), Level.BLOBS).findings
    assert not prune(store, only_untag=True).deleted


def test_what_is_pushed_again_after_it_was_untagged_is_a_package_again(store):
    prune(store, only_untag=True)
    push_package(store, [DOOMED[2]], layer=b"anew")
    update_index(store, QUICK)
    assert read_contents(store).packages == {tag_of(KEPT), tag_of(DOOMED[2])}
    assert DOOMED[2]["hash"] in read_contents(store).index


def test_untag_where_manifests_can_be_deleted_leaves_no_tag(store):
    store._failures.clear()
    before = set(store.manifests)
    result = prune(store, only_untag=True)
    assert not result.untagged and len(result.deleted) == 7
    assert tags(store) == {tag_of(KEPT)} and before <= set(store.manifests)


@pytest.mark.parametrize(
    "status, tried",
    [
        pytest.param(405, 1, id="docker-registry-with-deletion-off"),
        pytest.param(403, 1, id="no-permission"),
        pytest.param(401, 1, id="no-credentials"),
        pytest.param(501, 1, id="not-implemented"),
        pytest.param(412, 7, id="harbor-immutable-tag"),
        pytest.param(409, 7, id="in-use"),
    ],
)
def test_what_all_packages_would_meet_is_met_once_and_what_is_wrong_with_one_does_not_stop_the_others(
    store, status, tried
):
    store._failures.clear()
    store.fail("delete_manifest", UnexpectedResponse(f"the registry answered {status}", status=status))
    result = prune(store)
    assert not result.deleted and len(result.failed) == tried == store.calls["delete_manifest"]
    # nothing is lost: they are on the plan, out of the index, and there
    assert set(read_plan(store).condemned) == {tag_of(n) for n in DOOMED}
    assert tags(store) == {tag_of(n) for n in NODES}
