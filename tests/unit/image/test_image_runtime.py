# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Run-time settings, conflicts between specs, and the files of an environment."""

import os

import pytest
from spack_oci.errors import ConfigurationError, ImageError, StorageError
from spack_oci.image.contents import LOCK_FILE, lock_entry, path_entries, sbang_entries, view_entries
from spack_oci.image.files import FileEntry
from spack_oci.image.manifest import Base
from spack_oci.image.runtime import RuntimeSettings, check_conflicts, image_settings


def same(environment):
    return environment


@pytest.mark.parametrize(
    "value, words",
    [
        ("htop", ["htop"]),
        ("python3 -c 'print(1)'", ["python3", "-c", "print(1)"]),
        ('["a b", "c"]', ["a b", "c"]),
        (["a", "b"], ["a", "b"]),
        ("", []),
    ],
)
def test_words(value, words):
    assert RuntimeSettings.create(entrypoint=value, cmd=value).entrypoint == tuple(words)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"entrypoint": "'"}, "cannot read the entrypoint"),
        ({"cmd": "[1"}, "cannot read the cmd"),
        ({"cmd": "[1]"}, "not a list of strings"),
        ({"env": ["NAME"]}, "not a variable: 'NAME'"),
        ({"env": ["1X=2"]}, "not the name of an environment variable"),
        ({"labels": ["=x"]}, "not a label"),
        ({"user": "a b"}, "not a user"),
        ({"user": ""}, "not a user"),
        ({"workdir": "data"}, "is not absolute"),
        ({"volumes": ["data"]}, "is not absolute"),
        ({"ports": ["http"]}, "not a port"),
        ({"ports": [70000]}, "not a port"),
        ({"ports": ["80/sctp"]}, "not a port"),
    ],
)
def test_wrong_settings(settings, message):
    with pytest.raises(ConfigurationError, match=message):
        RuntimeSettings.create(**settings)


@pytest.mark.parametrize("name", ["DB_PASSWORD", "GITHUB_TOKEN", "api_key", "AWS_SECRET", "SSH_PRIVATE_KEY"])
def test_secrets_do_not_go_into_an_image(name):
    with pytest.raises(ConfigurationError, match=f"{name} looks like a secret") as e:
        RuntimeSettings.create(env=[f"{name}=hunter2"])
    assert "hunter2" not in str(e.value)


def test_values_of_yaml():
    settings = RuntimeSettings.create(env={"A": 1, "B": True}, labels={"x": "y"}, ports=[80, "53/udp"], user=0)
    assert settings.env == {"A": "1", "B": "true"} and settings.ports == ("80/tcp", "53/udp") and settings.user == "0"


def test_the_more_specific_wins():
    config = RuntimeSettings.create(
        entrypoint="a", cmd="b", env=["X=1", "Y=1"], labels=["l=1"], user="u", ports=[80], volumes=["/a"], workdir="/w"
    )
    line = RuntimeSettings.create(env=["X=2"], labels=["m=2"], ports=[80, 81], volumes=["/b"])
    both = line.over(config)
    assert both.env == {"X": "2", "Y": "1"} and both.labels == {"l": "1", "m": "2"}
    assert both.ports == ("80/tcp", "81/tcp") and both.volumes == ("/a", "/b")
    assert (both.entrypoint, both.cmd, both.user, both.workdir) == (("a",), ("b",), "u", "/w")
    # a command belongs to its entrypoint
    assert RuntimeSettings.create(entrypoint="c").over(config).cmd is None
    assert RuntimeSettings.create(cmd="c").over(config).entrypoint == ("a",)
    assert RuntimeSettings.create(cmd=[]).over(config).cmd == ()


def base(**settings) -> Base:
    return Base({"layers": []}, {"config": settings})


def test_settings_on_top_of_a_base():
    found = image_settings(
        base(Env=["PATH=/bin", "LANG=C"], Cmd=["bash"], WorkingDir="/root", ExposedPorts={"22/tcp": {}}),
        lambda env: {**env, "PATH": "/store/bin:" + env["PATH"], "A": "1"},
        RuntimeSettings.create(env=["LANG=en"], workdir="/data", ports=[80], volumes=["/data"], cmd="x y"),
        path_first=["/view/bin"],
        labels={"title": "t"},
    )
    assert found == {
        "Env": ["PATH=/view/bin:/store/bin:/bin", "LANG=en", "A=1"],
        "Cmd": ["x", "y"],
        "WorkingDir": "/data",
        "ExposedPorts": {"22/tcp": {}, "80/tcp": {}},
        "Volumes": {"/data": {}},
        "Labels": {"title": "t"},
    }


def test_a_directory_is_on_path_once():
    twice = image_settings(base(), lambda env: {**env, "PATH": "/a:/b:/a:" + env["PATH"]}, RuntimeSettings())
    assert twice["Env"] == ["PATH=/a:/b:/bin:/usr/bin"]


