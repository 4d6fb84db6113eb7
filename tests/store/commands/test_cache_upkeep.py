# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack-oci` on a cache as a whole: copy, snapshots, pins, prune, verify, repair, du."""

import json
import shutil

import jsonschema
import pytest
from spack_oci.layout import open_layout
from spack_oci.reference import LayoutDirectory
from spack_oci.util.resources import read_schema
from support.packages.cache_builder import push_image
from support.spacks.client import Client


def names(client, cache):
    return {f"{p['name']}@{p['version']}" for p in client.packages(cache, "--allarch")}


@pytest.fixture(scope="module")
def copied(cache, tmp_path_factory):
    """What `spack-oci copy` makes of the cache; nobody changes it."""
    directory = tmp_path_factory.mktemp("upkeep") / "mine"
    done = Client(tmp_path_factory.mktemp("copier")).json("copy", cache, directory)
    assert done["copied"] and not done["failed"]
    return directory


@pytest.fixture
def mine(copied, tmp_path):
    """A cache of the test's own."""
    return shutil.copytree(copied, tmp_path / "mine")


def test_a_copy_of_some_packages_has_what_they_need_and_nothing_else(client, cache, mine, tmp_path):
    assert names(client, mine) == names(client, cache)
    planned = client.run("copy", "--dry-run", cache, mine).stderr
    assert f"0 packages would be copied from oci+file://{cache} to oci+file://{mine}; " in planned
    some = tmp_path / "some.tar"
    client.run("copy", cache, some, "oci-middle")
    assert {n.partition("@")[0] for n in names(client, some)} < {n.partition("@")[0] for n in names(client, cache)}
    assert any(n.startswith("oci-middle@") for n in names(client, some))


def test_documents_are_as_those_of_spack_oci(client, cache, mine, tmp_path):
    """The same schemas (`config_schema/commands`) hold for both programs."""
    client.run("pin", mine, "name", "oci-leaf")
    commands = {
        "update-index": ["update-index", mine],
        "list": ["list", "--allarch", mine],
        "show": ["show", mine, "oci-leaf@2.0"],
        "du": ["du", mine],
        "verify": ["verify", mine],
        "repair": ["repair", mine],
        "pin": ["pin", mine, "other", "oci-leaf"],
        "pins": ["pins", mine],
        "snapshots": ["snapshots", mine],
        "prune-plan": ["prune", "--dry-run", mine],
        "prune": ["prune", "--grace", "0", mine],
        "copy-plan": ["copy", "--dry-run", cache, mine],
        "copy": ["copy", cache, mine],
        "clean": ["clean"],
        "trust": ["trust", "show", mine],
        "keys": ["key", "list"],
    }
    client.run("snapshot", mine, "name")
    for words in (["unpin", mine, "name"], ["snapshot", "--remove", mine, "name"]):
        removed = client.json(*words)
        jsonschema.Draft202012Validator(read_schema("commands/removed")).validate(removed)
        assert removed["name"] == "name" and removed["mirror"] == f"oci+file://{mine}"
    for schema, words in commands.items():
        document = client.json(*words)
        jsonschema.Draft202012Validator(read_schema(f"commands/{schema}")).validate(document)
        assert document.get("mirror", f"oci+file://{mine}") == f"oci+file://{mine}", schema


def test_a_pin_and_a_snapshot_that_replace_others_say_so(client, mine):
    assert "replaces" not in client.run("pin", mine, "release", "oci-leaf").stderr
    assert "replaces" not in client.run("pin", mine, "release", "oci-leaf").stderr
    assert "; it replaces a pin of" in client.run("pin", mine, "release", "oci-middle").stderr
    assert client.json("pin", mine, "release", "oci-leaf")["replaced"]
    assert "replaces" not in client.run("snapshot", mine, "release", "oci-middle").stderr
    assert "replaces" not in client.run("snapshot", mine, "release", "oci-middle").stderr
    assert "; it replaces one of" in client.run("snapshot", mine, "release", "oci-leaf@2.0").stderr


