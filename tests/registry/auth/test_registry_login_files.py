# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Credential files as other tools write them are read by us, and what we write is read by them."""

import os
import shutil
import subprocess

import pytest
from spack_oci.content import put_bytes
from spack_oci.descriptor import OCI_LAYER
from spack_oci.reference import Repository
from spack_oci.registry import Credentials, RegistrySettings, open_repository
from spack_oci.registry.auth.docker_config import DockerConfig, default_sources
from support.registries.docker_registry import PASSWORD, USER, docker_registry

pytestmark = pytest.mark.registry


@pytest.fixture(scope="module")
def registry():
    with docker_registry(auth="htpasswd") as r:
        yield r


def environment(tmp_path):
    (tmp_path / "run").mkdir(mode=0o700)
    return {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path / "run")}


def run(env, *command, **kwargs):
    if not shutil.which(command[0]):
        pytest.skip(f"needs {command[0]}")
    return subprocess.run(command, env=env, capture_output=True, text=True, check=True, **kwargs)


def push_with(registry, sources, name="team/app"):
    store = open_repository(Repository(registry.host, name, "http"), RegistrySettings(sources))
    return put_bytes(store, name.encode(), OCI_LAYER)


@pytest.mark.parametrize("tool", ["skopeo", "podman"])
@pytest.mark.parametrize("authfile", ["", "explicit.json"])
def test_login_of(tool, authfile, registry, tmp_path):
    env = environment(tmp_path)
    if authfile:
        env["REGISTRY_AUTH_FILE"] = str(tmp_path / authfile)
    run(env, tool, "login", "--tls-verify=false", "-u", USER, "--password-stdin", registry.host, input=PASSWORD)
    assert push_with(registry, default_sources(env))


def test_a_login_that_outlives_a_reboot(registry, tmp_path):
    """podman #7563, #26189: what is in the runtime directory is gone then."""
    env, path = environment(tmp_path), tmp_path / ".config" / "containers" / "auth.json"
    path.parent.mkdir(parents=True)
    run(
        env, "podman", "login", "--tls-verify=false", "--authfile", path, "-u", USER, "--password-stdin", registry.host,
        input=PASSWORD,
    )  # fmt: skip
    assert push_with(registry, default_sources(env))


def test_login_of_skopeo_for_a_path(registry, tmp_path):
    """Keys with a path."""
    env = environment(tmp_path)
    place = f"{registry.host}/team"
    try:
        run(env, "skopeo", "login", "--tls-verify=false", "-u", USER, "--password-stdin", place, input=PASSWORD)
    except subprocess.CalledProcessError as e:
        pytest.skip(f"this skopeo does not log in to paths: {e.stderr.strip()}")
    assert push_with(registry, default_sources(env), "team/deep/app")
    assert default_sources(env)[0].find(registry.host, "other/app") is None


def test_skopeo_reads_what_we_write(registry, tmp_path):
    env = environment(tmp_path)
    path = tmp_path / "auth.json"
    DockerConfig(str(path)).store(registry.host, Credentials(USER, PASSWORD))
    env["REGISTRY_AUTH_FILE"] = str(path)
    assert run(env, "skopeo", "login", "--get-login", registry.host).stdout.strip() == USER