def test_the_base_is_not_changed():
    b = base(ExposedPorts={"22/tcp": {}}, Labels={"x": "1"})
    image_settings(b, same, RuntimeSettings.create(ports=[80], labels=["x=2"]))
    assert b.settings == {"ExposedPorts": {"22/tcp": {}}, "Labels": {"x": "1"}}


def test_the_users_labels_win():
    runtime = RuntimeSettings.create(labels=["org.opencontainers.image.title=mine"])
    found = image_settings(base(), same, runtime, labels={"org.opencontainers.image.title": "ours"})
    assert found["Labels"] == {"org.opencontainers.image.title": "mine"}


def test_an_entrypoint_drops_the_bases_command():
    b = base(Entrypoint=["/init"], Cmd=["bash"])
    assert "Cmd" not in image_settings(b, same, RuntimeSettings.create(entrypoint="x"))
    assert image_settings(b, same, RuntimeSettings())["Cmd"] == ["bash"]


def test_paths_that_add_up_are_no_conflict():
    check_conflicts(
        {"PATH": "/bin", "HOME": "/"},
        {"a": {"PATH": "/a:/bin", "HOME": "/", "X": "1"}, "b": {"PATH": "/b:/bin", "HOME": "/"}},
        {"PATH": "/b:/a:/bin", "HOME": "/", "X": "1"},
        {},
    )


def test_a_value_that_is_lost_is_a_conflict():
    separate = {"a@1": {"CC": "gcc"}, "b@1": {"CC": "clang"}}
    with pytest.raises(ImageError) as e:
        check_conflicts({}, separate, {"CC": "clang"}, {})
    assert "CC (a@1: gcc, b@1: clang)" in str(e.value) and "--env CC=gcc" in e.value.remedy
    check_conflicts({}, separate, {"CC": "clang"}, {"CC": "gcc"})
    # to the same value: none
    check_conflicts({}, {"a@1": {"CC": "gcc"}, "b@1": {"CC": "gcc"}}, {"CC": "gcc"}, {})


# view and lock file


@pytest.fixture
def view(tmp_path):
    prefix = tmp_path / "store" / "app"
    (prefix / "bin").mkdir(parents=True)
    (prefix / "bin" / "app").write_text("#!/bin/sh\n")
    (prefix / "bin" / "hard").write_text("hard")
    real = tmp_path / "env" / "._view" / "abc"
    (real / "bin").mkdir(parents=True)
    (real / ".spack").mkdir()
    (real / ".spack" / "projections.json").write_text("{}")
    os.symlink(real, tmp_path / "env" / "view")
    os.symlink(prefix / "bin" / "app", real / "bin" / "app")
    os.symlink("app", real / "bin" / "alias")
    os.symlink("../../../../store/app/bin/app", real / "bin" / "relative")
    os.symlink(tmp_path / "env" / "view" / "bin" / "app", real / "bin" / "absolute")
    os.symlink(prefix, real / "lib")
    os.link(prefix / "bin" / "hard", real / "bin" / "hard")
    script = real / "bin" / "script"
    script.write_text(f"#!{tmp_path}/env/view/bin/python\n# {real}/x\n")
    script.chmod(0o755)
    (real / "data").write_bytes(b"\0binary " + os.fsencode(real))
    return tmp_path


def test_the_view_in_the_image(view):
    prefix = str(view / "store" / "app")
    entries = view_entries(str(view / "env" / "view"), [str(view / "store" / "other"), prefix])
    assert entries == {
        "/view/bin/app": FileEntry(link=f"{prefix}/bin/app"),
        "/view/bin/alias": FileEntry(link="app"),
        "/view/bin/relative": FileEntry(link=f"{prefix}/bin/app"),
        "/view/bin/absolute": FileEntry(link="/view/bin/app"),
        "/view/lib": FileEntry(link=prefix),
        "/view/bin/hard": FileEntry(link=f"{prefix}/bin/hard"),
        "/view/bin/script": FileEntry(b"#!/view/bin/python\n# /view/x\n", 0o755),
        "/view/data": FileEntry(b"\0binary " + os.fsencode(view / "env" / "._view" / "abc")),
    }
    assert path_entries(entries, ["/view", "/other"]) == ["/view/bin"]
    other = view_entries(str(view / "env" / "view"), [prefix], "/views/dev")
    assert other["/views/dev/bin/absolute"].link == "/views/dev/bin/app"


def test_a_view_that_is_not_there(tmp_path):
    with pytest.raises(StorageError, match="reading the view"):
        view_entries(str(tmp_path / "gone"), [])


def test_sbang(tmp_path):
    (tmp_path / "sbang").write_bytes(b"#!/bin/sh\n")
    found = sbang_entries([str(tmp_path / "sbang"), str(tmp_path / "none")])
    assert found == {str(tmp_path / "sbang"): FileEntry(b"#!/bin/sh\n", 0o755)}


def test_the_lock_file():
    assert lock_entry(b"{}") == {LOCK_FILE: FileEntry(b"{}")} and LOCK_FILE.startswith("/opt/spack-environment/")
