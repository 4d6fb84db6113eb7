# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack buildcache` and `spack clean` with OCI mirrors: what they cannot do names the command that does it."""

import pytest

URL = "oci+file:///nowhere/cache"


@pytest.fixture
def spack(source):
    instance = source()
    instance.mirrors(cache=URL, other="oci+http://127.0.0.1:1/a/b")
    return instance


def said_by(done):
    return " ".join((done.stdout + done.stderr).split())


@pytest.mark.parametrize(
    "words, expected",
    [
        (["check", "oci-leaf@2.0"], "spack oci list MIRROR SPEC"),
        (["check", "-m", URL, "oci-leaf@2.0"], "spack oci list MIRROR SPEC"),
        (["download", "-s", "oci-leaf@2.0", "-p", "here"], "spack oci fetch SPEC"),
        (["prune", "cache"], "spack oci prune cache"),
        (["migrate", "cache"], "there is nothing to migrate"),
        (["sync", "cache", "other"], "spack oci copy cache other"),
    ],
    ids=lambda v: v[0] if isinstance(v, list) else "",
)
def test_the_command_for_oci_mirrors_is_named(spack, words, expected):
    done = spack.run("buildcache", *words, check=False)
    said = said_by(done)
    assert done.returncode != 0 and expected in said and "Traceback" not in said, said


def test_the_index_check_of_newer_spacks_names_verify(spack):
    done = spack.run("buildcache", "check-index", "cache", check=False)
    if spack.version >= (1, 3):
        assert "spack oci verify --level index cache" in said_by(done)
    assert done.returncode != 0 and "Traceback" not in said_by(done)


def test_other_mirrors_are_left_to_spack(spack, tmp_path):
    plain = tmp_path / "plain"
    spack.mirrors(cache=URL, plain=plain.as_uri())
    spack.run("buildcache", "push", "--unsigned", "--update-index", "plain", "oci-leaf@2.0")
    done = spack.run("buildcache", "check", "oci-leaf@2.0", check=False)
    assert "leaves OCI mirrors out: cache" in said_by(done) and "Traceback" not in said_by(done)
    assert "spack oci" not in said_by(spack.run("buildcache", "prune", "plain", check=False))


def test_spec_files_need_no_mirror(spack):
    spack.run("buildcache", "save-specfile", "--root-spec", "oci-app", "-s", "oci-leaf", "--specfile-dir", spack.home)
    assert list(spack.home.glob("oci-leaf*.json"))


def test_spack_clean_removes_what_is_cached_of_oci_mirrors(source, new_cache):
    spack = source()
    spack.use(new_cache("layout"))
    spack.run("oci", "push", "--update-index", "cache", "oci-leaf@2.0")
    spack.run("oci", "list")
    ours = spack.user_cache / "oci"
    blobs, indexes = ours / "blobs" / "blobs" / "sha256", ours / "indexes"
    assert list(blobs.iterdir()) and list(indexes.iterdir())
    spack.run("clean")
    assert list(blobs.iterdir()) and list(indexes.iterdir()), "stages only"
    assert "cached layers of OCI mirrors" in spack.run("clean", "-d").stdout
    assert not list(blobs.iterdir()) and list(indexes.iterdir())
    spack.run("clean", "-m")
    assert not indexes.exists()


def test_mirror_destroy_removes_a_directory_and_nothing_else(source, new_cache, tmp_path):
    spack, cache = source(), new_cache("layout")
    plain = tmp_path / "plain"
    (plain / "build_cache").mkdir(parents=True)
    spack.mirrors(cache=cache.url, plain=plain.as_uri(), registry="oci+http://127.0.0.1:1/a/b", part="oci://x.y/a/b:c")
    spack.run("oci", "push", "cache", "oci-leaf@2.0")
    for name, expected in (("registry", "remove it at the registry"), ("part", "spack oci snapshot --remove")):
        done = spack.run("mirror", "destroy", "-m", name, check=False)
        assert done.returncode != 0 and expected in said_by(done) and "Traceback" not in said_by(done)
    spack.run("mirror", "destroy", "-m", "cache")
    spack.run("mirror", "destroy", "--mirror-url", plain.as_uri())
    assert not (tmp_path / "plain").exists() and not spack.home.joinpath(cache.url[len("oci+file://") :]).exists()
    done = spack.run("mirror", "destroy", "-m", "cache", check=False)
    assert done.returncode != 0 and "does not exist" in said_by(done)
