# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack-oci` with a registry: credentials, certificates, and what goes wrong on the way."""

import json

import jsonschema
import pytest
from spack_oci.util.resources import read_schema
from support.registries.docker_registry import PASSWORD, USER, docker_registry
from support.registries.fault_registry import Fault, fault_registry
from support.registries.token_server import USERS, token_server

pytestmark = pytest.mark.registry


@pytest.fixture(scope="module")
def registry():
    with docker_registry(auth="htpasswd", tls=True) as running:
        yield running


def test_log_in_push_install_show_and_log_out(client, registry, built, store, tmp_path):
    url = f"oci://{registry.host}/team/cache"
    env = {"SSL_CERT_FILE": str(registry.ca), "SPACK_OCI_STORE": str(store)}
    refused = client.run("push", built, url, "oci-app", check=False, env=env)
    assert refused.returncode == 1 and "spack-oci login" in refused.stderr
    wrong = client.run("login", "-u", USER, "--password-stdin", registry.host, input="wrong", check=False, env=env)
    assert wrong.returncode == 1 and "wrong" not in wrong.stderr.replace("wrong password", "")
    asked = ("login", "--json", "-u", USER, "--password-stdin", registry.host)
    logged_in = json.loads(client.run(*asked, input=PASSWORD, env=env).stdout)
    jsonschema.Draft202012Validator(read_schema("commands/login")).validate(logged_in)
    assert logged_in["registry"] == registry.host
    client.run("push", "--update-index", built, url, "oci-stack", env=env)
    client.run("install", url, "oci-stack", env=env)
    assert "greeting: hello" in client.run("run", "oci-app", "--", "hello", env=env).stdout
    assert client.json("show", url, "oci-app", env=env)["name"] == "oci-app"
    assert "oci-app" in client.run("search", url, "APP", env=env).stdout
    for words in (["search", url, "zzz"], ["search", url, "zzz", "--json"]):
        assert client.run(*words, env=env, check=False).returncode == 1
    page = client.json("catalog", url, tmp_path / "page", env=env)
    assert (page["mirror"], page["unreadable"]) == (url, []) and page["packages"] == len(
        client.json("list", url, "--allarch", env=env)["packages"]
    )
    checks = client.json("doctor", url, env=env)["checks"]
    assert {c["status"] for c in checks[url]} <= {"ok", "warn", "skip", "-"}, checks
    for status, removed in ((0, 1), (1, 0)):
        done = client.run("logout", "--json", registry.host, check=False, env=env)
        logged_out = json.loads(done.stdout)
        jsonschema.Draft202012Validator(read_schema("commands/logout")).validate(logged_out)
        assert (done.returncode, len(logged_out["removed_from"])) == (status, removed)
    forbidden = client.run("prune", "--keep-last", "1", url, check=False, env=env)
    assert f"deleting from {url} is not allowed, the request was anonymous" in forbidden.stderr
    assert f"`spack-oci login {registry.host}` as somebody who may" in forbidden.stderr
    gone = client.run("list", url, check=False, env={**env, "SPACK_OCI_CACHE": str(tmp_path / "other")})
    assert gone.returncode == 1 and "login" in gone.stderr


def test_a_registry_that_cannot_be_reached_is_named_and_what_is_kept_is_used(client, built, store, tmp_path):
    with docker_registry() as running:
        url = f"oci+http://{running.host}/team/cache"
        client.run("push", "--update-index", built, url, "oci-leaf@2.0")
        client.run("list", url)
    listed = client.run("list", "--allarch", url)
    assert "oci-leaf@2.0" in listed.stdout and "using an index that is" in listed.stderr
    # the layer is still on this machine
    client.run("install", url, "oci-leaf", "--store", store)
    client.run("clean")
    done = client.run("install", url, "oci-leaf", "--store", tmp_path / "other", check=False)
    assert done.returncode == 1 and running.host in done.stderr and "Traceback" not in done.stderr


def test_a_push_with_a_token_that_only_reads_is_skipped_in_one_line_where_that_is_asked_for(client, built, tmp_path):
    """As in the pipelines of forks; what is no refusal still fails."""
    with token_server(tmp_path) as tokens, docker_registry(auth="token", token=tokens.registry_options()) as registry:
        url = registry.mirror_url("team/cache")
        user, password = "puller", USERS["puller"][0]
        client.run("login", "-u", user, "--password-stdin", url, input=password)
        refused = client.run("push", built, url, "oci-leaf@2.0", check=False)
        assert refused.returncode == 1 and "the token is good, but may only read" in refused.stderr
        skipped = client.run("push", "--if-writable", "--update-index", built, url, "oci-leaf@2.0")
        (line,) = (skipped.stdout + skipped.stderr).splitlines()
        assert f"Nothing is pushed to {url} (--if-writable)" in line and password not in line
        document = client.json("push", "--if-writable", built, url, "oci-leaf@2.0")
        assert document["pushed"] == 0 and "may only read" in document["not_writable"]
        client.run("login", "-u", "pusher", "--password-stdin", url, input=USERS["pusher"][0])
        assert client.json("push", "--if-writable", built, url, "oci-leaf@2.0")["pushed"] == 1
    down = client.run("push", "--if-writable", built, url, "oci-leaf@2.0", check=False)
    assert down.returncode == 1, "a registry that is down is no reason to skip"


@pytest.mark.parametrize(
    "said, remedy",
    [
        ("permission_denied: write_package", "Manage Actions access"),
        ("installation not allowed to Write organization package", "permissions: packages: write"),
    ],
)
def test_what_github_says_to_a_job_that_may_not_write_is_explained_by_push_and_doctor(said, remedy, client, built):
    body = json.dumps({"errors": [{"code": "DENIED", "message": said}]}).encode()
    denied = Fault("POST", "/blobs/uploads/", status=403, body=body, times=99)
    with fault_registry(denied, auth="basic", users={"job": ("job-secret", "pull,push")}) as registry:
        url = f"oci+http://{registry.host}/team/cache"
        client.run("login", "-u", "job", "--password-stdin", url, input="job-secret")
        refused = client.run("push", built, url, "oci-leaf@2.0", check=False)
        assert refused.returncode == 1 and said in refused.stderr and remedy in refused.stderr, refused.stderr
        told = client.run("doctor", url, check=False).stdout
        assert remedy in " ".join(told.split()), told
        skipped = client.run("push", "--if-writable", built, url, "oci-leaf@2.0")
        (line,) = (skipped.stdout + skipped.stderr).splitlines()
        assert f"Nothing is pushed to {url} (--if-writable)" in line and said in line


def test_credentials_that_expire_in_the_middle_of_a_push_are_told_from_wrong_ones(client, built):
    expired = Fault("POST", "/blobs/uploads/", status=401, skip=2, times=99)
    with fault_registry(expired, auth="basic", users={"job": ("job-secret", "pull,push")}) as registry:
        url = f"oci+http://{registry.host}/team/cache"
        client.run("login", "-u", "job", "--password-stdin", url, input="job-secret")
        ended = client.run("push", built, url, "oci-stack", check=False)
        assert ended.returncode == 1 and "have expired" in ended.stderr, ended.stderr
        assert "not sent again" in ended.stderr
