# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Registries of both kinds of authentication, and a machine that runs the jobs of a pipeline."""

import contextlib
import itertools
import shutil
from pathlib import Path

import pytest
from support.programs.gitlab_runner import Runner, machine_environment
from support.registries.docker_registry import PASSWORD, USER, docker_registry
from support.registries.token_server import USERS, token_server

TOKEN_USER = "pusher"


@pytest.fixture(scope="session")
def guarded_registry(tmp_path_factory):
    """``guarded_registry("password" | "token")``: (mirror URL, user, password) of a repository nobody else knows."""
    numbers = itertools.count()
    with contextlib.ExitStack() as stack:
        registries = {}

        def start(kind):
            if kind == "password":
                return stack.enter_context(docker_registry(auth="htpasswd"))
            server = stack.enter_context(token_server(tmp_path_factory.mktemp("token")))
            return stack.enter_context(docker_registry(auth="token", token=server.registry_options()))

        def make(kind):
            if kind not in registries:
                registries[kind] = start(kind)
            name = f"group/project-{next(numbers)}/cache"
            user, password = (USER, PASSWORD) if kind == "password" else (TOKEN_USER, USERS[TOKEN_USER][0])
            return registries[kind].mirror_url(name), user, password

        yield make


@pytest.fixture
def pipeline_machine(built, our_python, tmp_path):
    """``pipeline_machine(environment, **variables)``: a runner with a Spack in its project's directory."""

    def make(spack_yaml: str, **variables: str) -> Runner:
        project = tmp_path / "project"
        (project / "env").mkdir(parents=True)
        (project / "spack").symlink_to(built.checkout)
        (project / "env" / "spack.yaml").write_text(spack_yaml)
        return Runner(project, lambda home: _machine(built, our_python, home), variables)

    return make


def _machine(built, python: Path, home: Path):
    """A machine on which nothing is installed; what only saves time (the index of recipes) is there."""
    job = built.sibling(home, python=python, tree=home / "opt", padded_length=0)
    # `spack ci rebuild` begins with `spack bootstrap now`, which finds all that it wants on this machine
    job.write_config("bootstrap", {"enable": True, "root": str(home / "bootstrap"), "sources": []}, job.base_scope)
    for file in job.base_scope.glob("*.yaml"):  # scripts call `spack`, not `spack -C SCOPE`
        shutil.copy(file, job.scope)
    return {
        **machine_environment(),
        **job.env(),
        "SPACK_GNUPGHOME": str(home / "gnupg"),
        # `spack bootstrap now` of 1.1 would clone the repository of recipes, and goes on without
        "GIT_ALLOW_PROTOCOL": "none",
    }
