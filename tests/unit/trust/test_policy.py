# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`oci:trust`: the longest match wins, and nothing in it is ignored."""

import pytest
from spack_oci.errors import ConfigurationError, StorageError
from spack_oci.trust.policy import trust_of
from unit.trust.cases import signer

KEYS = {"new": "/etc/new.pub", "old": "/etc/old.pub"}
FILES = {path: signer(name).public.pem for name, path in KEYS.items()}


def read(path):
    return FILES[path]


def trust(policies, keys=KEYS):
    return trust_of({"keys": keys, "policies": policies}, read)


def test_without_a_section_nothing_is_asked():
    policy = trust_of(None, read).policy_for("oci://registry.example/team/cache")
    assert (policy.mode, policy.active) == ("off", False)


@pytest.mark.parametrize(
    ("url", "mode"),
    [
        ("oci://ghcr.io/my-team", "require"),
        ("oci://ghcr.io/my-team/cache", "require"),
        ("oci+http://ghcr.io/my-team/cache", "require"),
        ("oci://ghcr.io/my-team-two/cache", "warn"),
        ("oci://ghcr.io/my-team/dev/cache", "off"),
        ("oci://ghcr.io.example/my-team/cache", "warn"),
        ("oci+file:///srv/cache", "require"),
        ("oci+file:///srv/cached", "warn"),
    ],
)
def test_the_longest_match_of_host_and_namespace_wins(url, mode):
    policies = {
        "ghcr.io/my-team": {"mode": "require"},
        "ghcr.io/my-team/dev/": {"mode": "off"},
        "/srv/cache": {"mode": "require"},
        "*": {"mode": "warn"},
    }
    assert trust(policies).policy_for(url).mode == mode


@pytest.mark.parametrize("scope", ["docker.io/me", "index.docker.io/me", "oci://docker.io/me/"])
@pytest.mark.parametrize("url", ["oci://index.docker.io/me/cache", "oci://docker.io/me/cache", "oci://me/cache"])
def test_docker_hub_has_several_names(scope, url):
    assert trust({scope: {"mode": "require"}}).policy_for(url).required


@pytest.mark.parametrize(
    ("scope", "url"),
    [
        ("ghcr.io/my-team", "oci://GHCR.IO/My-Team/cache"),
        ("GHCR.io/My-Team", "oci://ghcr.io/my-team/cache"),
        ("ghcr.io/my-team", "oci://ghcr.io:443/my-team/cache"),
        ("ghcr.io:443/my-team", "oci://ghcr.io/my-team/cache"),
        ("ghcr.io/my-team", "oci://ghcr.io./my-team/cache"),
        ("localhost/team", "oci+http://localhost:80/team/cache"),
        ("ghcr.io/my-team/cache", "oci://ghcr.io/my-team/cache:2026-q1"),
        ("/srv/cache", "oci+file:///srv//cache"),
        ("/srv/cache", "oci+file:///srv/x/../cache/"),
        ("/srv/cache", "oci+file://localhost/srv/cache"),
        ("/srv/my cache", "oci+file:///srv/my%20cache"),
        ("/srv/x/../cache/", "oci+file:///srv/cache"),
        ("//srv/cache", "oci+file:///srv/cache"),
        ("file:///srv/my%20cache", "oci+file:///srv/my cache"),
        ("/srv/cache", "oci+file:///srv/cache:2026-q1"),
        ("registry-1.docker.io/me", "oci://docker.io/me/cache"),
        ("docker.io/me", "oci://registry-1.docker.io/me/cache"),
        ("me/cache", "oci://me/cache"),
        ("localhost:80/team", "oci+http://localhost/team/cache"),
        ("localhost:80", "oci+http://localhost:80/team/cache"),
        ("oci+http://localhost:80", "oci+http://localhost/team/cache"),
        ("localhost:443", "oci+http://localhost:443/team/cache"),
        ("[::1]:5000", "oci+http://[::1]:5000/team/cache"),
        ("https://ghcr.io/my-team/", "oci://ghcr.io/my-team/cache"),
    ],
)
def test_no_way_of_writing_a_url_leads_around_a_policy(scope, url):
    assert trust({scope: {"mode": "require"}, "*": {"mode": "off"}}).policy_for(url).required


