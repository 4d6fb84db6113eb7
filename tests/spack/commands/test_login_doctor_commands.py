# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack oci login`, `logout` and `doctor`, and what Spack's configuration does to the registry client."""

import base64
import contextlib
import json
import os
import pty
import stat

import pytest
from support.registries.docker_registry import PASSWORD, USER, docker_registry
from support.registries.fault_registry import fault_registry

pytestmark = pytest.mark.one_spack


@pytest.fixture
def spack(destination):
    instance = destination()
    instance.environment["HOME"] = str(instance.home)
    instance.environment["XDG_RUNTIME_DIR"] = str(instance.home)
    return instance


@pytest.fixture(scope="module")
def guarded():
    with docker_registry(auth="htpasswd") as registry:
        yield registry


def checks_of(spack, *arguments, fails=False):
    done = spack.run("oci", "doctor", "--json", *arguments, check=False)
    assert done.returncode == (1 if fails else 0), done.stderr
    report = json.loads(done.stdout)["checks"]
    return {mirror: {c["name"]: c for c in checks} for mirror, checks in report.items()}


def test_login_push_permission_logout(spack, guarded):
    url = guarded.mirror_url("team/cache")
    spack.run("mirror", "add", "guarded", url)
    assert checks_of(spack, "guarded", fails=True)["guarded"]["tags"]["status"] == "fail"
    done = spack.run("oci", "login", "-u", USER, "--password-stdin", "guarded", input=PASSWORD)
    assert "unencrypted" in done.stdout + done.stderr
    file = spack.home / ".docker" / "config.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    found = checks_of(spack, "guarded")["guarded"]
    assert found["push"]["status"] == "ok" and str(file) in found["credentials"]["detail"]
    spack.run("oci", "logout", "guarded")
    assert json.loads(file.read_text())["auths"] == {}
    assert spack.run("oci", "logout", "guarded", check=False).returncode == 1


def test_prompt(spack, guarded):
    """On a terminal, which does not show the password."""
    child, terminal = pty.fork()
    if child == 0:
        argv = spack.argv("oci", "login", guarded.url)
        os.chdir(spack.home)
        os.execve(argv[0], argv, spack.env())
    shown = talk(terminal, [(b"User name for", USER), (b"Password or token for", PASSWORD)])
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, shown
    assert b"Logged in to" in shown and PASSWORD.encode() not in shown


def talk(terminal, answers):
    """Wait for each prompt and answer it; everything that was shown."""
    shown, left = b"", list(answers)
    with contextlib.suppress(OSError):  # the terminal is gone when the program ends
        while True:
            data = os.read(terminal, 4096)
            if not data:
                break
            shown += data
            if left and left[0][0] in shown:
                os.write(terminal, left.pop(0)[1].encode() + b"\n")
    os.close(terminal)
    assert not left, shown
    return shown


def test_wrong_password(spack, guarded):
    done = spack.run(
        "-d", "oci", "login", "-u", USER, "--password-stdin", guarded.url, input="wr0ng-s3cret", check=False
    )
    assert done.returncode == 1 and "logging in" in done.stderr
    assert "wr0ng" not in done.stdout + done.stderr
    assert not (spack.home / ".docker").exists()


def test_doctor_without_mirrors(spack):
    report = checks_of(spack)
    assert list(report) == ["spack-oci", "default"]
    assert report["spack-oci"]["hooks"]["status"] == "ok"
    assert "Spack" in report["spack-oci"]["versions"]["detail"]
    assert "does not exist yet" in report["default"]["directory"]["detail"]
    table = spack.run("oci", "doctor").stdout
    assert "==> default" in table and "versions" in table


def test_doctor_looks_into_the_index(source, new_cache):
    """Whether there is one, and whether it names what the tags name."""
    spack, cache = source(), new_cache("http")
    spack.use(cache)

    def index():
        found = checks_of(spack, "cache")["cache"]["index"]
        return found["status"], found["detail"]

    assert index() == ("ok", "none yet, 0 packages here")
    spack.run("oci", "push", "cache", "oci-leaf@2.0")
    assert index() == ("warn", "none yet, 1 package here: run `spack oci update-index`")
    spack.run("oci", "update-index", "cache")
    assert index() == ("ok", "names all 1 package")
    spack.run("oci", "push", "cache", "oci-files")
    status, detail = index()
    assert status == "warn" and "out of date, " in detail and "oci-files-" in detail and "update-index" in detail
    found = checks_of(spack, "cache")["cache"]
    assert {found[n]["status"] for n in ("tags", "push", "chunked upload", "mount", "ranges", "delete")} == {"ok"}


