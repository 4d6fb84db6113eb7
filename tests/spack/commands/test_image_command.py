# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Images through Spack's commands: `spack oci push --base-image --tag`, `spack buildcache push`, `spack oci export`."""

import io
import json
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
from spack_oci import descriptor as d
from spack_oci.content import put_bytes
from spack_oci.content.platform import Platform
from spack_oci.image.index import push_platform
from spack_oci.layout import open_layout
from spack_oci.reference import LayoutDirectory, parse_url
from spack_oci.registry.auth.credentials import Credentials, StaticCredentials
from spack_oci.registry.settings import RegistrySettings
from spack_oci.registry.store import open_repository
from support.images.containers import podman, push_base, shell_root_file_system
from support.registries.docker_registry import PASSWORD, USER
from support.spacks.stack_checks import STACK

pytestmark = [pytest.mark.one_spack, pytest.mark.spack]


@pytest.fixture(scope="session")
def engine(tmp_path_factory):
    with podman(tmp_path_factory.mktemp("podman")) as running:
        yield running


@pytest.fixture(scope="session")
def base_image(http_registry):
    """A base image with this machine's C library, and one whose C library is far too old."""
    name = http_registry.mirror_url("base/debian")
    with open_repository(parse_url(name)) as store:
        push_base(store, "new", shell_root_file_system())
        push_base(store, "old", _ancient_root())
        push_base(store, "foreign", _ancient_root(), architecture="s390x")
    return name


def _ancient_root() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        member = tarfile.TarInfo("lib/x86_64-linux-gnu/libc.so.6")
        data = b"\x7fELF GNU C Library (Ancient) stable release version 2.2."
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


@pytest.fixture
def cache(new_cache):
    return new_cache("http")


@pytest.fixture
def spack(source, cache):
    instance = source()
    instance.use(cache)
    return instance


def name_of(cache, tag):
    return cache.image(tag).partition("docker://")[2]


def test_the_story_of_the_tutorial(spack, cache, base_image, engine):
    """Pushed without a base image a program has no loader; with --force --base-image it runs."""
    spack.run("oci", "push", "cache", "oci-app")
    (tag,) = [tag for tag in cache.tags() if tag.startswith("oci-app-")]
    engine.pull(name_of(cache, tag))
    assert "no such file or directory" in engine.run(name_of(cache, tag), "hello", check=False)
    done = spack.run("oci", "push", "--force", "--base-image", f"{base_image}:new", "cache", "oci-app")
    assert "1 mounted, 0 copied" in done.stdout + done.stderr
    engine.pull(name_of(cache, tag))
    assert "greeting: hello from leaf" in engine.run(name_of(cache, tag), "hello")


@pytest.mark.parametrize("words", [["oci", "push"], ["buildcache", "push", "--unsigned"]])
@pytest.mark.parametrize("of", ["specs", "environment"])
def test_two_applications_under_one_tag(words, of, spack, cache, base_image, engine, tmp_path):
    """Our command, and Spack's own through the hook."""
    words = [*words, "--base-image", f"{base_image}:new", "--tag", "both", "cache"]
    if of == "specs":
        spack.run(*words, "oci-app", "oci-script")
    else:
        (tmp_path / "env").mkdir()
        (tmp_path / "env" / "spack.yaml").write_text("spack: {specs: [oci-app, oci-script], view: false}\n")
        spack.run("-e", tmp_path / "env", "install")
        spack.run("-e", tmp_path / "env", *words)
    engine.pull(name_of(cache, "both"))
    assert "greeting: hello from leaf" in engine.run(name_of(cache, "both"), "hello")
    assert "says: from" in engine.run(name_of(cache, "both"), "greet")


def test_the_packages_of_an_image_install_with_vanilla_spack(destination, spack, cache, base_image):
    """Base layers in front, and a layer that is made of several gzip members."""
    spack.run("oci", "push", "--base-image", f"{base_image}:new", "cache", "oci-app")
    vanilla = destination(ours=False)
    vanilla.use(cache)
    # a plain http mirror has no index in vanilla Spack, but the classic installer asks for the package itself
    hashes = spack.hashes()
    document = json.dumps({name: hashes[name] for name in ("oci-leaf", "oci-middle", "oci-app")})
    printed = vanilla.script(_EXTRACT.format(url=cache.url, hashes=document), check=True)
    assert "share/leaf/greeting.txt" in printed and "bin/hello" in printed


