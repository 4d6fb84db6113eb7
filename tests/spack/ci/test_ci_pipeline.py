# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack ci`: whole pipelines with an OCI mirror as `buildcache-destination`, job by job, as GitLab's runner does."""

import json

import pytest
from support.programs.gitlab_runner import spack_yaml

SETUP = ". spack/share/spack/setup-env.sh"
GENERATE = {
    "script": [
        SETUP,
        "spack env activate --without-view ./env",
        'spack ci generate --artifacts-root "$CI_PROJECT_DIR/artifacts" --output-file pipeline.yml',
    ]
}
PASSPHRASE = "correct horse"


def ci_section(**jobs):
    shell = {"tags": ["shell"], "before_script": [SETUP]}
    # until 1.1, the script of the index job is one command with a URL: who it is for says the environment
    index = {"tags": ["shell"], "before_script": [SETUP, "spack env activate --without-view ./env"]}
    named = {"build-job": shell, "reindex-job": index, "noop-job": {"tags": ["shell"]}, **jobs}
    return {"pipeline-gen": [{name.replace("_", "-"): job} for name, job in named.items()]}


def destination(url, user):
    return {"url": url, "signed": False, "access_pair": {"id": user, "secret_variable": "CI_REGISTRY_PASSWORD"}}


def checked(run):
    assert run.status == 0, f"{run.name}:\n{run.output}"
    return run


def test_a_pipeline_builds_pushes_and_indexes(built, guarded_registry, pipeline_machine):
    if built.version < (1, 2):
        _whole_pipeline("password", "oci-leaf@1.0", 1, guarded_registry, pipeline_machine)
    else:
        _whole_pipeline("token", "oci-middle", 2, guarded_registry, pipeline_machine)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["password", "token"])
def test_a_pipeline_with_either_kind_of_authentication(kind, guarded_registry, pipeline_machine):
    _whole_pipeline(kind, "oci-middle", 2, guarded_registry, pipeline_machine)


def _whole_pipeline(kind, spec, packages, guarded_registry, pipeline_machine):
    """Of a protected branch, where packages are signed; then the next pipeline, and the index once more."""
    url, user, password = guarded_registry(kind)
    signing = {
        "tags": ["shell"],
        "before_script": [SETUP, "spack env activate --without-view ./env"],
        "script": ['spack oci sign "$SPACK_BUILDCACHE_DESTINATION" --key team.key'],
    }
    machine = pipeline_machine(
        spack_yaml([spec], {"buildcache-destination": destination(url, user)}, ci=ci_section(signing_job=signing)),
        CI_REGISTRY_PASSWORD=password,
        COSIGN_PASSWORD=PASSPHRASE,
        SPACK_PIPELINE_TYPE="spack_protected_branch",
    )
    checked(machine.run_job("keys and generate", {"script": [*GENERATE["script"], "spack oci key generate team"]}, {}))
    runs = [checked(run) for run in machine.run(machine.project / "pipeline.yml")]
    jobs = {run.name.partition("@")[0]: run.output for run in runs}
    assert len(set(jobs) - {"wait-for-build-jobs"}) == packages + 2, list(jobs)
    if packages > 1:
        assert "fetching from build cache" in jobs["oci-middle"] or "Extracting" in jobs["oci-middle"]
    counted = "1 package" if packages == 1 else f"{packages} packages"
    assert f"Signed {counted}" in jobs["sign-pkgs"]
    assert f"Index of {url}: {counted}" in jobs["rebuild-index"]
    assert "OCI mirrors hold no GPG keys" in jobs["rebuild-index"], "what --keys cannot do is said"
    assert password not in "".join(run.output for run in machine.runs)

    # what is there is not built again; both in one job, to save a start of Spack
    again = [*GENERATE["script"], "spack ci rebuild-index"]
    said = checked(machine.run_job("again", {"script": again}, {})).output
    assert "[x]" not in said, said
    assert f"Index of {url}: {counted}" in said


@pytest.mark.one_spack
def test_the_index_job_fills_the_first_mirror_that_is_written_in_spack_yaml(guarded_registry, pipeline_machine):
    """Above others of a wider scope: an entry of the file is a mirror without a name, with its own credentials."""
    url, user, password = guarded_registry("password")
    machine = pipeline_machine(
        spack_yaml([], {"z-first": destination(url, user), "a-second": "oci+http://127.0.0.1:1/nothing"}),
        CI_REGISTRY_PASSWORD=password,
    )
    script = [SETUP, "spack env activate --without-view ./env", "spack ci rebuild-index"]
    assert f"Index of {url}: 0 packages" in checked(machine.run_job("index", {"script": script}, {})).output


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["password", "token"])
def test_a_copy_only_pipeline_copies_what_the_environment_has(kind, source, guarded_registry, pipeline_machine):
    """With the command that the refused one names."""
    url, user, password = guarded_registry(kind)
    from_url, _, _ = guarded_registry(kind)
    copy = {
        "tags": ["shell"],
        "before_script": [SETUP, "spack env activate --without-view artifacts/concrete_environment"],
        "script": [
            "spack oci copy --lock artifacts/concrete_environment/spack.lock --with-build-dependencies"
            " buildcache-source buildcache-destination"
        ],
    }
    mirrors = {"buildcache-destination": destination(url, user), "buildcache-source": destination(from_url, user)}
    machine = pipeline_machine(
        spack_yaml(["oci-leaf@1.0"], mirrors, ci=ci_section(copy_job=copy)),
        CI_REGISTRY_PASSWORD=password,
        SPACK_PIPELINE_TYPE="spack_copy_only",
    )
    pusher = source()
    pusher.environment["CI_REGISTRY_PASSWORD"] = password
    pusher.mirrors(cache=destination(from_url, user))
    pusher.run("oci", "push", "--update-index", "cache", "oci-leaf@1.0")
    checked(machine.run_job("generate", GENERATE, {}))
    jobs = {run.name: checked(run) for run in machine.run(machine.project / "pipeline.yml")}
    assert set(jobs) - {"wait-for-build-jobs"} == {"copy", "rebuild-index"}, list(jobs)
    assert f"Index of {url}: 1 package" in jobs["rebuild-index"].output, jobs["rebuild-index"].output


@pytest.mark.one_spack
def test_sync_by_manifests_of_a_pipeline_names_the_command_that_copies(source, tmp_path, new_cache):
    """SPACK_COPY_BUILDCACHE makes `spack ci generate` write them."""
    cache = new_cache("layout")
    spack = source()
    spack.use(cache)
    manifest = {"abc": {"src": f"{cache.url}/v3/manifests/spec/x", "dest": "oci+http://127.0.0.1:1/to/v3/x"}}
    (tmp_path / "copy_specs.json").write_text(json.dumps(manifest))
    done = spack.run("buildcache", "sync", "--manifest-glob", str(tmp_path / "copy_*.json"), check=False)
    said = done.stdout + done.stderr
    assert done.returncode != 0 and "Traceback" not in said, said
    assert "spack oci copy" in said