def test_doctor_says_why_hooks_are_not_active(spack):
    found = checks_of(spack)["spack-oci"]["hooks"]
    assert found["status"] == "ok" and found["detail"].endswith(" active")
    spack.write_config("oci", {"hooks": {"enabled": False}}, spack.base_scope)
    found = checks_of(spack)["spack-oci"]["hooks"]
    assert found["status"] == "warn" and "oci:hooks:enabled" in found["detail"]


def test_doctor_names_credentials_of_the_mirror_and_a_missing_variable(spack, guarded):
    url = guarded.mirror_url("team/vars")
    variables = ["--oci-username-variable", "TEST_USER", "--oci-password-variable", "TEST_SECRET"]
    spack.run("mirror", "add", *variables, "guarded", url)
    found = checks_of(spack, "guarded", fails=True)["guarded"]
    assert "TEST_USER" in found["credentials"]["detail"]
    spack.environment.update(TEST_USER=USER, TEST_SECRET=PASSWORD)
    found = checks_of(spack, "guarded")["guarded"]
    assert "access_pair of mirror guarded ($TEST_SECRET)" in found["credentials"]["detail"]
    done = spack.run("-d", "oci", "doctor", "guarded")
    pair = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    for secret in (PASSWORD, pair):
        assert secret not in json.dumps(found) + done.stdout + done.stderr


def test_doctor_of_urls(spack, tmp_path):
    urls = ["oci+http://127.0.0.1:1/a/b", f"oci+file://{tmp_path}/none"]
    report = checks_of(spack, *urls, fails=True)
    assert list(report) == ["spack-oci", *urls]


def test_doctor_unreachable(spack):
    spack.run("mirror", "add", "gone", "oci+http://127.0.0.1:1/a/b")
    found = checks_of(spack, "gone", fails=True)["gone"]
    assert found["network"]["status"] == "fail" and "Connection refused" in found["network"]["detail"]
    assert [c["name"] for c in found.values() if c["status"] == "fail"] == ["network"], "said once"
    # what Spack 1.1 makes of `--oci-password SECRET`
    spack.mirrors(trap={"url": "oci://127.0.0.1:1/a/b", "access_pair": {"id": "me", "secret_variable": "s3cret!"}})
    found = checks_of(spack, "trap", fails=True)["trap"]
    assert list(found) == ["url"] and "s3cret" not in str(found)


def test_doctor_checks_each_direction_with_its_own_credentials(spack, guarded):
    """A mirror whose `push:` alone has credentials; and one whose variable for that is not set."""
    url, pair = guarded.mirror_url("team/push"), {"id": USER, "secret_variable": "PUSH_SECRET"}
    spack.mirrors(both={"fetch": url, "push": {"url": url, "access_pair": pair}, "signed": False})
    found = checks_of(spack, "both", fails=True)["both"]
    assert "PUSH_SECRET, which is not set" in found["push: credentials"]["detail"]
    spack.environment["PUSH_SECRET"] = PASSWORD
    found = checks_of(spack, "both", fails=True)["both"]
    assert "anonymous" in found["credentials"]["detail"] and found["tags"]["status"] == "fail"
    assert found["push: push"]["status"] == "ok" and "$PUSH_SECRET" in found["push: credentials"]["detail"]


def test_pull_mirrors_of_the_configuration(spack):
    """A pull asks them first; the origin has the last word on what is missing."""
    with fault_registry() as origin, fault_registry() as mirror:
        spack.run("mirror", "add", "cache", f"oci+http://{origin.host}/team/cache")
        spack.write_config(
            "oci", {"registries": {origin.host: {"mirrors": [f"oci+http://{mirror.host}/proxy"]}}}, spack.scope
        )
        spack.run("oci", "update-index", "cache", check=False)
        spack.run("oci", "list", "cache", check=False)
        assert any("/v2/proxy/team/cache/manifests/" in r for r in mirror.requests())
        assert not any(r.startswith(("PUT", "POST", "HEAD")) for r in mirror.requests())


@pytest.mark.parametrize("name", ["login", "logout", "doctor"])
def test_help(spack, name):
    assert "examples:" in spack.run("oci", name, "--help").stdout


def test_no_terminal(spack):
    done = spack.run("oci", "login", "-u", "me", "ghcr.io", check=False)
    assert done.returncode == 1 and "--password-stdin" in done.stderr
