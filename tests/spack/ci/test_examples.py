# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`examples/`: what a team copies. The shell steps are run here, with registries and packages of the tests."""

import base64
import contextlib
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from spack_oci.index.update.loop import update_index
from spack_oci.reference import parse_url
from spack_oci.registry import Credentials, RegistrySettings, StaticCredentials, open_repository
from support.images.containers import podman, push_base, shell_root_file_system
from support.packages.cache_builder import node, push_package
from support.programs.example_files import (
    EXAMPLES,
    SETUP,
    command_lines,
    container_commands,
    files,
    filled,
    github_steps,
    without_setup,
)
from support.registries.docker_registry import docker_registry
from support.registries.token_server import USERS, token_server
from support.spacks.client import Client

SPEC = "oci-leaf@1.0"

#: what the examples clone. No fixture of this name: those of other modules would take what it made for theirs
of_the_examples = pytest.mark.parametrize("spack_version", ["1.1.0"], indirect=True)


@pytest.mark.parametrize("path", [p for p in files() if p.suffix in (".yml", ".yaml")], ids=lambda p: p.name)
def test_examples_are_yaml(path):
    assert isinstance(yaml.safe_load(path.read_text()), dict)


@of_the_examples
def test_every_command_line_of_ours_in_the_examples_parses(built, source):
    """Those of `spack oci` by Spack's parser, those of `spack-oci` by its own."""
    lines = command_lines()
    assert len(lines) > 6
    script = """
import argparse, json, sys
import spack.cmd
from spack_oci.cli.main import parser as standalone
parser = argparse.ArgumentParser("spack oci")
spack.cmd.get_module("oci").setup_parser(parser)
for where, words in json.loads(%r):
    try:
        (standalone() if words[0] == "spack-oci" else parser).parse_args(words[1:])
    except SystemExit:
        print("wrong:", where)
"""
    said = source().script(script % json.dumps(lines))
    assert "wrong" not in said, said


def example(relative, url):
    """The text of a file, with the test's cache in the place of the example's; its environment is made there, too."""
    text = (EXAMPLES / relative).read_text()
    scheme, _, place = url.partition("://")
    return text.replace("oci://ghcr.io", f"{scheme}://{place.partition('/')[0]}").replace("oci://$", f"{scheme}://$")


def environment_of(relative, target, **config):
    """The `spack.yaml` of an example, for a package that is there."""
    document = yaml.safe_load((EXAMPLES / relative).read_text())
    document["spack"].update(specs=[SPEC])
    document["spack"].pop("config", None)
    document["spack"].update(config)
    target.write_text(json.dumps(document))


@pytest.fixture
def registry(tmp_path):
    with token_server(tmp_path) as tokens, docker_registry(auth="token", token=tokens.registry_options()) as running:
        yield running


def store_at(url, user="pusher"):
    location = parse_url(url)
    settings = RegistrySettings([StaticCredentials(location.host, Credentials(user, USERS[user][0]), "the test")])
    return open_repository(location, settings)


def run_github(machine, registry, user, secrets):
    """The steps of the workflow, in one machine; what they print."""
    workflow = yaml.safe_load(example("github/cache.yml", registry.mirror_url("")))
    workflow = filled(
        workflow,
        {
            "github.repository": "team/project",
            "github.actor": user,
            "github.token": USERS[user][0],
            "matrix.runner": "here",
            "secrets.SIGNING_KEY": secrets.get("SIGNING_KEY", ""),
            "secrets.COSIGN_PASSWORD": secrets.get("COSIGN_PASSWORD", ""),
        },
    )
    assert workflow["jobs"]["build"]["permissions"]["packages"] == "write"
    home = machine.project.parent / f"runner-{user}"
    home.mkdir()
    exported, said = home / "github-env", ""
    exported.touch()
    base = {**machine.environment(home), "GITHUB_ENV": str(exported), "RUNNER_TEMP": str(home)}
    base["PATH"] = f"{machine.project / 'spack' / 'bin'}:{base['PATH']}"
    for name, script, environment in github_steps(workflow, "build"):
        script = (
            without_setup(script).replace("command -v python3", "printf %s $SPACK_PYTHON")
            if "pip" in script
            else script
        )
        more = dict(line.split("=", 1) for line in exported.read_text().splitlines())
        environment["BASE_IMAGE"] = registry.mirror_url("base/system") + ":1"
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
            env={**base, **environment, **more},
            cwd=machine.project,
            input="",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, f"{name}:\n{done.stdout}"
        said += done.stdout
    return said


