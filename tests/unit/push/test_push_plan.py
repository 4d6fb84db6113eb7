# SPDX-License-Identifier: (Apache-2.0 OR MIT)
import json
import shutil

import pytest
from spack_oci.archive.codec import Compression
from spack_oci.content import put_bytes
from spack_oci.content.blob_cache import BlobCache
from spack_oci.descriptor import OCI_CONFIG, OCI_MANIFEST, canonical_json
from spack_oci.errors import Forbidden, NotAPackage, NotFound, PrefixChanged, ServerFailure
from spack_oci.index.condemned import Condemned, PrunePlan, read_plan, write_plan
from spack_oci.operations.push.execute import PushSettings, execute_push, plan_push
from spack_oci.operations.push.plan import PACK, REUSE, SKIP, existing, read_layer
from support.memory_store import MemoryStore
from support.packages.prefixes import make_chain, make_package


def actions(plan):
    return {item.package.name: item.action for item in plan.packages}


@pytest.fixture
def packages(tmp_path):
    return make_chain(tmp_path / "store", "alpha", "beta", "gamma", "delta", "epsilon")


def pushed(packages, store=None, **kwargs):
    store = store or MemoryStore()
    result = execute_push(plan_push(store, packages, **kwargs), store)
    assert not result.failed
    return store


def test_everything_is_packed_into_an_empty_store(packages):
    plan = plan_push(MemoryStore(), packages)
    assert set(actions(plan).values()) == {PACK}
    assert plan.bytes_to_read == sum(item.size for item in plan.packages) > 0
    assert [item.package.name for item in plan.packages] == ["alpha", "beta", "gamma", "delta", "epsilon"]


def test_planning_writes_nothing_and_reads_the_tags_once(packages):
    store = pushed(packages[:3])
    store.reset()
    plan = plan_push(store, packages)
    assert actions(plan) == {"alpha": SKIP, "beta": SKIP, "gamma": SKIP, "delta": PACK, "epsilon": PACK}
    assert store.calls["tags"] == 1 and store.calls["resolve"] == 0
    assert not store.calls["put_blob"] and not store.calls["put_manifest"]


def test_nothing_to_push_takes_the_list_and_the_question_whether_a_prune_goes_on(packages):
    store = pushed(packages)
    store.reset()
    plan = plan_push(store, packages)
    execute_push(plan, store)
    assert store.requests == 2


def test_what_a_prune_is_going_to_delete_is_pushed_again(packages):
    store = pushed(packages)
    tag = packages[1].tag
    write_plan(store, PrunePlan({tag: Condemned(store.resolve(tag).digest, 0)}))
    plan = plan_push(store, packages)
    assert [item.package for item in plan.to_push] == [packages[1]] and plan.condemned == {tag}
    execute_push(plan, store)
    assert read_plan(store) == PrunePlan() and plan_push(store, packages).to_push == []


def test_only_the_layers_that_images_need_are_read(tmp_path, packages):
    lone = [make_package(tmp_path / "store", f"lone{number}") for number in range(5)]
    store = pushed([*packages[:2], *lone])
    store.reset()
    plan = plan_push(store, [*packages[:3], *lone])
    assert set(plan.layers) == {package.dag_hash for package in packages[:2]}
    assert store.calls["get_manifest"] - 1 == store.calls["open_blob"] == 2  # one asks for a prune


def test_force_packs_what_is_there_and_asks_nothing(packages):
    store = pushed(packages)
    store.reset()
    assert set(actions(plan_push(store, packages, force=True)).values()) == {PACK}
    assert store.requests == 0


def test_few_packages_are_asked_for_one_by_one(packages):
    store = pushed(packages[:1])
    store.reset()
    assert existing(store, packages[:2], jobs=2) == {packages[0].dag_hash}
    assert store.calls["tags"] == 0 and store.calls["resolve"] == 2


class LongList(MemoryStore):
    """A repository with many other tags; counts how many were taken from the list."""

    taken = 0

    def tags(self):
        def listing():
            for number in range(100_000):
                self.taken += 1
                yield f"other-{number}.spack"
            yield from sorted(self.tagged)

        self._called("tags")
        return listing()


def test_a_very_long_list_is_left_for_single_questions(packages):
    store = pushed(packages[:2], LongList())
    store.reset()
    store.taken = 0
    assert existing(store, packages, jobs=4) == {package.dag_hash for package in packages[:2]}
    assert store.taken <= 2000
    assert store.calls["resolve"] == len(packages)


@pytest.mark.parametrize("verb, count", [("tags", 5), ("resolve", 2)])
def test_an_error_is_not_a_miss(packages, verb, count):
    store = MemoryStore()
    store.fail(verb, Forbidden("listing tags: 403", status=403))
    with pytest.raises(Forbidden):
        plan_push(store, packages[:count])


def test_an_error_while_reading_a_dependency_is_raised(packages):
    store = pushed(packages[:4])
    store.fail("open_blob", ServerFailure("reading a config: 500", status=500))
    with pytest.raises(ServerFailure):
        plan_push(store, packages)