#: fetch and list a package's tarball with Spack's own code
_EXTRACT = """
import json, tarfile, spack.oci.oci as oci, spack.oci.image as image
reference = image.ImageReference.from_url({url!r})
for name, dag_hash in json.loads({hashes!r}).items():
    (tag,) = [t for t in oci.list_tags(reference) if t.startswith(name) and dag_hash in t]
    manifest, config = oci.get_manifest_and_config(reference.with_tag(tag))
    layer = manifest["layers"][-1]
    assert config["binary_cache_checksum"]["hash"] == layer["digest"].partition(":")[2]
    digest = image.Digest.from_string(layer["digest"])
    with oci.make_stage(reference.blob_url(digest), digest) as stage:
        stage.fetch()
        stage.check()
        with tarfile.open(stage.save_filename, "r") as archive:
            print(*archive.getnames())
"""


def test_the_image_of_an_environment(spack, cache, base_image, engine, tmp_path):
    """`oci:image` in spack.yaml, the view on PATH, the lock file, labels, a user that is not root."""
    environment = tmp_path / "my-env"
    environment.mkdir()
    (environment / "spack.yaml").write_text(
        "spack:\n"
        "  specs: [oci-app, oci-script]\n"
        "  view: true\n"
        "  concretizer: {unify: true}\n"
        "  oci:\n"
        f"    base_image: '{base_image}:new'\n"
        "    image:\n"
        "      entrypoint: [hello]\n"
        "      user: worker\n"
        "      labels: {team: us}\n"
        "      env: {COLOR: blue}\n"
    )
    spack.run("-e", environment, "install")
    done = spack.run("-e", environment, "oci", "push", "--json", "--tag", "env", "cache")
    (image,) = json.loads(done.stdout)["images"]
    assert image["image"] == name_of(cache, "env") and image["base"].endswith("base/debian:new")
    engine.pull(image["image"])
    assert "greeting: hello from leaf" in engine.run(image["image"])
    script = "id -u; echo $COLOR; greet; case $PATH in /view/bin:*) echo first;; esac"
    shell = ["--entrypoint", '["/bin/sh", "-c"]']
    printed = engine.run(image["image"], script, options=shell)
    assert printed.startswith("1234\nblue\n") and "says: from" in printed and printed.endswith("first\n")
    read = "read -r line < /opt/spack-environment/spack.lock; echo $line"
    lock = engine.run(image["image"], read, options=shell)
    assert "spack-lockfile" in lock or "_meta" in lock
    config = cache.config("env")["config"]
    assert config["Labels"]["team"] == "us" and config["Labels"]["org.opencontainers.image.title"] == "my-env"
    again = spack.run("-e", environment, "oci", "push", "--json", "--tag", "env", "cache")
    assert json.loads(again.stdout)["images"][0]["manifest"] == image["manifest"]


def test_what_images_say_of_themselves(spack, cache, base_image):
    """Packages and environments: the same annotations and labels, from recipes, SOURCE_DATE_EPOCH and the base."""
    spack.environment["SOURCE_DATE_EPOCH"] = "1700000000"
    words = ["--base-image", f"{base_image}:new", "--tag", "both", "cache", "oci-leaf@2.0", "oci-script"]
    spack.run("oci", "push", *words)
    found = {}
    for tag in cache.tags():
        annotations = json.loads(cache.raw_manifest(tag))["annotations"]
        labels = cache.config(tag)["config"]["Labels"]
        about = {k: v for k, v in annotations.items() if k.startswith("org.opencontainers.image.")}
        assert about == {k: labels[k] for k in about}, tag
        found[tag.rpartition("-")[0]] = {k.rpartition("image.")[2]: v for k, v in about.items()}
    leaf, script, both = found["oci-leaf-2.0"], found["oci-script-1.0"], found[""]
    assert (leaf["title"], leaf["version"]) == ("oci-leaf", "2.0") and leaf["description"].startswith("oci-leaf@")
    assert (leaf["licenses"], leaf["source"]) == ("Apache-2.0 OR MIT", "https://example.com")
    assert script["source"] == "https://example.com/script", "and not the credentials in the recipe's"
    assert (both["title"], both["licenses"]) == ("oci-leaf, oci-script", "(Apache-2.0 OR MIT) AND GPL-3.0-only")
    for about in (leaf, script, both):
        assert about["created"].startswith("2023-11-14T22:13:20") and about["base.name"].endswith("base/debian:new")
        assert about["base.digest"].startswith("sha256:")
    spack.run("oci", "push", "cache", "oci-leaf@1.0")
    (old,) = [tag for tag in cache.tags() if tag.startswith("oci-leaf-1.0")]
    licenses = json.loads(cache.raw_manifest(old))["annotations"]["org.opencontainers.image.licenses"]
    assert licenses == "BSD-3-Clause", "the one of this version"


