# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Where credentials come from, which ones win, and that they are not shown."""

import base64
import json
import os
import stat
import traceback

import pytest
from spack_oci.errors import ConfigurationError, StorageError
from spack_oci.registry.auth.credentials import (
    Credentials,
    StaticCredentials,
    VariableCredentials,
    find_credentials,
    lookup_keys,
)
from spack_oci.registry.auth.docker_config import DockerConfig, default_sources, normalized
from spack_oci.registry.auth.helper import Helper, HelperCredentials

SECRET = "pl4nted-s3cret"


def auth(user, password=SECRET):
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


def write(path, document):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))
    return DockerConfig(str(path))


@pytest.fixture
def helper(tmp_path, monkeypatch):
    """A docker-credential-helper that keeps its secrets in files and notes how it was called."""
    directory = tmp_path / "bin"
    directory.mkdir()
    script = directory / "docker-credential-keep"
    script.write_text(
        f"""#!/bin/sh
dir={tmp_path}/kept
mkdir -p "$dir"
echo "$@" >> {tmp_path}/calls
input=$(cat)
case "$1" in
get) file="$dir/$(echo "$input" | tr / _)"
     if [ -f "$file" ]; then cat "$file"; else echo "credentials not found in native keychain"; exit 1; fi;;
store) url=$(echo "$input" | sed 's/.*"ServerURL": *"\\([^"]*\\)".*/\\1/')
       echo "$input" > "$dir/$(echo "$url" | tr / _)";;
erase) rm "$dir/$(echo "$input" | tr / _)";;
esac
"""
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(directory), prepend=os.pathsep)

    def keep(url, user, secret=SECRET):
        (tmp_path / "kept").mkdir(exist_ok=True)
        document = {"ServerURL": url, "Username": user, "Secret": secret}
        (tmp_path / "kept" / url.replace("/", "_")).write_text(json.dumps(document))

    keep.calls = lambda: (tmp_path / "calls").read_text().split()
    keep.script = script
    return keep


def test_lookup_keys():
    assert lookup_keys("ghcr.io", "a/b") == ["ghcr.io/a/b", "ghcr.io/a", "ghcr.io"]
    assert lookup_keys("h:5000", "") == ["h:5000"]
    assert lookup_keys("index.docker.io", "x")[:3] == ["docker.io/x", "index.docker.io/x", "registry-1.docker.io/x"]


def test_longest_match_in_a_file(tmp_path):
    config = write(
        tmp_path / "auth.json",
        {"auths": {"ghcr.io": auth("host"), "ghcr.io/org": auth("org"), "ghcr.io/org/app": auth("app")}},
    )
    for name, user in [("org/app", "app"), ("org/app/deep", "app"), ("org/other", "org"), ("organ/x", "host")]:
        found = config.find("ghcr.io", name)
        assert (found.username, found.password) == (user, SECRET)
    assert config.find("example.com", "org/app") is None


@pytest.mark.parametrize(
    "key, host",
    [
        ("https://index.docker.io/v1/", "index.docker.io"),
        ("https://index.docker.io/v1/", "docker.io"),
        ("index.docker.io", "docker.io"),
        ("docker.io", "index.docker.io"),
        ("https://quay.io", "quay.io"),
        ("https://r.example:5000/v2/", "r.example:5000"),
        ("http://r.example", "r.example"),
        ("r.example/", "r.example"),
    ],
)
def test_keys_as_tools_write_them(tmp_path, key, host):
    assert write(tmp_path / "c.json", {"auths": {key: auth("me")}}).find(host, "a/b").username == "me"


@pytest.mark.parametrize("key", ["r.example", "r.example:5001", "xr.example:5000", "r.example:5000/other"])
def test_credentials_of_other_places_are_not_used(tmp_path, key):
    assert write(tmp_path / "c.json", {"auths": {key: auth("me")}}).find("r.example:5000", "a/b") is None


def test_kinds_of_entries(tmp_path):
    config = write(
        tmp_path / "c.json",
        {
            "auths": {
                "a": {"username": "u", "password": SECRET},
                "b": {"identitytoken": SECRET},
                "c": {**auth("00000000-0000-0000-0000-000000000000", ""), "identitytoken": SECRET},
                "d": {"registrytoken": SECRET},
                "e": {},
                "f": auth("u", "with:colon"),
            }
        },
    )
    assert config.find("a", "").basic_header() == "Basic " + auth("u")["auth"]
    assert config.find("b", "").identity_token == SECRET
    assert config.find("c", "").username.startswith("0000") and config.find("c", "").identity_token == SECRET
    assert config.find("d", "").registry_token == SECRET
    assert config.find("e", "") is None
    assert config.find("f", "").password == "with:colon"


@pytest.mark.parametrize("text", ["", "   ", None])
def test_files_without_content(tmp_path, text):
    path = tmp_path / "config.json"
    if text is not None:
        path.write_text(text)
    assert DockerConfig(str(path)).find("a", "b") is None