@of_the_examples
def test_the_workflow_for_github_pushes_signs_and_makes_an_image_and_skips_in_a_fork(
    pipeline_machine, registry, source
):
    machine = pipeline_machine("{}")
    environment_of("github/spack.yaml", machine.project / "spack.yaml")
    with store_at(registry.mirror_url("base/system")) as base:
        push_base(base, "1", shell_root_file_system())
    keys = source()
    keys.run("oci", "key", "generate", str(keys.home / "team"), env={"COSIGN_PASSWORD": "correct horse"})
    secrets = {"SIGNING_KEY": (keys.home / "team.key").read_text(), "COSIGN_PASSWORD": "correct horse"}

    said = run_github(machine, registry, "pusher", secrets)
    assert USERS["pusher"][0] not in said and "PRIVATE KEY" not in said
    with store_at(registry.mirror_url("team/project/cache")) as cache:
        tags = set(cache.tags())
        assert {"index.spack", "tools"} <= tags and any(tag.startswith("oci-leaf-1.0-") for tag in tags)
        assert any(tag.endswith(".sig") for tag in tags)
        assert "manifests" in json.loads(cache.get_manifest("tools")[1]), "an image index"

    said = run_github(machine, registry, "puller", {})
    assert said.count("Nothing is pushed to") == 1
    with store_at(registry.mirror_url("team/project/cache")) as cache:
        assert set(cache.tags()) == tags


def catalog_scripts(host, user):
    """kind -> (URL of the cache, one script of the steps that publish its page, what the service tells them)."""
    values = {"github.repository": "team/project", "github.actor": user, "github.token": USERS[user][0]}
    workflow = yaml.safe_load(example("github/catalog.yml", f"oci+http://{host}/"))
    workflow["jobs"]["catalog"].pop("environment")
    steps = list(github_steps(filled(workflow, values), "catalog"))
    environment = {key: value for _, _, more in steps for key, value in more.items()}
    github = "\n".join(script for _, script, _ in steps)
    yield environment["CACHE"], github, {**environment, "GITHUB_REPOSITORY": "team/project"}

    job = yaml.safe_load(example("gitlab/pages.gitlab-ci.yml", f"oci+http://{host}/"))["pages"]
    cache = job["variables"]["CACHE"].replace("$CI_REGISTRY_IMAGE", f"{host}/team/project")
    told = {"CI_REGISTRY_USER": user, "CI_REGISTRY_PASSWORD": USERS[user][0], "CI_PROJECT_PATH": "team/project"}
    yield cache, "\n".join([*job["before_script"], *job["script"]]), {"CACHE": cache, **told}


def test_the_page_of_a_cache_is_made_by_who_may_only_read_it(registry, tmp_path):
    """By the steps for GitHub Pages and for GitLab Pages, which need no Spack."""
    with store_at(registry.mirror_url("team/project/cache")) as store:
        push_package(store, [node("shown-on-the-page")])
        update_index(store)
    for number, (cache, script, environment) in enumerate(catalog_scripts(registry.host, "puller")):
        assert cache == registry.mirror_url("team/project/cache")
        client = Client(tmp_path / f"runner{number}")
        program = client.home / "bin" / "spack-oci"
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\nexec {client.python} -m spack_oci "$@"\n')
        program.chmod(0o755)
        environment["PATH"] = f"{program.parent}:{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "-eo", "pipefail", "-c", without_setup(script)],
            env=client.env(**environment),
            cwd=client.home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert done.returncode == 0, done.stdout
        assert USERS["puller"][0] not in done.stdout
        page = client.home / "public"
        assert "Packages of team/project" in (page / "index.html").read_text()
        assert any("shown-on-the-page" in path.read_text() for path in page.rglob("*.js"))


def gitlab_machine(pipeline_machine, registry, text):
    machine = pipeline_machine(text)
    machine.variables = {
        "CI_REGISTRY_IMAGE": f"{registry.host}/group/project",
        "CI_REGISTRY_USER": "pusher",
        "CI_REGISTRY_PASSWORD": USERS["pusher"][0],
    }
    return machine


def usable(job):
    """A job without the lines that bring Spack and this package."""

    def steps(lines):
        return [line for line in lines if not SETUP.match(line)]

    return {key: steps(value) if key in ("script", "before_script") else value for key, value in job.items()}


@pytest.mark.slow
@of_the_examples
def test_the_pipeline_for_gitlab_pushes_and_indexes(pipeline_machine, registry):
    machine = gitlab_machine(pipeline_machine, registry, "{}")
    environment_of("gitlab/spack.yaml", machine.project / "spack.yaml")
    document = yaml.safe_load(example("gitlab/.gitlab-ci.yml", registry.mirror_url("")))
    cache = f"{registry.mirror_url('group/project')}/cache"
    variables = {"CACHE": cache}
    done = machine.run_job("build", usable(document["build"]), variables)
    assert done.status == 0 and f"Index of {cache}: 1 package" in done.output, done.output