def test_a_base_image_whose_c_library_is_too_old(spack, cache, base_image):
    done = spack.run("oci", "push", "--base-image", f"{base_image}:old", "cache", "oci-app", check=False)
    assert done.returncode == 1
    assert "base/debian:old has glibc 2.2, but" in done.stderr and "--skip-libc-check" in done.stderr
    spack.run("oci", "push", "--base-image", f"{base_image}:old", "--skip-libc-check", "cache", "oci-app")
    assert [tag for tag in cache.tags() if tag.startswith("oci-app-")]


def tags_of(cache):
    """What was pushed; a repository that nobody has pushed to has no tags."""
    with open_repository(parse_url(cache.url)) as store:
        return sorted(store.tags())


@pytest.fixture(scope="module")
def damaged_base(tmp_path_factory):
    """A layout with base images of which a blob is not what its digest says."""
    damaged = tmp_path_factory.mktemp("base") / "damaged"
    layout = open_layout(LayoutDirectory(str(damaged)), create=True)
    for tag in ("manifest", "config", "layer"):
        descriptor = push_base(layout, tag, shell_root_file_system(), config={"Labels": {"tag": tag}})
        manifest = json.loads(layout.get_manifest(tag)[1])
        digest = {
            "manifest": descriptor.digest,
            "config": manifest["config"]["digest"],
            "layer": manifest["layers"][0]["digest"],
        }[tag]
        blob = damaged / "blobs" / "sha256" / digest.partition(":")[2]
        blob.chmod(0o644)
        data = blob.read_bytes()
        blob.write_bytes(data.replace(b"linux", b"Linux") if tag == "config" else data[:-1] + b"!")
    return f"oci+file://{damaged}"


@pytest.mark.parametrize(
    "words, message",
    [
        (["--tag", "x.spack", "cache", "oci-leaf@2.0"], "cannot have the tag x.spack"),
        (["--tag", "a b", "cache", "oci-leaf@2.0"], "not a tag: 'a b'"),
        (["--tag", "", "cache", "oci-leaf@2.0"], "not a tag: ''"),
        (["--tag", "x" * 129, "cache", "oci-leaf@2.0"], "not a tag: 'xxx"),
        (["--tag", "x", "cache"], "nothing to push: no spec is given and no environment is active"),
        (["--squash", "cache", "oci-leaf@2.0"], "name the image with --tag"),
        (["--tag", "x", "--env", "API_TOKEN=1", "cache", "oci-leaf@2.0"], "API_TOKEN looks like a secret"),
        (["--base-image", "{base}:none", "cache", "oci-leaf@2.0"], "base/debian:none is not there"),
        (["--base-image", "{base}@sha256:" + "0" * 64, "cache", "oci-leaf@2.0"], "is not there"),
        (["--base-image", "{base}@sha256:0", "cache", "oci-leaf@2.0"], "not a digest: 'sha256:0'"),
        (
            ["--base-image", "{base}:foreign", "cache", "oci-leaf@2.0"],
            "is for linux/s390x, the packages are for",
        ),
        (["--base-image", "docker:x", "cache", "oci-leaf@2.0"], "not an image reference"),
        (
            ["--base-image", "oci+http://127.0.0.1:9/debian:12", "cache", "oci-leaf@2.0"],
            "reading base image 127.0.0.1:9/debian:12",
        ),
        (["--base-image", "oci+file:///no/such/layout:12", "cache", "oci-leaf@2.0"], "base image oci+file:///no/"),
        (["--base-image", "{damaged}:manifest", "cache", "oci-leaf@2.0"], "came back with the digest"),
        (["--base-image", "{damaged}:config", "cache", "oci-leaf@2.0"], "came back with the digest"),
        (["--base-image", "{damaged}:layer", "cache", "oci-leaf@2.0"], "came back with the digest"),
        (
            ["--base-image", "{damaged}:layer", "--skip-libc-check", "cache", "oci-leaf@2.0"],
            "came back with the digest",
        ),
    ],
)
def test_bad_input_is_one_line_and_pushes_nothing(words, message, spack, cache, base_image, damaged_base):
    words = [word.format(base=base_image, damaged=damaged_base) for word in words]
    done = spack.run("oci", "push", *words, check=False)
    assert done.returncode == 1 and message in done.stderr
    assert "Traceback" not in done.stderr and len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert tags_of(cache) == []