@pytest.mark.parametrize(
    "text", [f'{{"auths": {{"a": "{SECRET}', f'["{SECRET}"]', f'{{"auths":{{"a":{{"auth":"{SECRET}!"}}}}}}']
)
def test_damaged_files_are_errors_that_do_not_quote_them(tmp_path, text):
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=r"config\.json") as error:
        DockerConfig(str(path)).find("a", "b")
    assert SECRET not in "".join(traceback.format_exception(None, error.value, error.value.__traceback__))


def test_credential_helper_for_a_host(tmp_path, helper):
    helper("r.example", "helped")
    config = write(tmp_path / "c.json", {"credHelpers": {"r.example": "keep"}, "auths": {"r.example": auth("file")}})
    found = config.find("r.example", "a/b")
    assert (found.username, found.password) == ("helped", SECRET)
    assert "docker-credential-keep" in found.origin and "c.json" in found.origin
    assert helper.calls() == ["get"]


def test_credential_helper_without_an_answer_falls_back_to_the_file(tmp_path, helper):
    config = write(tmp_path / "c.json", {"credHelpers": {"r.example": "keep"}, "auths": {"r.example": auth("file")}})
    assert config.find("r.example", "a/b").username == "file"
    assert write(tmp_path / "d.json", {"credHelpers": {"r.example": "keep"}}).find("r.example", "") is None


def test_credentials_store_for_all_hosts(tmp_path, helper):
    helper("https://index.docker.io/v1/", "hub")
    helper("r.example", "other")
    config = write(tmp_path / "c.json", {"credsStore": "keep", "auths": {"r.example": {}}})
    assert config.find("index.docker.io", "library/x").username == "hub"
    assert config.find("r.example", "a").username == "other"
    assert config.find("unknown.example", "a") is None


def test_names_of_helpers(tmp_path, helper):
    helper("r.example", "me")
    for name in ("keep", "docker-credential-keep", str(helper.script)):
        assert Helper(name).get("r.example").username == "me"


def test_identity_token_of_a_helper(tmp_path, helper):
    helper("r.example", "<token>")
    found = Helper("keep").get("r.example")
    assert found.identity_token == SECRET and not found.username


def test_helper_that_fails_does_not_show_what_it_says(tmp_path, helper):
    helper.script.write_text(f"#!/bin/sh\ncat >/dev/null; echo {SECRET}; exit 3\n")
    with pytest.raises(ConfigurationError, match="failed with exit code 3") as error:
        Helper("keep").get("r.example")
    helper.script.write_text(f"#!/bin/sh\ncat >/dev/null; echo {SECRET}\n")
    with pytest.raises(ConfigurationError, match="gave no credentials") as other:
        Helper("keep").get("r.example")
    for e in (error.value, other.value):
        assert SECRET not in "".join(traceback.format_exception(None, e, e.__traceback__))


def test_helper_that_is_not_there(tmp_path):
    config = write(tmp_path / "c.json", {"credHelpers": {"r.example": "nowhere"}})
    with pytest.raises(ConfigurationError, match="docker-credential-nowhere is not on PATH"):
        config.find("r.example", "a")


def test_secrets_reach_helpers_on_standard_input_only(tmp_path, helper):
    Helper("keep").store("r.example", Credentials("me", SECRET))
    assert helper.calls() == ["store"]
    assert Helper("keep").get("r.example") == Credentials("me", SECRET)
    assert Helper("keep").erase("r.example")
    assert Helper("keep").get("r.example") is None


def test_order_of_the_default_files(tmp_path):
    env = {
        "REGISTRY_AUTH_FILE": str(tmp_path / "1.json"),
        "XDG_RUNTIME_DIR": str(tmp_path / "run"),
        "XDG_CONFIG_HOME": str(tmp_path / "settings"),
        "DOCKER_CONFIG": str(tmp_path / "docker"),
        "HOME": str(tmp_path / "home"),
    }
    names = ["1.json", "run/containers/auth.json", "settings/containers/auth.json", "docker/config.json"]
    for name in names:
        write(tmp_path / name, {"auths": {"r.example": auth(name)}})
    for name in names:
        assert user_of(env) == name
        (tmp_path / name).unlink()
    assert user_of(env) is None
    del env["DOCKER_CONFIG"], env["XDG_CONFIG_HOME"]
    write(tmp_path / "home/.docker/config.json", {"auths": {"r.example": auth("docker")}})
    assert user_of(env) == "docker"
    write(tmp_path / "home/.config/containers/auth.json", {"auths": {"r.example": auth("podman")}})
    assert user_of(env) == "podman"


def user_of(env):
    found = find_credentials(default_sources(env), "r.example", "a")
    return found and found.username


def test_a_document_in_a_variable_comes_behind_every_login(tmp_path):
    """testcontainers-java #3782, docker/cli #6156: a job of GitLab has it for the image that it runs in."""
    document = json.dumps({"auths": {"r.example": auth("runner")}})
    env = {"HOME": str(tmp_path), "DOCKER_AUTH_CONFIG": document}
    found = find_credentials(default_sources(env), "r.example", "a")
    assert (found.username, found.origin) == ("runner", "DOCKER_AUTH_CONFIG")
    write(tmp_path / ".docker/config.json", {"auths": {"r.example": auth("somebody")}})
    assert user_of(env) == "somebody"


