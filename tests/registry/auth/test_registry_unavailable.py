# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Credentials that a user's files name and that cannot be had: reading goes on anonymously, and says so once; where the
registry refuses that, the error names what is missing. Logins at the same time lose none."""

import base64
import json
import subprocess
import sys
from pathlib import Path

import pytest
import spack_oci
from spack_oci.content import BytesSource
from spack_oci.errors import ConfigurationError, Unauthorized
from spack_oci.reference import Repository
from spack_oci.registry import RegistrySettings, open_repository
from spack_oci.registry.auth import helper as helpers
from spack_oci.registry.auth.docker_config import DockerConfig, default_sources
from spack_oci.registry.probe import WARN, probe_repository
from support.registries.fault_registry import fault_registry
from support.registries.registry_cases import MANIFEST, NAME, SMALL, keep, layer


def helper_program(tmp_path, script):
    program = tmp_path / "docker-credential-odd"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


#: what is in the file, what the helper ``odd`` does, and what is said
CASES = {
    "no helper": ({"credsStore": "desktop"}, "", "docker-credential-desktop is not on PATH"),
    "helper of a host": ({"credHelpers": {"HOST": "desktop"}}, "", "docker-credential-desktop is not on PATH"),
    "helper that hangs": ({"credsStore": "odd"}, "exec sleep 60", "docker-credential-odd took longer than"),
    "garbage": ({"credsStore": "odd"}, "echo hello", "docker-credential-odd gave no credentials"),
    "numbers": ({"credsStore": "odd"}, """echo '{"Username": 5, "Secret": 6}'""", "gave no credentials"),
    "failure": ({"credsStore": "odd"}, "exit 3", "failed with exit code 3"),
    "no base64": ({"auths": {"HOST": {"auth": "!!!"}}}, "", "is not user and password in base64"),
    "no user": ({"auths": {"HOST": {"auth": base64.b64encode(b"secret").decode()}}}, "", "is not user and password"),
    "a number": ({"auths": {"HOST": {"auth": 5}}}, "", "auth is a number"),
    "a user that is none": ({"auths": {"HOST": {"username": {"a": "b"}}}}, "", "username is an object"),
    "a list": ({"auths": []}, "", "auths is a list"),
    "no JSON": ("{", "", "is not a JSON object"),
}


@pytest.fixture(params=sorted(CASES))
def case(request, tmp_path, monkeypatch):
    """``(registry, store, text)``: a registry that anybody may read, and what is said of the credentials."""
    document, script, text = CASES[request.param]
    if request.param == "helper that hangs":  # the others may take their time on a busy machine
        monkeypatch.setattr(helpers, "TIMEOUT", 0.5)
    helper_program(tmp_path, script)
    with fault_registry(auth="bearer", anonymous_actions="pull") as registry:
        keep(registry, SMALL, manifest=MANIFEST)
        written = document if isinstance(document, str) else json.dumps(document).replace("HOST", registry.host)
        (tmp_path / "config.json").write_text(written)
        env = {"DOCKER_CONFIG": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path), "PATH": f"{tmp_path}:/usr/bin:/bin"}
        settings = RegistrySettings(credentials=default_sources(env))
        yield registry, open_repository(Repository(registry.host, NAME, "http"), settings), text


def test_reading_goes_on_anonymously_and_says_so_once(case, told):
    _, store, text = case
    assert store.get_manifest("1")[1] == MANIFEST
    assert store.has_blob(layer(SMALL).digest)
    assert len(told) == 1 and text in told[0] and "anonymously" in told[0]


def test_writing_names_what_is_missing_where_the_registry_refuses(case, told):
    _, store, text = case
    with pytest.raises(Unauthorized) as error:
        store.put_blob(layer(b"new"), BytesSource(b"new"))
    assert text in error.value.message


def test_doctor_shows_it(case, told):
    _, store, text = case
    (check,) = [check for check in probe_repository(store) if check.name == "credentials"]
    assert check.status == WARN and text in check.detail


def test_a_file_that_the_configuration_names_is_not_passed_over(tmp_path):
    (tmp_path / "auth.json").write_text('{"auths": {"h.example": {"auth": "!!!"}}}')
    with pytest.raises(ConfigurationError, match="base64"):
        DockerConfig(str(tmp_path / "auth.json"), scope="h.example", label="oci:registries").find("h.example", "a/b")


def test_sixty_logins_at_once_lose_none(tmp_path):
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from spack_oci.registry import Credentials;"
        "from spack_oci.registry.auth.docker_config import DockerConfig\n"
        "for n in range(10): DockerConfig(sys.argv[2]).store(f'h{sys.argv[3]}-{n}.example', Credentials('u', 'p'))"
    )
    path, library = tmp_path / "new" / "config.json", Path(spack_oci.__file__).parents[1]
    logins = [subprocess.Popen([sys.executable, "-c", code, str(library), str(path), str(n)]) for n in range(6)]
    assert [login.wait() for login in logins] == [0] * 6
    assert len(json.loads(path.read_text())["auths"]) == 60
    assert path.stat().st_mode & 0o777 == 0o600
    assert [p.name for p in path.parent.iterdir()] == ["config.json"]