def test_a_link_leads_around_no_policy(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    for scope, place in (("real", "link"), ("link", "real")):
        found = trust({str(tmp_path / scope): {"mode": "require"}, "*": {"mode": "off"}})
        assert found.policy_for(f"oci+file://{tmp_path / place}/cache").required


@pytest.mark.parametrize(
    "scope",
    ["ghcr.io/*", "ghcr.io/team/*", "*.example.org", "**", "", "oci://", "all", "ghcr.io/team:2026", "./cache"]
    + ["~/cache", "$spack/cache", "oci+file:/srv", "oci+file://srv", "s3://bucket/x", " ghcr.io", "ghcr.io//team"]
    + ["::1", "h.x:y", "me@ghcr.io/team", "ghcr.io/team@sha256:0"],
)
def test_a_policy_of_a_place_that_no_cache_has_is_refused(scope):
    with pytest.raises(ConfigurationError, match="oci:trust:policies:"):
        trust({scope: {"mode": "require"}})


@pytest.mark.parametrize("name", ["", "*.example.org/team", "ghcr.io", "ghcr.io/team/*", "ghcr.io/team:tag", 7])
def test_what_is_no_repository_is_refused_as_one_whose_signatures_count(name):
    with pytest.raises(ConfigurationError, match="which is no repository"):
        trust({"*": {"mode": "require", "repositories": [name]}})


@pytest.mark.parametrize(
    ("named", "here"),
    [
        ("GHCR.io/team/cache", "ghcr.io/team/cache"),
        ("ghcr.io:443/team/cache", "ghcr.io/team/cache"),
        ("docker.io/team/cache", "index.docker.io/team/cache"),
        ("Old.example/cache", "ghcr.io/team/cache"),
        ("oci-layout", "ghcr.io/team/cache"),
    ],
)
def test_how_a_repository_is_written_makes_no_difference(named, here):
    policy = trust({"*": {"mode": "require", "repositories": ["old.example:443/cache", "oci-layout"]}})
    policy = policy.policy_for("oci://ghcr.io/team/cache")
    assert policy.accepts_repository(named, here)
    assert not policy.accepts_repository("ghcr.io:5000/team/cache", here)
    assert not policy.accepts_repository("ghcr.io/team", here)


def test_two_policies_for_one_place_are_refused():
    with pytest.raises(ConfigurationError, match=r"docker.io/me and index.docker.io/me, which are the same"):
        trust({"docker.io/me": {"mode": "require"}, "index.docker.io/me": {"mode": "off"}})


def test_a_policy_without_keys_means_all_of_them():
    assert [k.name for k in trust({"*": {"mode": "warn"}}).policy_for("oci://h.x/n").keys] == ["new", "old"]
    one = trust({"*": {"mode": "require", "keys": ["old"]}}).policy_for("oci://h.x/n")
    assert [k.name for k in one.keys] == ["old"]
    assert one.describe() == "require old"


def test_a_key_may_stand_in_the_configuration_itself():
    keys = {"inline": signer("new").public.pem.decode()}
    assert trust({"*": {"mode": "require"}}, keys).keys["inline"].id == signer("new").public.id


def test_off_may_be_written_as_yaml_reads_it():
    assert trust({"*": {"mode": False}}).policy_for("oci://h.x/n").mode == "off"


def test_max_age_is_read():
    ages = {"30d": 2592000, "2w": 1209600, "12h": 43200, "5m": 300, "9s": 9}
    for text, seconds in ages.items():
        assert trust({"*": {"mode": "require", "max_age": text}}).policy_for("oci://h.x/n").max_age == seconds


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"key": {}}, "'key', which means nothing: .*did you mean keys"),
        ({"policies": {"*": {"mode": "requir"}}}, "mode is 'requir'.*did you mean require"),
        ({"policies": {"*": {}}}, "mode is None"),
        ({"policies": {"*": {"mode": True}}}, "mode is True"),
        ({"policies": {"*": {"mode": "warn", "treshold": 2}}}, "'treshold'.*did you mean threshold"),
        ({"policies": {"*": "require"}}, "not made of names and values"),
        ({"policies": ["*"]}, "oci:trust:policies is not made"),
        ({"keys": KEYS, "policies": {"*": {"mode": "warn", "keys": ["nwe"]}}}, "key nwe.*did you mean new"),
        ({"keys": KEYS, "policies": {"*": {"mode": "warn", "keys": "new"}}}, "is no list"),
        ({"keys": KEYS, "policies": {"*": {"mode": "warn", "threshold": 0}}}, "threshold is 0"),
        ({"keys": KEYS, "policies": {"*": {"mode": "warn", "threshold": True}}}, "threshold is True"),
        ({"keys": KEYS, "policies": {"*": {"mode": "require", "threshold": 3}}}, "3 signatures, but has 2 keys"),
        ({"keys": KEYS, "policies": {"*": {"mode": "require", "keys": []}}}, "has 0 keys"),
        ({"policies": {"*": {"mode": "require"}}}, "has 0 keys.*spack oci key add"),
        ({"policies": {"*": {"mode": "warn", "max_age": "30"}}}, "max_age is '30'"),
        ({"policies": {"*": {"mode": "warn", "max_age": "a month"}}}, "max_age"),
        ({"keys": {"x": 7}}, "neither a path nor a key"),
        ([], "no policies"),
    ],
)
def test_what_has_no_meaning_is_refused(section, message):
    if section == []:
        assert not trust_of(section, read).policies  # an empty section, however YAML spells it
        return
    with pytest.raises(ConfigurationError, match=message):
        trust_of(section, read)


def test_two_names_for_one_key_are_one_key():
    keys = {"a": signer("new").public.pem.decode(), "b": signer("new").public.pem.decode()}
    with pytest.raises(ConfigurationError, match="2 signatures, but has 1 keys"):
        trust({"*": {"mode": "require", "threshold": 2}}, keys)


def test_a_key_file_that_cannot_be_read_stops():
    def fail(path):
        raise StorageError(f"reading {path}")

    with pytest.raises(StorageError, match="/etc/new.pub"):
        trust_of({"keys": KEYS}, fail)


def test_signed_true_of_a_mirror_requires_a_signature_by_any_key():
    policy = trust({"*": {"mode": "warn"}}).policy_for("oci://h.x/n", signed=True)
    assert policy.required and len(policy.keys) == 2
    named = trust({"*": {"mode": "require", "keys": ["old"]}}).policy_for("oci://h.x/n", signed=True)
    assert [k.name for k in named.keys] == ["old"]


def test_signed_true_without_keys_stops():
    with pytest.raises(ConfigurationError, match="no key is known"):
        trust_of({}, read).policy_for("oci://h.x/n", signed=True)
