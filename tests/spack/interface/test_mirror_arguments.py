# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Where a mirror is expected: one rule for the default, variables and relative paths, and what somebody meant."""

import pytest


@pytest.fixture
def spack(source):
    return source()


def said_by(done):
    return " ".join((done.stdout + done.stderr).split())


@pytest.mark.one_spack
@pytest.mark.parametrize(
    "words, expected",
    [
        (["list", "ghcr.io/foo/bar"], "did you mean `oci://ghcr.io/foo/bar`?"),
        (["push", "ghcr.io/foo/bar", "oci-app"], "did you mean `oci://ghcr.io/foo/bar`?"),
        (["update-index", "localhost:5000/x"], "did you mean `oci+http://localhost:5000/x`?"),
        (["push", "localhost:5443/x", "oci-app"], "did you mean `oci://localhost:5443/x`?"),
        (["push", "nodir/", "oci-app"], "did you mean `./nodir`?"),
        (["doctor", "oci:/x"], "did you mean `oci://x`?"),
        (["push", "oci+file:/nowhere", "oci-app"], "did you mean `oci+file:///nowhere`?"),
        (["list", "OCI+HTTPS://me:secret@host/x"], "'OCI+HTTPS://...@host/x': did you mean `oci://host/x`?"),
        (["list", "oci://ghcr.io/"], "write oci://ghcr.io/NAME"),
        (["push", "cahce", "oci-app"], "did you mean `cache`?"),
        (["update-index", "cahce"], "did you mean `cache`?"),
        (["push", "oci-app", "cache"], "it comes first: `spack oci push cache oci-app`"),
        (["list", "oci-app", "oci+file:///nowhere"], "it comes first: `spack oci list oci+file:///nowhere oci-app`"),
        (["list", "recipe-is-elsewhere"], "`spack oci list MIRROR recipe-is-elsewhere`"),
        (["install", "cache", "oci-app"], "cache is a mirror, and an install takes none"),
        (["fetch", "oci+file:///nowhere", "oci-app"], "then leave it out: `spack oci install oci-app`"),
        (["list", "oci-ap"], "did you mean `oci-app`?"),
        (["du", "oci-ap"], "no mirror is called 'oci-ap': see `spack mirror list`"),
        (["show", "cahce", "oci-app"], "did you mean `cache`?"),
        (["show"], "the following arguments are required"),
    ],
)
def test_what_somebody_meant(spack, words, expected):
    spack.mirrors(cache="oci+file:///nowhere/cache", secure="oci://localhost:5443/cache")
    done = spack.run("oci", *words, check=False)
    assert done.returncode != 0 and expected in said_by(done), said_by(done)
    assert "Traceback" not in said_by(done)


@pytest.mark.one_spack
def test_what_was_pushed_without_a_mirror_is_listed_shown_and_installed_without_one(source, destination):
    """The embedded default, in every sub-command, on the machine where it is."""
    spack = source()
    spack.write_config("mirrors", {})
    nothing = said_by(spack.run("oci", "list", check=False))
    assert "no OCI mirror is configured" in nothing and "`spack mirror add NAME oci://HOST/NAME`" in nothing
    assert "No OCI mirror is configured" in spack.run("oci", "push", "--update-index", "oci-leaf@2.0").stdout
    assert "oci-leaf" in spack.run("oci", "list").stdout
    assert "oci-leaf@2.0" in spack.run("oci", "show", "oci-leaf").stdout
    consumer = destination()
    consumer.write_config("mirrors", {})
    consumer.write_config("oci", {"cache": {"root": str(spack.user_cache / "oci")}})
    consumer.run("oci", "install", "oci-leaf@2.0")
    assert "oci-leaf" in consumer.installed()


@pytest.mark.one_spack
def test_what_somebody_meant_of_what_a_mirror_has(source, new_cache):
    """A mistyped package, version, image or, in its place, mirror."""
    spack = source()
    spack.use(new_cache("layout"))
    spack.run("oci", "push", "--update-index", "--tag", "tools", "cache", "oci-leaf@2.0")
    for words, expected in (
        (["show", "cache", "oci-leef"], "has nothing that matches oci-leef: it has oci-leaf@2.0"),
        (["show", "cache", "oci-leaf@3"], "has nothing that matches oci-leaf@3: it has oci-leaf@2.0"),
        (["show", "toools"], "has nothing that matches toools: it has tools"),
        (["show", "cahce"], "has nothing that matches cahce: did you mean the mirror `cache`?"),
        (["verify", "cache", "oci-leef"], "has nothing that matches oci-leef: it has oci-leaf@2.0"),
    ):
        done = spack.run("oci", *words, check=False)
        assert done.returncode == 1 and expected in said_by(done), said_by(done)


@pytest.mark.parametrize(
    "url, expected",
    [
        ("oci+file://$user_cache_path/../mirrors/a", "{home}/mirrors/a"),
        ("oci+file:///$HERE/b", "{home}/b"),
        ("oci+file://${HERE}/b", "{home}/b"),
        ("oci+file://~/c", "{home}/home/c"),
        ("oci+file://../d", "{home}/d"),
        ("oci+file:///plain/e", "/plain/e"),
        ("oci://$REGISTRY/team/cache", None),
    ],
)
def test_variables_in_urls(spack, url, expected):
    """As Spack has them in paths; a relative path is relative to the file that has it."""
    spack.environment.update(HERE=str(spack.home), REGISTRY="r.example:5000")
    spack.mirrors(cache=url)
    out = spack.script(
        "import spack.mirrors.mirror as m\n"
        "from spack_oci.spack.configuration import mirrors\n"
        "mirror = m.MirrorCollection()['cache']\n"
        "print(mirror.fetch_url, mirror.push_url, mirrors.location_of(mirror, 'fetch').url)"
    )
    wanted = f"oci+file://{expected.format(home=spack.home)}" if expected else "oci://r.example:5000/team/cache"
    assert out.split() == [wanted] * 3


@pytest.mark.one_spack
def test_a_variable_that_is_not_set_is_named(spack, tmp_path):
    spack.mirrors(cache=f"oci+file://{tmp_path}/$no_such_variable/cache")
    for words in (["list"], ["push", "cache", "oci-app"], ["doctor"]):
        done = spack.run("oci", *words, check=False)
        assert done.returncode != 0 and "$no_such_variable is not known" in said_by(done), said_by(done)
    assert list(tmp_path.glob("$*")) == [], "no directory of that name was made"


def test_settings_beside_spack_yaml_disturb_no_spack_without_this_package(spack, destination):
    """It refuses `oci:` in a spack.yaml; an `oci.yaml` beside it, included or not, it does not read."""
    directory = spack.home / "env"
    directory.mkdir()
    (directory / "oci.yaml").write_text("oci:\n  jobs:\n    transfer: 5\n")
    vanilla = destination(ours=False)
    for include in ("", "  include: ['.']\n"):
        (directory / "spack.yaml").write_text(f"spack:\n{include}  specs: []\n  view: false\n")
        assert "transfer: 5" in spack.run("-e", directory, "config", "get", "oci").stdout
        assert vanilla.run("-e", directory, "find", check=False).returncode == 0
