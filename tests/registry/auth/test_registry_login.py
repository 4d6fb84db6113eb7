# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Login tries before it stores, stores where it is found again, and logout forgets."""

import json
import os
import stat

import pytest
from spack_oci.errors import ConfigurationError, Forbidden, Unauthorized, Unreachable
from spack_oci.reference import Repository
from spack_oci.registry import Credentials, RegistrySettings, StaticCredentials
from spack_oci.registry.auth.docker_config import DockerConfig, default_sources
from spack_oci.registry.auth.helper import Helper
from spack_oci.registry.login import key_of, login, logout, parse_key
from support.registries.fault_registry import Fault, fault_registry

ALICE = Credentials("alice", "correct-horse-battery")
HELPER = """#!/bin/sh
umask 077
case "$1" in
get) cat > /dev/null; test -f {dir}/kept && cat {dir}/kept || {{ echo credentials not found; exit 1; }};;
store) cat > {dir}/kept;;
erase) cat > /dev/null; rm {dir}/kept 2>/dev/null || {{ echo credentials not found; exit 1; }};;
esac
"""


@pytest.fixture
def env(tmp_path):
    helper = tmp_path / "bin" / "docker-credential-test"
    helper.parent.mkdir()
    helper.write_text(HELPER.format(dir=tmp_path))
    helper.chmod(0o755)
    return {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path), "PATH": f"{helper.parent}:{os.environ['PATH']}"}


def settings_of(registry, env):
    return RegistrySettings(default_sources(env), ca_bundle=registry.ca)


def place_of(registry, path=""):
    return parse_key(registry.url + (f"/{path}" if path else ""))[1]


@pytest.mark.parametrize(
    "text, key",
    [
        ("ghcr.io", "ghcr.io"),
        ("ghcr.io/", "ghcr.io"),
        ("oci://ghcr.io/Org/cache", "ghcr.io/org/cache"),
        ("https://r.example:5000", "r.example:5000"),
        ("localhost:5000/a", "localhost:5000/a"),
        ("docker.io", "docker.io"),
    ],
)
def test_keys(text, key):
    assert parse_key(text)[0] == key == key_of(parse_key(text)[1])


def test_scheme_of_keys():
    assert parse_key("oci+http://localhost:5000")[1] == Repository("localhost:5000", "", "http")
    assert parse_key("ghcr.io/a")[1].scheme == "https"


@pytest.mark.parametrize("text", ["", "word", "oci+file:///tmp", "user:pw@ghcr.io", "ftp://ghcr.io", "a/b"])
def test_no_keys(text):
    with pytest.raises(ConfigurationError) as error:
        parse_key(text)
    assert "pw" not in str(error.value)


@pytest.mark.parametrize("auth", ["basic", "bearer"])
@pytest.mark.parametrize("path", ["", "team/app"])
def test_login_and_logout_with_a_file(auth, path, env, tmp_path):
    with fault_registry(auth=auth, tls=True) as registry:
        place, settings = place_of(registry, path), settings_of(registry, env)
        result = login(place, ALICE, settings, env=env)
        file = tmp_path / ".docker" / "config.json"
        assert result.stored_in == str(file) and stat.S_IMODE(file.stat().st_mode) == 0o600
        assert len(result.warnings) == 1 and "unencrypted" in result.warnings[0]
        assert default_sources(env)[-1].find(registry.host, "team/app/deep") == ALICE
        gone = logout(place, settings, env=env)
        assert gone.removed_from == (str(file),) and gone.still_known == ()
        assert logout(place, settings, env=env).removed_from == ()
        assert default_sources(env)[-1].find(registry.host, "team/app") is None


def test_a_logout_names_the_paths_that_have_a_login_of_their_own(env, tmp_path):
    with fault_registry(auth="basic") as registry:
        login(place_of(registry, "team/app"), ALICE, settings_of(registry, env), env=env)
        gone = logout(place_of(registry, ""), settings_of(registry, env), env=env)
        assert gone.still_known == (f"{registry.host}/team/app in {tmp_path / '.docker' / 'config.json'}",)