def test_specs_that_contradict_each_other(spack, cache, base_image, engine):
    """Two packages set a variable to different things: it is the user's to decide. Lists of paths add up."""
    words = ["--private", "--base-image", f"{base_image}:new", "--tag", "x", "cache", "oci-private", "oci-script"]
    done = spack.run("oci", "push", *words, check=False)
    assert done.returncode == 1 and len(done.stderr.strip().splitlines()) == 1, done.stderr
    for part in ("OCITEST_COLOR (oci-private@1.0/", ": red, oci-script@1.0/", ": blue)", "--env OCITEST_COLOR=red"):
        assert part in done.stderr
    assert "OCITEST_PATH" not in done.stderr and tags_of(cache) == []
    spack.run("oci", "push", "--env", "OCITEST_COLOR=green", *words)
    engine.pull(name_of(cache, "x"))
    printed = engine.run(name_of(cache, "x"), "sh", "-c", "echo $OCITEST_COLOR $OCITEST_PATH")
    color, _, paths = printed.strip().partition(" ")
    assert color == "green" and {path.rpartition("/")[2] for path in paths.split(":")} == {"share", "etc"}


def test_an_environment_that_contradicts_itself(spack, cache, base_image, tmp_path):
    """The same in a spack.yaml, which may say what it shall be."""
    (tmp_path / "env").mkdir()
    text = "spack:\n  specs: [oci-private, oci-script]\n  view: false\n"
    (tmp_path / "env" / "spack.yaml").write_text(text)
    spack.run("-e", tmp_path / "env", "install")
    push = ["-e", tmp_path / "env", "oci", "push", "--private", "--tag", "x", "cache"]
    done = spack.run(*push, check=False)
    assert done.returncode == 1 and "OCITEST_COLOR" in done.stderr and tags_of(cache) == []
    (tmp_path / "env" / "spack.yaml").write_text(text + "  oci: {image: {env: {OCITEST_COLOR: blue}}}\n")
    spack.run(*push)
    assert "OCITEST_COLOR=blue" in cache.config("x")["config"]["Env"]


def test_a_base_image_behind_the_credentials_of_the_mirror(source, new_cache, tls_registry):
    """One registry, one login: what is good for the mirror reads the base image next to it."""
    cache = new_cache("tls")
    credentials = StaticCredentials(tls_registry.host, Credentials(USER, PASSWORD))
    settings = RegistrySettings(credentials=(credentials,), ca_bundle=tls_registry.ca)
    repository = parse_url(tls_registry.mirror_url("base/private"))
    with open_repository(repository, settings) as store:
        push_base(store, "1", shell_root_file_system())
    spack = source()
    spack.use(cache)
    base = tls_registry.mirror_url("base/private") + ":1"
    done = spack.run("oci", "push", "--base-image", base, "cache", "oci-leaf@2.0")
    assert "1 mounted" in done.stdout + done.stderr
    spack.mirrors(cache=cache.url)
    done = spack.run("oci", "push", "--force", "--base-image", base, "cache", "oci-leaf@2.0", check=False)
    assert done.returncode == 1 and "401" in done.stderr and PASSWORD not in done.stderr


def test_dry_run_says_which_images_would_be_made(spack, cache, base_image):
    words = ["oci", "push", "--dry-run", "--base-image", f"{base_image}:new", "--tag", "x", "--tag", "y"]
    plan = json.loads(spack.run(*words, "--json", "cache", "oci-app").stdout)
    assert [image["image"] for image in plan["images"]] == [name_of(cache, "x"), name_of(cache, "y")]
    assert [label.partition("@")[0] for label in plan["images"][0]["packages"]][-1] == "oci-app"
    assert "would be an image of 3 packages on" in spack.run(*words, "cache", "oci-app").stdout


