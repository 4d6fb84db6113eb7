# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack oci push` and `update-index`: the words and flags of `spack buildcache push`."""

import json
import re
import tarfile

import pytest
from support.spacks.stack_checks import STACK


@pytest.fixture(params=["layout", "http"])
def cache(request, new_cache):
    return new_cache(request.param)


@pytest.fixture
def layout(new_cache):
    return new_cache("layout")


@pytest.fixture
def spack(source, layout):
    """An instance of ours whose only mirror is ``layout``."""
    instance = source()
    instance.use(layout)
    return instance


def packages(cache):
    """Names of the packages in a cache."""
    return {re.sub(r"-\d[\d.]*-[a-z0-9]{32}\.spack$", "", tag) for tag in cache.tags() if tag.endswith(".spack")} - {
        "index.spack"
    }


@pytest.mark.one_spack
def test_push_is_reproducible(source, cache, new_cache):
    """Same input, same digest: two pushes into two caches of different kinds make the same manifests."""
    other = new_cache("layout")
    spack = source()
    for target in (cache, other):
        spack.use(target)
        spack.run("oci", "push", "cache", "oci-stack")
    assert packages(cache) == {*STACK, "oci-codegen"}
    for tag in cache.tags():
        assert cache.raw_manifest(tag) == other.raw_manifest(tag), tag


@pytest.mark.one_spack
def test_what_is_there_is_skipped_and_force_sends_it_again(spack, layout):
    spack.run("oci", "push", "cache", "oci-app")
    first = {tag: layout.raw_manifest(tag) for tag in layout.tags()}
    again = spack.run("oci", "push", "cache", "oci-app")
    assert re.search(r"\b4\b.*already", again.stdout + again.stderr)

    forced = json.loads(spack.run("oci", "push", "--force", "--json", "cache", "oci-app").stdout)
    assert len(forced["packages"]) == 4
    assert {tag: layout.raw_manifest(tag) for tag in layout.tags()} == first


@pytest.mark.one_spack
@pytest.mark.parametrize(
    "flags, expected",
    [
        (["--only", "package"], {"oci-app"}),
        (["--only", "dependencies"], {"oci-middle", "oci-leaf", "oci-codegen"}),
        (["--only", "package,dependencies"], {"oci-app", "oci-middle", "oci-leaf", "oci-codegen"}),
        (["--without-build-dependencies"], {"oci-app", "oci-middle", "oci-leaf"}),
        (["--with-build-dependencies"], {"oci-app", "oci-middle", "oci-leaf", "oci-codegen"}),
    ],
)
def test_what_is_pushed_is_what_spack_pushes(flags, expected, source, new_cache, tmp_path):
    """Externals never are; the same words select the same packages as in `spack buildcache push`."""
    cache = new_cache("layout")
    spack = source()
    spack.use(cache)
    spack.run("oci", "push", *flags, "cache", "oci-app")
    assert packages(cache) == expected

    vanilla = source(ours=False)
    vanilla.mirrors(cache=(tmp_path / "plain").as_uri())
    flags = [] if "package,dependencies" in flags else flags  # Spack has this only as the default
    vanilla.run("buildcache", "push", "--unsigned", *flags, "cache", "oci-app")
    found = {p.name for p in (tmp_path / "plain" / "v3" / "manifests" / "spec").iterdir()}
    assert found == expected


@pytest.mark.one_spack
def test_dry_run_changes_nothing_and_says_what_a_run_does(spack, layout):
    spack.run("oci", "push", "--only", "package", "cache", "oci-leaf@2.0")
    before = layout.tags()
    plan = json.loads(spack.run("oci", "push", "--dry-run", "--json", "cache", "oci-app").stdout)
    assert layout.tags() == before
    actions = {entry["name"]: entry["action"] for entry in plan["packages"]}
    assert actions.pop("oci-leaf") == "skip"
    assert set(actions) == {"oci-app", "oci-middle", "oci-codegen"} and set(actions.values()) == {"pack"}

    text = spack.run("oci", "push", "--dry-run", "cache", "oci-app")
    assert "oci-middle" in text.stdout and layout.tags() == before


@pytest.mark.one_spack
def test_private_packages_are_pushed_when_asked_for(spack, layout):
    """`redistribute(binary=False)`: left out with a word, unless --private."""
    done = spack.run("oci", "push", "cache", "oci-private")
    assert "oci-private" not in packages(layout)
    assert "oci-private" in done.stdout + done.stderr
    spack.run("oci", "push", "--private", "cache", "oci-private")
    assert "oci-private" in packages(layout)