def test_specs_name_what_a_prune_has_taken_out_of_the_index_and_not_deleted_yet(client, cache, mine):
    before = names(client, mine)
    client.run("pin", mine, "release", "oci-leaf@2.0")
    done = client.run("prune", mine)
    assert "no option says what to keep" in done.stderr and "comes back with the next run" in done.stderr
    assert names(client, mine) < before
    assert "no option says what to keep" not in client.run("prune", "--keep-specs", "oci-middle", mine).stderr
    assert any(name.startswith("oci-middle@") for name in names(client, mine))
    client.run("prune", "--keep-specs", "oci-leaf@2.0", mine)
    assert not any(name.startswith("oci-middle@") for name in names(client, mine))
    client.run("pin", mine, "rescued", "oci-middle")
    client.run("prune", mine)
    assert any(name.startswith("oci-middle@") for name in names(client, mine))


@pytest.mark.parametrize("words", [("pin", "name"), ("snapshot", "name"), ("prune", "--keep-specs")])
def test_a_spec_that_matches_nothing_gets_what_was_meant(client, mine, words):
    command, word = words
    for spec, said in (("oci-laef", "did you mean oci-leaf"), ("oci-leaf@3", "it has oci-leaf@1.0, oci-leaf@2.0")):
        done = client.run(command, *([word, spec, mine] if word[0] == "-" else [mine, word, spec]), check=False)
        assert done.returncode == 1 and said in done.stderr, done.stderr
    for words in (["list", mine, "oci-laef"], ["search", mine, "laef"]):
        done = client.run(*words, check=False)
        assert done.returncode == 1 and ("did you mean oci-leaf" in done.stderr) == ("oci-laef" in words), done.stderr
    assert "did you mean oci-leaf" in client.run("search", mine, "oci-laef", check=False).stderr
    assert "It has oci-leaf@" in client.run("list", mine, "oci-leaf@3", "--allarch", check=False).stderr


@pytest.mark.parametrize("first", [["oci-leaf"], ["{cache}", "oci-leaf"]], ids=["before both", "between"])
def test_a_spec_before_the_caches_of_a_copy_is_told_from_a_cache(client, cache, tmp_path, first):
    (tmp_path / "to").mkdir()
    words = [word.format(cache=cache) for word in first] + ([] if len(first) > 1 else [cache]) + [tmp_path / "to"]
    done = client.run("copy", *words, check=False)
    assert done.returncode == 2
    assert f"the cache {tmp_path / 'to'} comes after oci-leaf: both caches come before the specs" in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["prune", "--grace", "0", "--keep-specs", "oci-leaf"],
        ["pin", "--until", "2100-01-01"],
        ["unpin"],
        ["snapshot"],
        ["repair"],
        ["update-index"],
    ],
    ids=lambda words: words[0],
)
def test_a_bundle_is_not_changed_and_not_in_silence(client, cache, tmp_path, words):
    """What is opened is a copy of it that goes with the process, so the change would be lost."""
    bundle = tmp_path / "cache.tar"
    client.run("copy", cache, bundle, "oci-leaf")
    before = bundle.read_bytes()
    more = {"pin": ["name", "oci-leaf"], "unpin": ["name"], "snapshot": ["name"]}.get(words[0], [])
    done = client.run(*words, bundle, *more, check=False)
    assert done.returncode != 0 and "is a bundle, which no command changes but copy" in done.stderr
    assert bundle.read_bytes() == before
    assert f"of oci+file://{bundle} (level" in client.run("verify", bundle).stderr
    assert f"oci+file://{bundle}: " in client.run("du", bundle).stderr


def test_a_snapshot_is_a_cache_that_has_just_that(client, mine):
    made = client.json("snapshot", mine, "paper", "oci-leaf@1.0")
    assert names(client, made["url"]) == {"oci-leaf@1.0"}
    assert [s["name"] for s in client.json("snapshots", mine)["snapshots"]] == ["paper"]
    client.run("snapshot", "--remove", mine, "paper")
    assert client.json("snapshots", mine)["snapshots"] == []


def test_du_counts_what_is_there(client, mine):
    found = client.json("du", mine)
    assert {row["name"] for row in found["by_package"]} == {n.partition("@")[0] for n in names(client, mine)}
    assert "oci-leaf" in client.run("du", "--quick", mine).stdout


