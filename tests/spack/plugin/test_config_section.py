# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`oci:` is a section of Spack's configuration like any other: get, add, edit, blame, spack.yaml, errors."""

import json
import re
import shlex

import pytest
from spack_oci.registry.http.urls import set_command


@pytest.fixture
def spack(destination):
    return destination()


def section(spack, *arguments) -> dict:
    return json.loads(spack.run(*arguments, "config", "get", "--json", "oci").stdout)["oci"]


def test_every_default_is_shown(spack):
    """`spack config get oci` of a user who has set nothing tells what is in force."""
    shown = section(spack)
    assert shown["compression"] == {"algorithm": "gzip", "level": "auto"}
    assert shown["jobs"]["pack"] == "auto" and shown["jobs"]["transfer"] >= 1
    assert shown["hooks"] == {"enabled": True}
    assert shown["cache"]["root"]


@pytest.mark.one_spack
def test_every_key_is_described(our_python):
    """The schema documents itself, for editors and for the reader."""
    import spack_oci.util.resources as resources

    def undescribed(schema, path=""):
        for key, child in schema.get("properties", {}).items():
            if "description" not in child:
                yield f"{path}:{key}"
            yield from undescribed(child, f"{path}:{key}")
            if isinstance(child.get("additionalProperties"), dict):
                yield from undescribed(child["additionalProperties"], f"{path}:{key}:*")

    assert list(undescribed(resources.read_schema("oci"))) == []


def test_add_writes_into_the_scope_of_the_user(spack):
    spack.run("config", "add", "oci:jobs:transfer:3")
    spack.run("config", "--scope", "site", "get", "oci")
    assert section(spack)["jobs"]["transfer"] == 3
    assert "transfer: 3" in (spack.scope / "oci.yaml").read_text()
    assert not (spack.checkout / "etc" / "spack" / "oci.yaml").exists()


def test_what_is_advised_for_a_host_with_a_port_is_added_to_what_is_there(spack):
    for host, setting in (
        ("r.example:5000", "ca_bundle:/a.pem"),
        ("r.example:5000", "patience:9"),
        ("s:1", "patience:1"),
    ):
        spack.run(*shlex.split(set_command(host, setting).strip("`"))[1:])
    found = section(spack)["registries"]
    assert found["r.example:5000"] == {"ca_bundle": "/a.pem", "patience": 9} and found["s:1"]


@pytest.mark.one_spack
def test_blame_names_the_file(spack):
    spack.run("config", "add", "oci:jobs:transfer:3")
    out = spack.run("config", "blame", "oci").stdout
    line = next(line for line in out.splitlines() if "transfer: 3" in line)
    assert str(spack.scope / "oci.yaml") in line


@pytest.mark.one_spack
def test_edit_opens_the_file_of_the_section(spack, tmp_path):
    assert spack.run("config", "edit", "--print-file", "oci").stdout.strip() == str(spack.scope / "oci.yaml")


@pytest.mark.one_spack
def test_the_command_line_sets_it(spack):
    assert section(spack, "-c", "oci:compression:algorithm:zstd")["compression"]["algorithm"] == "zstd"


@pytest.fixture
def environment(spack):
    """``environment("oci: {...}")``: an environment whose spack.yaml has this section."""

    def make(text: str):
        directory = spack.home / "env"
        directory.mkdir(exist_ok=True)
        (directory / "spack.yaml").write_text(f"spack:\n  specs: []\n  view: false\n{text}\n")
        return directory

    return make


def test_an_environment_sets_it(spack, environment):
    directory = environment("  oci:\n    jobs:\n      transfer: 5")
    assert section(spack, "-e", directory)["jobs"]["transfer"] == 5
    assert section(spack, "-e", directory)["compression"]["algorithm"] == "gzip", "the defaults are below it"