def test_external_packages_are_named(spack, cache):
    done = spack.run("oci", "push", "--tag", "x", "cache", "oci-stack")
    assert "External packages are not in the image" in done.stdout + done.stderr and "oci-external@1.0" in done.stderr


@pytest.fixture
def leaf(source, destination, cache):
    """An instance with oci-leaf in a tree of its own, and the prefix; the package is in the cache."""
    first = source()
    first.use(cache)
    first.run("oci", "push", "--update-index", "cache", "oci-leaf@2.0")
    spack = destination()
    spack.use(cache)
    spack.run("install", "--cache-only", "oci-leaf@2.0")
    return spack, Path(spack.run("location", "-i", "oci-leaf").stdout.strip())


def test_a_file_that_engines_take_for_a_whiteout_is_refused_by_name(leaf):
    spack, prefix = leaf
    (prefix / ".wh.x").write_text("")
    done = spack.run("oci", "push", "--tag", "x", "cache", "oci-leaf", check=False)
    assert done.returncode == 1 and "container engines take .wh.x of oci-leaf@2.0/" in done.stderr
    spack.run("oci", "push", "--tag", "x", "--exclude-files", ".wh.*", "cache", "oci-leaf")


@pytest.mark.skipif(not shutil.which("gcc"), reason="needs gcc")
def test_shared_libraries_that_the_image_will_lack_are_named(leaf, base_image, tmp_path):
    spack, prefix = leaf
    for words, code in (
        (["-shared", "-Wl,-soname,libodd.so.1", "-o", tmp_path / "libodd.so.1"], "void odd(void) {}"),
        (["-o", prefix / "tool", tmp_path / "libodd.so.1"], "void odd(void); int main(void) { odd(); return 0; }"),
    ):
        subprocess.run(["gcc", "-x", "c", "-", "-x", "none", *words], input=code.encode(), check=True)
    done = spack.run("oci", "push", "--base-image", f"{base_image}:new", "--tag", "x", "cache", "oci-leaf")
    assert "Shared libraries that are in no package of the image, nor in the base image" in done.stderr
    assert "libodd.so.1 (oci-leaf@2.0/" in done.stderr and ": tool)" in done.stderr


def test_no_image_when_packages_are_missing(destination, cache, tmp_path):
    spack = destination()
    spack.use(cache)
    (tmp_path / "env").mkdir()
    (tmp_path / "env" / "spack.yaml").write_text("spack: {specs: [oci-leaf], view: false}\n")
    spack.run("-e", tmp_path / "env", "concretize")
    done = spack.run("-e", tmp_path / "env", "oci", "push", "--tag", "x", "cache", check=False)
    assert done.returncode == 1 and "the image needs what is not to be pushed: oci-leaf@" in done.stderr


def test_images_in_a_layout(source, new_cache, base_image, engine, tmp_path):
    """A directory as the mirror: no registry has the image, and engines read it all the same."""
    cache = new_cache("layout")
    spack = source()
    spack.use(cache)
    words = ["--base-image", f"{base_image}:new", "--tag", "app", "--entrypoint", "hello", "cache", "oci-app"]
    document = json.loads(spack.run("oci", "push", "--json", *words).stdout)["images"][0]
    assert document["image"] == cache.image("app")
    (package,) = [tag for tag in cache.tags() if tag.startswith("oci-app-")]
    for tag, command in (("app", []), (package, ["hello"])):
        image = engine("pull", "--quiet", cache.image(tag)).stdout.strip()
        assert "greeting: hello from leaf" in engine.run(image, *command)
        engine("rmi", "--force", image)


def push_foreign_image(cache, tag):
    """As the pusher on an arm64 machine would."""
    with open_repository(parse_url(cache.url)) as store:
        document = {"os": "linux", "architecture": "arm64", "rootfs": {"type": "layers", "diff_ids": []}}
        config = put_bytes(store, json.dumps(document).encode(), d.OCI_CONFIG)
        manifest = {"schemaVersion": 2, "mediaType": d.OCI_MANIFEST, "config": config.to_dict(), "layers": []}
        push_platform(store, tag, d.canonical_json(manifest), d.OCI_MANIFEST, Platform("linux", "arm64"))