def test_a_variable_that_is_no_document_is_no_reason_to_fail_and_not_shown(tmp_path):
    env = {"HOME": str(tmp_path), "DOCKER_AUTH_CONFIG": f"{SECRET}\udcff"}
    problems = []
    assert find_credentials(default_sources(env), "r.example", "a", problems) is None
    (problem,) = problems
    assert "DOCKER_AUTH_CONFIG is not a JSON object" in str(problem) and SECRET not in str(problem)


def test_a_longer_match_in_a_later_file_does_not_win(tmp_path):
    """The sources are in order; the longest match counts within one."""
    sources = [
        write(tmp_path / "1.json", {"auths": {"r.example": auth("first")}}),
        write(tmp_path / "2.json", {"auths": {"r.example/a": auth("second")}}),
    ]
    assert find_credentials(sources, "r.example", "a").username == "first"


def test_static_credentials_are_for_their_scope_only():
    source = StaticCredentials("r.example/team", Credentials("me", SECRET), "mirror m")
    assert source.find("r.example", "team/app").origin == "mirror m"
    assert source.find("r.example", "teams") is None
    assert source.find("other.example", "team/app") is None
    hub = StaticCredentials("index.docker.io", Credentials("me", SECRET))
    assert hub.find("registry-1.docker.io", "a/b")


def test_variables():
    env = {"U": "me", "P": SECRET, "EMPTY": ""}
    source = VariableCredentials("r.example", username_variable="U", password_variable="P", origin="mirror m", env=env)
    assert source.find("r.example", "a") == Credentials("me", SECRET)
    assert source.find("r.example", "a").origin == "mirror m ($P)"
    token = VariableCredentials("r.example", token_variable="P", env=env)
    assert token.find("r.example", "a").registry_token == SECRET
    assert token.find("other", "a") is None
    with pytest.raises(ConfigurationError, match="NOT_THERE, which is not set"):
        VariableCredentials("r.example", "me", password_variable="NOT_THERE", env=env).find("r.example", "a")
    with pytest.raises(ConfigurationError, match="EMPTY, which is empty"):
        VariableCredentials("r.example", "me", password_variable="EMPTY", env=env).find("r.example", "a")
    # another host's missing variable is nobody's business
    assert VariableCredentials("r.example", "me", password_variable="NOT_THERE", env=env).find("x", "a") is None


def test_helper_of_the_configuration(helper):
    helper("r.example", "me")
    source = HelperCredentials("r.example/team", Helper("keep"), "oci:registries")
    assert source.find("r.example", "team/app").username == "me"
    assert source.find("r.example", "other") is None


def test_nothing_shows_a_secret():
    credentials = Credentials("me", SECRET, SECRET, SECRET, "a file")
    sources = [
        StaticCredentials("r", credentials),
        VariableCredentials("r", env={"P": SECRET}),
        DockerConfig("x", env={"P": SECRET}),
        Helper("keep", env={"P": SECRET}),
    ]
    shown = [f"{x!r} {x!s} {x}" for x in [credentials, *sources, {"a": credentials}]]
    assert "a file" in shown[0] and not any(SECRET in s for s in shown)


def test_store_and_erase(tmp_path):
    path = tmp_path / "new" / "config.json"
    config = DockerConfig(str(path))
    config.store("r.example/team", Credentials("me", SECRET))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert config.find("r.example", "team/app") == Credentials("me", SECRET)
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, "HttpHeaders": {"a": "b"}, "credsStore": ""}))
    config.store("index.docker.io", Credentials("hub", SECRET))
    config.store("token.example", Credentials(identity_token=SECRET))
    assert config.find("token.example", "").identity_token == SECRET
    document = json.loads(path.read_text())
    assert document["HttpHeaders"] == {"a": "b"} and "https://index.docker.io/v1/" in document["auths"]
    assert config.erase("docker.io") and not config.erase("docker.io")
    assert config.find("index.docker.io", "") is None and config.find("r.example", "team")


def test_store_follows_links_and_leaves_no_rest(tmp_path):
    (tmp_path / "dotfiles").mkdir()
    real = tmp_path / "dotfiles" / "config.json"
    real.write_text("{}")
    (tmp_path / "config.json").symlink_to(real)
    DockerConfig(str(tmp_path / "config.json")).store("r.example", Credentials("me", SECRET))
    assert (tmp_path / "config.json").is_symlink() and "r.example" in real.read_text()
    assert os.listdir(tmp_path / "dotfiles") == ["config.json"]


def test_store_where_nothing_can_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises((StorageError, ConfigurationError), match="credentials"):
        DockerConfig(str(tmp_path / "file" / "config.json")).store("r.example", Credentials("me", SECRET))


@pytest.mark.parametrize("key", ["ghcr.io", "ghcr.io/org", "h:5000", "h:5000/a/b"])
def test_normalized_keys_stay(key):
    assert normalized(key) == key == normalized(f"https://{key}/")