@pytest.mark.slow
@of_the_examples
def test_the_pipeline_of_spack_ci_for_gitlab_generates_builds_and_indexes(pipeline_machine, registry):
    text = example("gitlab-spack-ci/env/spack.yaml", registry.mirror_url(""))
    document = yaml.safe_load(text)
    document["spack"]["specs"] = [SPEC]
    (job,) = (entry["any-job"] for entry in document["spack"]["ci"]["pipeline-gen"] if "any-job" in entry)
    job.update(usable(job))
    machine = gitlab_machine(pipeline_machine, registry, json.dumps(document))
    parent = yaml.safe_load((EXAMPLES / "gitlab-spack-ci" / ".gitlab-ci.yml").read_text())
    (included,) = parent["build"]["trigger"]["include"]
    generated = machine.run_job("generate", usable(parent["generate"]), {})
    assert generated.status == 0, generated.output
    for run in machine.run(machine.project / included["artifact"]):
        assert run.status == 0, f"{run.name}:\n{run.output}"
    with store_at(f"{registry.mirror_url('group/project')}/cache") as cache:
        assert {"index.spack"} < set(cache.tags())


@pytest.mark.slow
@of_the_examples
def test_stacks_are_pushed_side_by_side_and_indexed_once(pipeline_machine, registry):
    machine = pipeline_machine("{}")
    shutil.copy(EXAMPLES / "stacks" / "Makefile", machine.project)
    for name, spec in (("one", "oci-leaf@1.0"), ("two", "oci-codegen")):
        (machine.project / name).mkdir()
        (machine.project / name / "spack.yaml").write_text(json.dumps({"spack": {"specs": [spec], "view": False}}))
    (machine.project / "env" / "spack.yaml").unlink()
    url = registry.mirror_url("stacks/cache")
    login = f"printf %s '{USERS['pusher'][0]}' | spack oci login -u pusher --password-stdin {url}"
    script = ["export PATH=$PWD/spack/bin:$PATH", login, f"make -j 2 CACHE={url} STACKS='one two'"]
    done = machine.run_job("stacks", {"script": script}, {})
    assert done.status == 0, done.output
    assert done.output.count("Index of ") == 1 and f"Index of {url}: 2 packages" in done.output


@pytest.fixture
def filled_cache(source, registry):
    """A cache with a package, and the file of credentials that reads it."""
    spack = source()
    url = registry.mirror_url("my-team/cache")
    pair = {"id": "pusher", "secret_variable": "SECRET"}
    spack.environment["SECRET"] = USERS["pusher"][0]
    spack.mirrors(cache={"url": url, "signed": False, "access_pair": pair})
    spack.run("oci", "push", "--update-index", "cache", SPEC)
    auth = base64.b64encode(f"puller:{USERS['puller'][0]}".encode()).decode()
    file = spack.home / "auth.json"
    file.write_text(json.dumps({"auths": {registry.host: {"auth": auth}}}))
    return url, file, [auth.encode(), USERS["puller"][0].encode()]


@of_the_examples
def test_the_steps_of_the_containerfile_install_and_leave_no_secret(filled_cache, tmp_path, our_python):
    url, auth, secrets = filled_cache
    text = (EXAMPLES / "containers" / "Containerfile").read_text()
    install = [c for c in container_commands(text) if "spack-oci install" in c]
    (command,) = install
    software = tmp_path / "software"
    for old, new in (("/opt/software", software), ("/run/secrets/auth.json", auth), ("/tmp/cache", tmp_path / "cache")):
        command = command.replace(old, str(new))
    environment = {"PATH": f"{our_python.parent}:{os.environ['PATH']}", "HOME": str(tmp_path / "home")}
    environment.update(CACHE=url, SPECS="oci-leaf@1.0")
    subprocess.run(["sh", "-ec", command], env=environment, check=True, timeout=300)
    assert (software / "activate").is_file() and list(software.rglob("greeting.txt"))
    kept = [p for p in [*software.rglob("*"), *(tmp_path / "home").rglob("*")] if p.is_file() and not p.is_symlink()]
    assert not [p for p in kept if any(secret in p.read_bytes() for secret in secrets)]
    assert not (tmp_path / "cache").exists()