def test_a_file_beside_spack_yaml_sets_it(spack, environment):
    """Without a word in the `spack.yaml`: below its key, above what it includes, and gone when it is deactivated."""
    directory = environment("  include: [more]")
    (directory / "more").mkdir()
    (directory / "more" / "oci.yaml").write_text("oci:\n  jobs:\n    transfer: 2\n    pack: 3\n")
    (directory / "oci.yaml").write_text("oci:\n  jobs:\n    transfer: 5\n")
    jobs = section(spack, "-e", directory)["jobs"]
    assert (jobs["transfer"], jobs["pack"]) == (5, 3)
    assert f"{directory / 'oci.yaml'}:3" in spack.run("-e", directory, "config", "blame", "oci").stdout
    spack.run("-e", directory, "config", "add", "oci:jobs:transfer:7")
    assert section(spack, "-e", directory)["jobs"]["transfer"] == 7, "what is added goes into the spack.yaml"
    assert "7" not in (directory / "oci.yaml").read_text()
    seen = spack.script(
        "import spack.config, spack.environment as ev\n"
        f"with ev.Environment({str(directory)!r}) as env:\n"
        "    env.manifest.prepare_config_scope(); print(spack.config.get('oci:jobs:transfer'))\n"
        "    env.manifest.deactivate_config_scope(); print(spack.config.get('oci:jobs:transfer'))\n"
    ).split()
    assert seen[0] == "7" and seen[1] not in ("7", "5", "2")


@pytest.mark.parametrize("include", ["'.'", "./oci.yaml"])
def test_a_file_beside_spack_yaml_that_is_included_too_is_read_once(spack, environment, include):
    directory = environment(f"  include: [{include}]")
    (directory / "oci.yaml").write_text("oci:\n  push:\n    exclude: [cuda]\n")
    assert section(spack, "-e", directory)["push"]["exclude"] == ["cuda"]


def test_a_mistake_in_the_file_beside_spack_yaml_is_reported_with_file_and_line(spack, environment):
    directory = environment("")
    for content in ("oci:\n  jobs:\n    transfers: 5\n", "oci:\n  jobs: [\n"):
        (directory / "oci.yaml").write_text(content)
        done = spack.run("-e", directory, "find", check=False)
        assert done.returncode != 0 and "Traceback" not in done.stderr
        assert re.search(rf"{directory / 'oci.yaml'}.*\d", done.stderr.replace("\n", " ")), done.stderr
    (directory / "oci.yaml").write_text("")
    assert spack.run("-e", directory, "find").returncode == 0


def test_the_defaults_are_below_every_scope_of_a_site(spack):
    """Those of the system and of Spack's site, which lie below the user's."""
    system = spack.home / "system"
    system.mkdir()
    (system / "oci.yaml").write_text("oci:\n  jobs:\n    transfer: 6\n")
    spack.environment["SPACK_SYSTEM_CONFIG_PATH"] = str(system)
    assert section(spack)["jobs"]["transfer"] == 6
    spack.run("config", "add", "oci:jobs:transfer:3")
    assert section(spack)["jobs"]["transfer"] == 3


@pytest.mark.one_spack
def test_a_scope_given_by_directory_sets_it(spack):
    """`spack -C DIR`: above the user's scope."""
    spack.run("config", "add", "oci:jobs:transfer:3")
    spack.write_config("oci", {"jobs": {"transfer": 7}}, spack.base_scope)
    assert section(spack)["jobs"]["transfer"] == 7


@pytest.mark.one_spack
@pytest.mark.parametrize(
    "content, wrong",
    [
        ("oci:\n  jobs:\n    transfers: 3\n", "transfers"),
        ("oci:\n  compression:\n    algorithm: lzma\n", "lzma"),
        ("oci:\n  hooks:\n    enabled: perhaps\n", "perhaps"),
        ("oci:\n  max_speed: 11\n", "max_speed"),
    ],
)
def test_a_wrong_key_is_reported_with_file_and_line(spack, content, wrong):
    """As Spack reports a mistake in its own sections; also in a command that has nothing to do with OCI."""
    file = spack.scope / "oci.yaml"
    file.write_text(content)
    done = spack.run("config", "get", "oci", check=False)
    assert done.returncode != 0
    line = next(number for number, text in enumerate(content.splitlines(), 1) if wrong in text)
    assert wrong in done.stderr
    lines = [f"{file}:{n}" for n in (line - 1, line)]  # Spack names the line of the parent for an unknown key
    assert any(where in done.stderr for where in lines), done.stderr
    assert "Traceback" not in done.stderr


def test_a_wrong_key_in_spack_yaml_is_reported_with_file_and_line(spack, environment):
    directory = environment("  oci:\n    jobs:\n      transfers: 5")
    done = spack.run("-e", directory, "config", "get", "oci", check=False)
    assert done.returncode != 0
    assert "transfers" in done.stderr
    assert f"{directory / 'spack.yaml'}:" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.one_spack
def test_vanilla_spack_knows_no_such_section(destination):
    """The tests above show our doing."""
    assert destination(ours=False).run("config", "get", "oci", check=False).returncode != 0