def platforms_of(cache, tag):
    entries = json.loads(cache.raw_manifest(tag))["manifests"]
    return [str(Platform.from_document(entry["platform"])) for entry in entries]


def test_one_tag_for_several_architectures(spack, cache, base_image, engine):
    push_foreign_image(cache, "multi")
    words = ["--multi-arch", "--base-image", f"{base_image}:new", "--tag", "multi", "cache", "oci-app"]
    document = json.loads(spack.run("oci", "push", "--json", *words).stdout)["images"][0]
    assert platforms_of(cache, "multi") == ["linux/amd64", "linux/arm64"]
    assert document["index"]["digest"] == d.sha256_digest(cache.raw_manifest("multi"))
    engine.pull(name_of(cache, "multi"))
    assert "greeting: hello from leaf" in engine.run(name_of(cache, "multi"), "hello")


def test_one_tag_for_several_microarchitectures(destination, cache, base_image):
    """Of one machine's packages, built for two levels: machines that say theirs get the better one."""
    spack = destination()
    spack.use(cache)
    for target in ("x86_64_v3", "x86_64_v2"):
        spack.write_config("packages", {"all": {"require": [f"target={target}"]}}, spack.base_scope)
        spack.run("install", "oci-leaf@2.0")
        words = ["--multi-arch", "--base-image", f"{base_image}:new", "--tag", "multi", "cache"]
        spack.run("oci", "push", *words, f"oci-leaf target={target}")
    assert platforms_of(cache, "multi") == ["linux/amd64", "linux/amd64/v2", "linux/amd64/v3"]
    digests = [entry["digest"] for entry in json.loads(cache.raw_manifest("multi"))["manifests"]]
    assert digests[0] == digests[1] != digests[2], "others get what runs everywhere"


def test_export(spack, base_image, engine, tmp_path):
    for destination, pull in (
        (f"{tmp_path}/layout:app", f"oci:{tmp_path}/layout:app"),
        (f"{tmp_path}/image.tar:app", f"oci-archive:{tmp_path}/image.tar:app"),
    ):
        spack.run("oci", "export", "--base-image", f"{base_image}:new", destination, "oci-app")
        image = engine("pull", "--quiet", pull).stdout.strip()
        assert "greeting: hello from leaf" in engine.run(image, "hello")
        engine("rmi", "--force", image)
    docker = tmp_path / "docker.tar"
    words = ["--entrypoint", "hello", "--squash", "--strip-build-info", "--base-image", f"{base_image}:new"]
    done = spack.run("oci", "export", *words, "--json", f"docker-archive:{docker}:v1", "oci-app")
    assert json.loads(done.stdout)["format"] == "docker-archive"
    engine("load", "--quiet", "--input", str(docker))
    assert "greeting: hello from leaf" in engine.run("localhost/oci-app:v1")
    with tarfile.open(docker) as archive:
        (entry,) = json.load(archive.extractfile("manifest.json"))
    assert len(entry["Layers"]) == 2, "the base's, and one with packages and sbang"


def test_more_packages_than_layers(spack, cache, base_image, engine):
    spack.write_config("oci", {"max_layers": 4})
    words = ["--base-image", f"{base_image}:new", "--tag", "few", "cache", "oci-app", "oci-script"]
    done = spack.run("oci", "push", *words)
    assert "shared" in done.stdout + done.stderr
    assert len(json.loads(cache.raw_manifest("few"))["layers"]) == 4
    engine.pull(name_of(cache, "few"))
    assert "says: from" in engine.run(name_of(cache, "few"), "greet")
    (tag,) = [tag for tag in cache.tags() if tag.startswith("oci-script-")]
    assert len(json.loads(cache.raw_manifest(tag))["layers"]) == 5, "the packages' own tags stay as they are"


def test_skopeo_reads_all_of_it(spack, cache, base_image):
    spack.run("oci", "push", "--base-image", f"{base_image}:new", "--tag", "all", "cache", "oci-stack")
    assert len([tag for tag in cache.tags() if tag.endswith(".spack")]) == len(STACK) + 1
    subprocess.run(
        ["skopeo", "inspect", *cache.skopeo_flags, cache.image("all")], check=True, stdout=subprocess.DEVNULL
    )