@pytest.fixture
def build(filled_cache, tmp_path, our_python, built):
    """``build(file, names, variables, writable)``: build a file of `examples/containers` in ``tmp_path`` with podman;
    what it prints, the engine. In the place of the images that it names is one of this machine's shell, with this
    machine's Python and Spack mounted, and with ``variables``; ``writable``: a directory that is mounted, too.
    """
    url, auth, secrets = filled_cache
    interpreter = Path(os.path.realpath(our_python))
    needed = [interpreter.parents[1], our_python.parents[1], EXAMPLES.parent, built.checkout, built.home]
    host = {**dict.fromkeys(["/usr/bin", "/usr/lib", *map(str, needed)], "ro")}
    with contextlib.ExitStack() as stack:

        def run(text, names, variables, writable=()):
            registry = stack.enter_context(docker_registry())
            engine = stack.enter_context(podman(tmp_path / "podman"))
            mounts = {**host, **{str(path): "rw" for path in writable}}
            environment = [f"{key}={value}" for key, value in variables.items()]
            with open_repository(parse_url(registry.mirror_url("base/system"))) as base:
                root = shell_root_file_system({"/usr/local/bin": (0o755, 0, 0)})
                push_base(base, "1", root, config={"Env": environment})
            image = f"{registry.host}/base/system:1"
            engine.pull(image)
            for name in names:
                assert f"FROM {name}" in text
                text = text.replace(f"FROM {name}", f"FROM {image}")
            (tmp_path / "Containerfile").write_text(text)
            built_image = engine(
                "build",
                "--network=host",
                "--pull-never",
                *(word for path, mode in sorted(mounts.items()) for word in ("--volume", f"{path}:{path}:{mode}")),
                *("--secret", f"id=registry,src={auth}", "--build-arg", f"CACHE={url}"),
                *("--build-arg", f"SPECS={SPEC}", "--layers", "--tag", "example"),
                *("--file", str(tmp_path / "Containerfile"), str(tmp_path)),
            )
            return built_image.stdout + built_image.stderr, engine

        yield run


def layers_of(engine, image, directory):
    """All bytes of an image, its layers as they are unpacked."""
    engine("save", "--output", str(directory / "image.tar"), image)
    data = (directory / "image.tar").read_bytes()
    (directory / "image.tar").unlink()
    return data


def check_layers(engine, secrets, directory):
    """No layer has a secret, also of the stages that are thrown away."""
    images = engine("images", "--all", "--quiet", "--no-trunc").stdout.split()
    assert len(set(images)) > 4, "the steps of the first stage are kept as images"
    for image in sorted(set(images)):
        data = layers_of(engine, image, directory)
        assert data and not [secret for secret in secrets if secret in data]


@pytest.mark.slow
@of_the_examples
def test_the_containerfile_is_built_by_podman_and_no_layer_has_the_secret(filled_cache, build, tmp_path, our_python):
    _, _, secrets = filled_cache
    text = (EXAMPLES / "containers" / "Containerfile").read_text()
    text = without_setup(text.replace("RUN python3 -m", "python3 -m")).replace("\n:\n", "\n")
    names = ("docker.io/library/python:3.12-slim-bookworm", "docker.io/library/debian:bookworm-slim")
    said, engine = build(text, names, {"PATH": f"{our_python.parent}:/usr/bin:/bin"})
    assert "Installed" in said
    check_layers(engine, secrets, tmp_path)
    data = layers_of(engine, "example", tmp_path)
    assert b"hello from leaf" in data and b"hello from leaf" not in layers_of(engine, _base_of(engine), tmp_path)


def _base_of(engine):
    return next(n for n in engine("images", "--format", "{{.Repository}}:{{.Tag}}").stdout.split() if "base" in n)


@pytest.mark.slow
@of_the_examples
def test_the_dockerfile_is_built_by_podman_and_no_layer_has_the_secret(
    filled_cache, build, tmp_path, our_python, built
):
    """With the Spack and the recipes of the tests in the place of what it clones."""
    _, _, secrets = filled_cache
    job = built.sibling(tmp_path / "job", python=our_python, padded_length=0)
    for file in job.base_scope.glob("*.yaml"):  # the steps call `spack`, not `spack -C SCOPE`
        shutil.copy(file, job.scope)
    environment_of("containers/spack.yaml", tmp_path / "spack.yaml", config={"install_tree": {"root": "/opt/software"}})
    text = (EXAMPLES / "containers" / "Dockerfile").read_text().replace("/opt/spack", str(built.checkout))
    setup = text[text.index("RUN git clone") : text.index("ENV PATH=")]
    text = text.replace(setup, "")
    wanted = ("SPACK_PYTHON", "SPACK_USER_CACHE_PATH", "SPACK_USER_CONFIG_PATH", "SPACK_SYSTEM_CONFIG_PATH")
    variables = {key: job.env()[key] for key in wanted}
    variables["PATH"] = f"{our_python.parent}:/usr/bin:/bin"
    said, engine = build(text, ("python:3.12-bookworm", "debian:bookworm-slim"), variables, [job.home])
    assert "oci-leaf" in said
    check_layers(engine, secrets, tmp_path)
    assert b"hello from leaf" in layers_of(engine, "example", tmp_path)
    shown = engine.run("example", "/usr/bin/env")
    assert "/opt/software/view" in shown, shown