@pytest.mark.one_spack
@pytest.mark.parametrize("word", ["name", "url", "path"])
def test_a_mirror_can_be_a_name_a_url_or_a_path(word, spack, layout):
    path = layout.url[len("oci+file://") :]
    spack.run(
        "oci", "push", "--only", "package", {"name": "cache", "url": layout.url, "path": path}[word], "oci-leaf@2.0"
    )
    assert packages(layout) == {"oci-leaf"}


@pytest.mark.one_spack
def test_without_a_mirror_the_first_oci_mirror_is_taken(source, layout, tmp_path):
    spack = source()
    spack.mirrors(plain=(tmp_path / "plain").as_uri(), cache=layout.url)
    done = spack.run("oci", "push", "--only", "package", "oci-leaf@2.0")
    assert layout.url in done.stdout + done.stderr
    assert packages(layout) == {"oci-leaf"}


@pytest.mark.one_spack
def test_without_any_mirror_there_is_the_embedded_default(source, destination):
    """A layout under Spack's user cache, which one line names, and which `spack oci list` reads as well."""
    spack = source()
    spack.mirrors()
    done = spack.run("oci", "push", "--update-index", "oci-leaf@2.0")
    said = [line for line in (done.stdout + done.stderr).splitlines() if "No OCI mirror is configured" in line]
    assert len(said) == 1 and str(spack.user_cache) in said[0]
    assert "oci-leaf" in spack.run("oci", "list", "--allarch").stdout


@pytest.mark.one_spack
def test_the_roots_of_the_active_environment(spack, layout):
    directory = spack.home / "env"
    directory.mkdir()
    (directory / "spack.yaml").write_text("spack:\n  specs: [oci-middle]\n  view: false\n")
    spack.run("-e", directory, "concretize")
    spack.run("-e", directory, "oci", "push")
    assert packages(layout) == {"oci-middle", "oci-leaf"}
    assert "environment" in spack.run("oci", "push", check=False).stderr, "without one there is nothing to push"


@pytest.mark.one_spack
def test_one_failure_does_not_stop_the_others(spack, layout, built):
    """What is not installed is named in the last table with its reason, and in the exit code."""
    directory = spack.home / "env"
    directory.mkdir()
    specs = "[oci-files, 'oci-codegen cflags=-g']"  # never built like this
    (directory / "spack.yaml").write_text(f"spack:\n  specs: {specs}\n  view: false\n")
    spack.run("-e", directory, "concretize")
    done = spack.run("-e", directory, "oci", "push", "cache", check=False)
    assert done.returncode == 1
    assert packages(layout) == {"oci-files", "oci-leaf"}
    assert re.search(r"oci-codegen@1.0/\w{7}: .*not installed", done.stderr), done.stderr

    failed = spack.run("-e", directory, "oci", "push", "--fail-fast", "cache", check=False)
    assert failed.returncode != 0 and "not installed" in failed.stderr


@pytest.mark.one_spack
def test_update_index_follows_the_cache(spack, layout, destination):
    def listed():
        return {
            p["name"] for p in json.loads(spack.run("oci", "list", "--allarch", "--json", "cache").stdout)["packages"]
        }

    spack.run("oci", "push", "--only", "package", "cache", "oci-leaf@2.0")
    assert spack.run("oci", "list", "cache", check=False).returncode != 0, "there is no index yet"
    spack.run("oci", "update-index", "cache")
    assert listed() == {"oci-leaf"}
    spack.run("oci", "push", "--update-index", "--only", "package", "cache", "oci-files")
    assert listed() == {"oci-leaf", "oci-files"}


@pytest.mark.one_spack
def test_list(spack, built):
    spack.run("oci", "push", "--update-index", "cache", "oci-app")
    hashes = built.hashes()
    out = spack.run("oci", "list", "--long", "--allarch", "cache").stdout
    assert f"{hashes['oci-app'][:7]} oci-app@1.0" in out
    assert "oci-app" not in spack.run("oci", "list", "cache", "oci-leaf").stdout
    entry = json.loads(spack.run("oci", "list", "--json", "cache", "oci-app").stdout)["packages"][0]
    assert entry["hash"] == hashes["oci-app"] and entry["tag"] == f"oci-app-1.0-{hashes['oci-app']}.spack"


