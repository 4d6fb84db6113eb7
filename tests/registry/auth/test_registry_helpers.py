# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Credential helpers that others wrote and packaged: login stores through them, fetches read them, logout erases."""

import json
import os
import shutil
import subprocess

import pytest
from spack_oci.content import put_bytes, read_blob
from spack_oci.descriptor import OCI_LAYER
from spack_oci.errors import Unauthorized
from spack_oci.reference import Repository
from spack_oci.registry import Credentials, RegistrySettings, open_repository
from spack_oci.registry.auth.docker_config import default_sources, docker_config_file
from spack_oci.registry.auth.helper import Helper, HelperCredentials
from spack_oci.registry.login import login, logout, parse_key
from support.registries.credential_helpers import HELPERS
from support.registries.docker_registry import PASSWORD, USER, docker_registry

ALICE = Credentials(USER, PASSWORD)


@pytest.fixture(scope="module")
def registry():
    with docker_registry(auth="htpasswd") as r:
        yield r


@pytest.fixture(scope="module", params=list(HELPERS))
def key_chain(request):
    """Name of a helper, and the environment in which it works."""
    with HELPERS[request.param]() as env:
        yield request.param, env


@pytest.fixture
def env(key_chain, tmp_path):
    """With credential files that no other test writes."""
    return {**key_chain[1], "DOCKER_CONFIG": str(tmp_path / "docker"), "XDG_RUNTIME_DIR": str(tmp_path)}


@pytest.fixture
def helper(key_chain, env):
    """The one that is tested; a bus address does not depend on $XDG_RUNTIME_DIR."""
    return Helper(key_chain[0], env)


def configure(env, document):
    os.makedirs(env["DOCKER_CONFIG"], exist_ok=True)
    with open(docker_config_file(env).path, "w", encoding="utf-8") as f:
        json.dump(document, f)


def push_and_fetch(registry, sources, name="team/app"):
    settings = RegistrySettings(sources)
    store = open_repository(Repository(registry.host, name, "http"), settings)
    return read_blob(store, put_bytes(store, name.encode(), OCI_LAYER))


def place_of(registry, path):
    return parse_key(registry.url + (f"/{path}" if path else ""))[1]


@pytest.mark.parametrize("path", ["", "team"])
@pytest.mark.parametrize("kind", ["credsStore", "credHelpers"])
def test_helper_of_the_users_file(kind, path, registry, helper, env):
    configure(
        env, {"credsStore": helper.name} if kind == "credsStore" else {"credHelpers": {registry.host: helper.name}}
    )
    place, settings = place_of(registry, path), RegistrySettings(default_sources(env))
    result = login(place, ALICE, settings, env=env)
    assert result.stored_in == helper.program and result.warnings == ()
    with open(docker_config_file(env).path, encoding="utf-8") as f:
        assert 'auth":' not in f.read().replace(" ", ""), "the secret is in the helper only"

    assert push_and_fetch(registry, default_sources(env)) == b"team/app"
    found = default_sources(env)[-1].find(registry.host, "team/app")
    assert found == ALICE and helper.program in found.origin
    assert (default_sources(env)[-1].find(registry.host, "other/app") is None) == bool(path)

    assert helper.program in logout(place, settings, env=env).removed_from
    assert logout(place, settings, env=env).removed_from == ()
    with pytest.raises(Unauthorized, match="anonymous"):
        push_and_fetch(registry, default_sources(env))


@pytest.mark.parametrize("path", ["", "team"])
def test_helper_of_the_configuration(path, registry, helper, env):
    """``oci:registries:HOST:credentials:helper``."""
    configured = HelperCredentials(registry.host, helper, "oci:registries")
    place, settings = place_of(registry, path), RegistrySettings([configured, *default_sources(env)])
    result = login(place, ALICE, settings, helper=helper, env=env)
    assert result.stored_in == helper.program and result.warnings == ()
    assert push_and_fetch(registry, settings.credentials) == b"team/app"
    assert helper.program in logout(place, settings, helper=helper, env=env).removed_from
    assert logout(place, settings, helper=helper, env=env).removed_from == ()
    assert not any(docker_config_file(env).load().values())
    with pytest.raises(Unauthorized, match="anonymous"):
        push_and_fetch(registry, settings.credentials)


def test_identity_token(helper):
    token = Credentials(identity_token="an-identity-token")
    helper.store("tokens.example", token)
    assert helper.get("tokens.example") == token
    assert helper.erase("tokens.example") and not helper.erase("tokens.example")


def test_docker_hub(helper):
    """Under the address that Docker itself uses."""
    helper.store("docker.io", ALICE)
    assert helper.get("index.docker.io") == ALICE
    assert helper.erase("registry-1.docker.io")


def test_nothing_there(helper):
    """Some helpers say so, some give an empty answer."""
    assert helper.get("nobody.example") is None
    assert helper.erase("nobody.example") is False


def test_what_skopeo_stores_in_a_helper(registry, helper, env, tmp_path):
    if not shutil.which("skopeo"):
        pytest.skip("needs skopeo")
    env["REGISTRY_AUTH_FILE"] = str(tmp_path / "auth.json")
    (tmp_path / "auth.json").write_text(json.dumps({"credHelpers": {registry.host: helper.name}}))
    command = ["skopeo", "login", "--tls-verify=false", "-u", USER, "--password-stdin", registry.host]
    subprocess.run(command, env=env, input=PASSWORD, capture_output=True, text=True, check=True)
    found = default_sources(env)[0].find(registry.host, "team/app")
    assert found == ALICE and helper.program in found.origin
    assert push_and_fetch(registry, default_sources(env)) == b"team/app"
    assert helper.erase(registry.host)