def test_a_tag_that_is_only_in_the_list_is_pushed_again(packages):
    """Some registries list deleted tags for a while."""
    store = pushed(packages[:4])
    store.fail("get_manifest", NotFound("manifest unknown"), when=lambda tag: tag == packages[1].tag)
    plan = plan_push(store, packages)
    assert actions(plan) == {"alpha": SKIP, "beta": PACK, "gamma": SKIP, "delta": SKIP, "epsilon": PACK}
    assert set(plan.layers) == {packages[number].dag_hash for number in (0, 2, 3)}


def test_a_tag_that_is_no_package_is_warned_of_and_left_out(packages):
    store = pushed(packages[:4])
    config = put_bytes(store, b'{"no": "rootfs"}', OCI_CONFIG)
    manifest = {"schemaVersion": 2, "config": config.to_dict(), "layers": [config.to_dict()]}
    store.put_manifest(canonical_json(manifest), OCI_MANIFEST, packages[1].tag)
    plan = plan_push(store, packages)
    assert packages[1].tag in plan.warnings[0]
    assert packages[1].dag_hash not in plan.layers
    result = execute_push(plan, store)
    assert not result.failed
    assert len(json.loads(store.get_manifest(packages[4].tag)[1])["layers"]) == 4


def test_a_prefix_that_is_not_there_is_the_problem_of_one_package(packages):
    shutil.rmtree(packages[2].prefix)
    plan = plan_push(MemoryStore(), packages)
    assert [item.package.name for item in plan.packages if item.problem] == ["gamma"]
    assert isinstance(plan.packages[2].problem, PrefixChanged)


def test_an_unchanged_prefix_is_reused_from_the_cache(tmp_path, packages):
    settings = PushSettings(cache=BlobCache(str(tmp_path / "cache")))
    store = MemoryStore()
    execute_push(plan_push(store, packages, settings=settings), store, settings=settings)
    plan = plan_push(store, packages, force=True, settings=settings)
    assert set(actions(plan).values()) == {REUSE}
    assert plan.bytes_to_read == 0
    (tmp_path / "store" / "linux-x86_64").joinpath(packages[1].prefix, "more").write_text("more")
    plan = plan_push(store, packages, force=True, settings=settings)
    assert [name for name, action in actions(plan).items() if action == PACK] == ["beta"]
    other = PushSettings(cache=settings.cache, compression=Compression("zstd"))
    assert set(actions(plan_push(store, packages, force=True, settings=other)).values()) == {PACK}


def test_the_plan_as_a_document(packages):
    document = plan_push(pushed(packages[:1]), packages).to_dict()
    assert json.loads(json.dumps(document)) == document
    assert (document["skip"], document["pack"], document["reuse"]) == (1, 4, 0)
    assert document["packages"][0]["action"] == SKIP and document["packages"][1]["size"] > 0


@pytest.mark.parametrize(
    "manifest",
    [
        b"{}",
        b"[]",
        b'{"config": {"mediaType": "x", "digest": "sha256:0", "size": 1}, "layers": []}',
        b"not json",
    ],
)
def test_what_is_no_package(manifest):
    class Odd(MemoryStore):
        def get_manifest(self, reference):
            from spack_oci.descriptor import Descriptor

            return Descriptor.of(manifest, OCI_MANIFEST), manifest

    with pytest.raises(NotAPackage, match="x.spack"):
        read_layer(Odd(), "x.spack")


def test_a_package_that_is_given_twice_is_pushed_once(packages):
    store = MemoryStore()
    plan = plan_push(store, [*packages, packages[0]])
    assert len(plan.packages) == 5
    assert len(execute_push(plan, store).pushed) == 5


def test_dependencies_that_are_only_in_the_store_are_layers_too(packages):
    """`push --only package`: the image is complete if the rest is there, and what is not there is left out."""
    store = pushed(packages[:2])
    plan = plan_push(store, packages[4:])
    assert set(plan.layers) == {package.dag_hash for package in packages[:2]}
    execute_push(plan, store)
    assert len(json.loads(store.get_manifest(packages[4].tag)[1])["layers"]) == 3
    store.reset()
    assert not plan_push(store, packages[3:4], settings=PushSettings(read_dependencies=False)).layers
    assert store.calls["get_manifest"] == 0


def test_a_second_repository_of_a_registry_mounts(tmp_path, packages):
    registry = {}
    first = registry["team/one"] = MemoryStore("oci://memory.example/team/one", registry)
    second = MemoryStore("oci://memory.example/team/two", registry)
    settings = PushSettings(cache=BlobCache(str(tmp_path / "cache")))
    execute_push(plan_push(first, packages, settings=settings), first, settings=settings)
    plan = plan_push(second, packages, settings=settings)
    assert {item.mount_from for item in plan.packages} == {"team/one"}
    assert plan.to_dict()["packages"][0]["mount_from"] == "team/one"
    result = execute_push(plan, second, settings=settings)
    assert not result.failed and len(second.tagged) == 5
    assert result.bytes_sent == result.bytes_read == 0 and result.bytes_saved > 0
    assert second.calls["mount_blob"] == 5
    # the first has lost its blobs: they are sent from the cache
    third = MemoryStore("oci://memory.example/team/three", registry)
    first.blobs.clear()
    second.blobs.clear()
    result = execute_push(plan_push(third, packages, settings=settings), third, settings=settings)
    assert not result.failed and result.bytes_sent > 0 == result.bytes_read