def members_of(layer, prefix):
    """Path in the prefix -> what the tarball says of it, apart from the order."""
    relative = str(prefix).lstrip("/")
    with tarfile.open(layer) as tar:
        members = tar.getmembers()
    assert all((m.uid, m.gid, m.mtime) == (0, 0, 0) for m in members)
    sources = {m.name: m for m in members}
    found = {}
    for m in members:
        if not m.name.startswith(f"{relative}/"):
            assert m.isdir() and relative.startswith(m.name), f"{m.name} is outside the prefix"
            continue
        content = sources[m.linkname] if m.islnk() else m
        name = m.name[len(relative) + 1 :]
        found[name] = (m.type if not m.islnk() else content.type, content.mode, content.size, m.issym() and m.linkname)
    groups = {}
    for m in members:
        groups.setdefault(m.linkname if m.islnk() else m.name, set()).add(m.name[len(relative) + 1 :])
    return found, {frozenset(g) for g in groups.values() if len(g) > 1}


@pytest.mark.parametrize("name", ["oci-files", "oci-script"])
def test_the_layer_has_what_vanilla_spack_would_put_there(name, source, built, new_cache, tmp_path):
    """Kinds, modes, sizes, links and hard links of every member, and all that is on disk."""
    cache = new_cache("tls")
    layers = []
    for ours, command in ((True, ["oci", "push"]), (False, ["buildcache", "push", "--unsigned"])):
        spack = source(ours=ours)
        spack.use(cache)
        spack.run(*command, "--force", "--only", "package", "cache", name)
        tag = next(tag for tag in cache.tags() if tag.startswith(name))
        layers.append(cache.copy_to_directory(tag, tmp_path / f"image-{ours}")[-1])

    prefix = built.prefix(name)
    (ours, our_hard_links), (theirs, their_hard_links) = (members_of(layer, prefix) for layer in layers)
    info = ".spack/binary_distribution"
    assert set(ours) == {str(p.relative_to(prefix)) for p in prefix.rglob("*")} | {info}
    our_info, their_info = (read_yaml(built, content_of(layer, prefix, info)) for layer in layers)
    assert {k: v for k, v in ours.items() if k != info} == {k: v for k, v in theirs.items() if k != info}
    assert our_hard_links == their_hard_links
    assert set(our_info) >= set(their_info)
    for key, value in their_info.items():
        if key.startswith("relocate_") and isinstance(value, list):
            assert set(value) <= set(our_info[key]), f"{key}: vanilla Spack would not relocate {our_info[key]}"
        else:
            assert our_info[key] == value, key


def content_of(layer, prefix, path):
    with tarfile.open(layer) as tar:
        return tar.extractfile(f"{str(prefix).lstrip('/')}/{path}").read()


def read_yaml(spack, data):
    """As Spack reads it."""
    (spack.home / "document.yaml").write_bytes(data)
    return json.loads(
        spack.script(
            "import json, spack.util.spack_yaml as syaml\n"
            f"print(json.dumps(syaml.load(open({str(spack.home / 'document.yaml')!r}, encoding='utf-8'))))"
        )
    )


@pytest.mark.one_spack
@pytest.mark.parametrize(
    "line",
    [
        "cache oci-leaf@2.0 --dry-run --json",
        "cache --dry-run oci-leaf@2.0 --json",
        "--json cache --dry-run oci-leaf@2.0",
    ],
)
def test_options_stand_anywhere(spack, line):
    planned = json.loads(spack.run("oci", "push", *line.split()).stdout)["packages"]
    assert "oci-leaf" in str(planned) and "oci-app" not in str(planned)


@pytest.mark.one_spack
def test_packages_by_their_hashes(spack, layout, tmp_path):
    """`/HASH`, whole or shortened, names what it names elsewhere in Spack; in an environment only what is in it."""
    leaf, middle = (
        spack.run("find", "--format", "{hash}", name).stdout.strip() for name in ("oci-leaf@2.0", "oci-middle")
    )
    spack.run("oci", "push", "--only", "package", "cache", f"/{leaf}", f"/{middle[:8]}")
    assert packages(layout) == {"oci-leaf", "oci-middle"}
    for wrong in ("/aaaaaaaaaa", f"oci-middle/{leaf[:8]}"):
        done = spack.run("oci", "push", "cache", wrong, check=False)
        assert done.returncode != 0 and "no installed package" in done.stderr, wrong
    environment = tmp_path / "environment"
    spack.run("env", "create", "-d", str(environment))
    done = spack.run("-e", str(environment), "oci", "push", "cache", f"/{leaf}", check=False)
    assert done.returncode != 0 and "no installed package" in done.stderr