def test_what_is_damaged_is_found_and_pushed_again_from_a_store(client, mine, built):
    assert client.run("verify", mine).returncode == 0
    package = client.json("show", mine, "oci-leaf@1.0")
    digest = package["layers"][-1]["digest"].partition(":")[2]
    (mine / "blobs" / "sha256" / digest).unlink()
    broken = client.run("verify", mine, "oci-leaf@1.0", check=False)
    assert broken.returncode == 1 and "oci-leaf" in broken.stderr
    planned = client.json("repair", "--dry-run", mine, "--store", built)["plan"]
    assert [tag.startswith("oci-leaf-1.0") for tag in planned["push"]] == [True]
    done = client.json("repair", mine, "--store", built)
    assert done["result"]["pushed"] == planned["push"] and done["remaining"] == []
    assert client.run("verify", mine).returncode == 0


def test_a_pin_keeps_packages_from_a_prune(client, mine):
    client.run("pin", mine, "release", "oci-leaf@1.0")
    assert [p["name"] for p in client.json("pins", mine)["pins"]] == ["release"]
    planned = client.json("prune", "--dry-run", "--keep-specs", "oci-leaf@2.0", mine)
    assert any(tag.startswith("oci-leaf-1.0") for tag in planned["kept"])
    client.run("prune", "--grace", "0", "--keep-specs", "oci-leaf@2.0", mine)
    assert names(client, mine) == {"oci-leaf@1.0", "oci-leaf@2.0"}
    client.run("unpin", mine, "release")
    client.run("prune", "--grace", "0", "--keep-specs", "oci-leaf@2.0", mine)
    assert names(client, mine) == {"oci-leaf@2.0"}


def test_a_pin_and_a_snapshot_of_somebody_else_are_named_and_taken_away(client, mine):
    client.run("pin", mine, "good", "oci-leaf")
    client.run("snapshot", mine, "good")
    store = open_layout(LayoutDirectory(str(mine)))
    for tag in ("spack-oci.pin.bad", "spack-oci.snapshot.bad"):
        push_image(store, tag)
    url = store.url
    for command, unpin in (("pins", ["unpin", url, "bad"]), ("snapshots", ["snapshot", "--remove", url, "bad"])):
        done = client.run(command, mine, "--json", check=False)
        assert done.returncode == 1 and [one["name"] for one in json.loads(done.stdout)[command]] == ["good"]
        assert f"`spack-oci {' '.join(unpin)}` takes it away" in done.stderr
        client.run(*unpin)
        assert "good" in client.run(command, mine).stdout


def test_a_pin_whose_time_is_over_is_refused(client, mine):
    done = client.run("pin", mine, "x", "oci-leaf", "--until", "2020-01-01", check=False)
    assert done.returncode == 2 and "2020-01-01 is past" in done.stderr
    assert client.json("pins", mine)["pins"] == []


@pytest.mark.parametrize(
    "words, code",
    [
        (("prune", "--grace", "soon", "."), 2),
        (("prune", "--grace", "9" * 400 + "d", "."), 2),
        (("prune", "--keep-newer-than", "\u0663d", "{mine}"), 2),
        (("pin", "{mine}", "x", "oci-leaf", "--until", "9999-12-31"), 2),
        (("copy", "nowhere", "./there"), 2),
        (("snapshot", "./missing", "x"), 1),
        (("pin", "./missing", "x", "--until", "tomorrow"), 1),
    ],
)
def test_what_makes_no_sense_is_one_line(client, mine, words, code):
    done = client.run(*(word.format(mine=mine) for word in words), check=False)
    assert done.returncode == code and done.stderr.startswith("Error: ") and "Traceback" not in done.stderr
    assert "spack oci " not in done.stderr


def test_a_bundle_is_named_by_its_file_and_read_by_the_url_that_is_told(client, cache, tmp_path):
    """Not by the directory that it is unpacked into, which goes with the process."""
    bundle = tmp_path / "cache.tar"
    client.run("copy", cache, bundle, "oci-leaf@2.0")
    (listed,) = client.json("list", "--allarch", bundle, "oci-leaf")["packages"]
    assert listed["mirror"] == f"oci+file://{bundle}" and listed["image"] == f"oci-archive:{bundle}:{listed['tag']}"
    assert client.json("list", "--allarch", listed["mirror"])["packages"] == [listed]
    assert client.json("catalog", bundle, tmp_path / "page")["mirror"] == listed["mirror"]
    nothing = client.run("install", bundle, "zzz", "--store", tmp_path / "store", check=False)
    assert f"zzz is not in oci+file://{bundle}: see what there is" in nothing.stderr
