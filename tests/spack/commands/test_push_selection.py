# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What `spack oci push` leaves out, what it warns of, and the names that it prints."""

import json
import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.one_spack


@pytest.fixture
def cache(new_cache):
    return new_cache("layout")


@pytest.fixture
def spack(source, cache):
    instance = source()
    instance.use(cache)
    return instance


def names(cache):
    return {tag.partition("-1.0")[0].partition("-2.0")[0] for tag in cache.tags() if tag.endswith(".spack")}


def said_by(done):
    return " ".join((done.stdout + done.stderr).split())


def test_excluded_packages_are_left_out_and_named(spack, cache):
    """By an option and by the configuration; the packages that depend on them are pushed."""
    spack.run("config", "add", "oci:push:exclude:[oci-codegen]")
    done = spack.run("oci", "push", "--exclude", "oci-leaf@2:", "cache", "oci-app")
    assert names(cache) == {"oci-app", "oci-middle"}
    assert re.search(r"Excluded: oci-\w+@\S+, oci-\w+@", said_by(done)), said_by(done)


def test_what_another_mirror_has_is_left_out(spack, cache, new_cache):
    central = new_cache("layout")
    spack.mirrors(central=central.mirror, cache=cache.mirror)
    spack.run("oci", "push", "central", "oci-leaf@2.0")
    done = spack.run("oci", "push", "--not-in", "central", "cache", "oci-app")
    assert names(cache) == {"oci-app", "oci-middle", "oci-codegen"}
    assert "In central already: oci-leaf@2.0" in said_by(done)


def test_an_image_needs_all_of_its_packages(spack, cache):
    done = spack.run("oci", "push", "--exclude", "oci-leaf", "--tag", "tools", "cache", "oci-app", check=False)
    assert done.returncode == 1 and "the image needs what is not to be pushed: oci-leaf" in said_by(done)
    assert not Path(cache.url.partition("://")[2]).exists(), "nothing was pushed"


def test_what_is_not_installed_and_was_not_named_is_skipped(spack, cache, destination):
    """As after `spack oci install`, which leaves build dependencies out."""
    spack.run("oci", "push", "--update-index", "cache", "oci-app")
    consumer, second = destination(), cache
    consumer.use(cache)
    consumer.run("oci", "install", "--reuse", "oci-app")
    assert "oci-codegen" not in consumer.installed()
    done = consumer.run("oci", "push", "--force", "cache", "oci-app")
    assert "Skipped, because they are not installed: oci-codegen" in said_by(done)
    assert "oci-app" in names(second)


def test_a_forced_push_of_other_content_says_so(spack, cache, destination):
    """The hash is the same, and whoever has an index or a copy may have the old content."""
    spack.run("oci", "push", "--only", "package", "--update-index", "cache", "oci-leaf@2.0")
    for options in ([], ["--compression", "zstd"]):
        done = spack.run("oci", "push", "--only", "package", "--force", *options, "cache", "oci-leaf@2.0")
        assert "replaced" not in said_by(done), "the same content"
    other = destination()
    other.use(cache)
    other.install_from_cache("oci-leaf@2.0")
    (other.prefix("oci-leaf@2.0") / "added").write_text("by hand")
    done = other.run("oci", "push", "--only", "package", "--force", "cache", "oci-leaf@2.0")
    assert "1 package replaced with other content under the same hash: oci-leaf@2.0" in said_by(done)


def test_names_that_container_tools_take_are_printed(spack, source, new_cache):
    cache = new_cache("http")
    spack.use(cache)
    repository = cache.url.partition("://")[2]
    done = spack.run("oci", "push", "--update-index", "--tag", "tools", "cache", "oci-leaf@2.0")
    (tag,) = [tag for tag in cache.tags() if tag.endswith(".spack") and tag != "index.spack"]
    assert re.search(rf"Tagged oci-leaf@2.0/\w{{7}} as {re.escape(repository)}:{re.escape(tag)}", said_by(done))
    assert f"Tagged {repository}:tools" in said_by(done)
    assert spack.run("oci", "list", "--tags", "cache").stdout.split() == [f"{repository}:{tag}"]
    assert spack.run("oci", "list", "--images", "cache").stdout.split() == [f"{repository}:tools"]
    (package,) = json.loads(spack.run("oci", "list", "--json", "cache").stdout)["packages"]
    assert package["image"] == f"{repository}:{tag}"
    again = spack.run("oci", "push", "cache", "oci-leaf@2.0")
    assert "Nothing to push: the spec is already in the mirror" in said_by(again)

    shown = spack.run("oci", "show", "cache", "tools").stdout
    assert shown.startswith(f"{repository}:tools\n") and re.search(r"package +oci-leaf@2.0/\w{7}", shown)
    document = json.loads(spack.run("oci", "show", "--json", "cache", "tools").stdout)
    (platform,) = document["platforms"]
    assert platform["packages"] and platform["layers"] and platform["platform"].startswith("linux/")


def test_an_empty_environment_is_said_to_have_nothing_to_push(spack):
    directory = spack.home / "env"
    directory.mkdir()
    (directory / "spack.yaml").write_text("spack:\n  specs: []\n  view: false\n")
    done = spack.run("-e", directory, "oci", "push", "cache")
    assert "There is nothing to push" in said_by(done)


CHANGING = """
import types
from spack_oci.spack.commands import selection
import spack.spec, spack.version

def made(version, *variants):
    return types.SimpleNamespace(version=spack.version.Version(version), variants=dict.fromkeys(variants))

for spec in (made("1.2"), made("main"), made("main", "commit"), made("1.2", "dev_path"), made("git.feature=1.2"),
             made("git." + 40 * "a" + "=1.2")):
    print(selection._is_built_from_what_changes(spec))
"""


def test_a_hash_that_says_nothing_of_the_content_is_known(spack):
    """A directory, a branch; not a release or a commit."""
    assert spack.script(CHANGING).split() == ["False", "True", "False", "True", "True", "False"]


def test_a_repository_that_is_not_known_is_named_with_the_command_that_adds_it(spack):
    mock = spack.checkout / "var" / "spack" / "test_repos" / "spack_repo" / "builtin_mock"
    spack.write_config("repos:", {"builtin_mock": str(mock)}, spack.base_scope)
    done = spack.run("oci", "push", "cache", "oci-leaf@2.0", check=False)
    assert done.returncode == 1 and said_by(done).count("Unknown namespace: ocitest") == 1
    assert "spack repo add" in said_by(done)