@pytest.mark.parametrize("auth", ["basic", "bearer"])
def test_wrong_password_is_not_stored(auth, env, tmp_path):
    with fault_registry(auth=auth) as registry:
        with pytest.raises(Unauthorized, match="logging in to|token server") as error:
            login(place_of(registry), Credentials("alice", "wr0ng"), settings_of(registry, env), env=env)
        assert "wr0ng" not in str(error.value)
        assert not (tmp_path / ".docker").exists()


def test_a_failure_on_the_way_stores_nothing(env, tmp_path):
    with pytest.raises(Unreachable):
        login(Repository("127.0.0.1:1", "", "http"), ALICE, RegistrySettings(), env=env)
    with fault_registry(Fault("GET", status=403)) as registry, pytest.raises(Forbidden):
        login(place_of(registry), ALICE, settings_of(registry, env), env=env)
    assert not (tmp_path / ".docker").exists()


def test_registry_that_does_not_ask(env):
    with fault_registry() as registry:
        result = login(place_of(registry, "a/b"), ALICE, settings_of(registry, env), env=env)
        assert "did not ask for credentials" in result.warnings[0]


def test_configured_helper(env, tmp_path):
    with fault_registry(auth="basic") as registry:
        place, settings = place_of(registry), settings_of(registry, env)
        result = login(place, ALICE, settings, helper=Helper("test", env), env=env)
        assert result == result.__class__(registry.host, "docker-credential-test")
        assert json.loads((tmp_path / "kept").read_text())["Secret"] == ALICE.password
        assert not (tmp_path / ".docker").exists()
        assert logout(place, settings, helper=Helper("test", env), env=env).removed_from == ("docker-credential-test",)
        assert not (tmp_path / "kept").exists()


def test_helper_of_the_users_file(env, tmp_path):
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker" / "config.json").write_text('{"credsStore": "test"}')
    with fault_registry(auth="basic") as registry:
        result = login(place_of(registry), ALICE, settings_of(registry, env), env=env)
        assert result.stored_in == "docker-credential-test" and result.warnings == ()
        assert default_sources(env)[-1].find(registry.host, "a") == ALICE


def test_a_secret_in_the_file_goes_when_a_helper_gets_it(env, tmp_path):
    """As Docker does; an entry without a secret says that the helper has it."""
    file = DockerConfig(str(tmp_path / ".docker" / "config.json"), env=env)
    with fault_registry(auth="basic") as registry:
        place, settings = place_of(registry), settings_of(registry, env)
        login(place, ALICE, settings, env=env)
        file._write({**file.load(), "credsStore": "test"})
        login(place, ALICE, settings, env=env)
        assert file.load() == {"auths": {registry.host: {}}, "credsStore": "test"}
        assert file.find(registry.host, "a") == ALICE
        assert logout(place, settings, env=env).removed_from == ("docker-credential-test",)
        assert file.load() == {"auths": {}, "credsStore": "test"}


def test_file_that_the_user_named(env, tmp_path):
    env["REGISTRY_AUTH_FILE"] = str(tmp_path / "mine.json")
    with fault_registry(auth="basic") as registry:
        assert login(place_of(registry), ALICE, settings_of(registry, env), env=env).stored_in == str(
            tmp_path / "mine.json"
        )


def test_what_hides_the_new_credentials_is_named(env, tmp_path):
    (tmp_path / "containers").mkdir()
    with fault_registry(auth="basic") as registry:
        DockerConfig(str(tmp_path / "containers" / "auth.json")).store(registry.host, Credentials("old", "old"))
        place, settings = place_of(registry), settings_of(registry, env)
        result = login(place, ALICE, settings, env=env)
        assert "auth.json has other credentials" in result.warnings[-1]
        assert logout(place, settings, env=env).still_known == (str(tmp_path / "containers" / "auth.json"),)


def test_credentials_of_the_settings_are_not_what_is_tried(env):
    """A login with a wrong password must not pass because the right one is configured somewhere."""
    with fault_registry(auth="basic") as registry:
        settings = RegistrySettings([StaticCredentials(registry.host, ALICE)])
        with pytest.raises(Unauthorized):
            login(place_of(registry), Credentials("alice", "wr0ng"), settings, env=env)
