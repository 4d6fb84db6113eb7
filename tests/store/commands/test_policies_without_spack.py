# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack-oci` under a policy of `oci:trust`: what it asks of a registry, and what a bundle is held to."""

import json
import shutil

import pytest
from spack_oci.index.update.loop import UpdateSettings, update_index
from spack_oci.layout import open_layout
from spack_oci.operations.trust.index_signing import IndexSigning
from spack_oci.operations.trust.sign import sign_packages
from spack_oci.package.record import is_package_tag
from spack_oci.reference import LayoutDirectory, parse_url
from spack_oci.registry import open_repository
from spack_oci.trust.signers import generate
from support.registries.docker_registry import docker_registry
from unit.trust.cases import signer


@pytest.fixture(scope="module")
def registry():
    with docker_registry() as running:
        yield running


def sign_all(store, by="team"):
    """Packages and index, as `spack oci sign` does."""
    outcomes = sign_packages(store, [tag for tag in store.tags() if is_package_tag(tag)], signer(by))
    signing = IndexSigning(store, [o.written for o in outcomes], signer(by))
    update_index(store, UpdateSettings(signatures=signing), compare_digests=False)


def policies(client, scopes):
    """Write them, with the key of the team; what a command needs in its environment."""
    keys = {"team": signer("team").public.pem.decode()}
    path = client.home / "config.json"
    path.write_text(json.dumps({"trust": {"keys": keys, "policies": scopes}}))
    return {"SPACK_OCI_CONFIG": str(path)}


@pytest.mark.registry
def test_an_install_under_a_policy_makes_not_one_request_more(client, built, registry, tmp_path):
    url = registry.mirror_url("team/cache")
    client.run("push", "--update-index", built, url, "oci-app")
    sign_all(open_repository(parse_url(url)))
    asked = {}
    for name, scopes in (("without", {}), ("with", {"*": {"mode": "require"}})):
        before = len(registry.requests())
        env = {**policies(client, scopes), "SPACK_OCI_CACHE": str(tmp_path / name)}
        client.run("install", url, "oci-app", "--store", tmp_path / f"store-{name}", env=env)
        asked[name] = registry.requests()[before:]
    assert len(asked["with"]) <= len(asked["without"]), asked
    assert not [request for request in asked["with"] if ".sig" in request]


@pytest.mark.registry
def test_a_signature_that_comes_later_is_seen_by_who_was_refused_before(client, built, registry, store):
    """NixOS/nix #4258, #1077: that there was none was remembered for ever, and a new key did not count."""
    url = registry.mirror_url("team/later")
    client.run("push", "--update-index", built, url, "oci-leaf@1.0")
    env = policies(client, {"*": {"mode": "require"}})
    for by in ("nobody of the team", "team"):
        refused = client.run("install", url, "oci-leaf", "--store", store, env=env, check=False)
        assert refused.returncode != 0 and "sign" in refused.stderr, refused.stderr
        sign_all(open_repository(parse_url(url)), by)
    client.run("install", url, "oci-leaf", "--store", store, env=env)


def test_a_push_signs_with_the_key_of_the_settings(client, built, store, tmp_path):
    made, private = generate(b"a password", "team")
    (tmp_path / "team.key").write_bytes(private)
    trust = {"keys": {"team": made.public.pem.decode()}, "policies": {"*": {"mode": "require", "max_age": "1d"}}}
    signing = {"key": str(tmp_path / "team.key")}
    (tmp_path / "config.json").write_text(json.dumps({"signing": signing, "trust": trust}))
    env = {"SPACK_OCI_CONFIG": str(tmp_path / "config.json")}
    words = ("push", "--update-index", built, tmp_path / "cache", "oci-leaf@1.0")
    refused = client.run(*words, env=env, check=False)
    assert refused.returncode != 0 and "needs a password" in refused.stderr
    done = client.run(*words, env={**env, "COSIGN_PASSWORD": "a password"})
    assert "Signed 1 package with the key team.key" in done.stdout + done.stderr
    client.run("install", tmp_path / "cache", "oci-leaf", "--store", store, env=env)


def test_keys_are_made_and_what_is_there_is_signed_with_them(client, cache, store, tmp_path):
    own, key = shutil.copytree(cache, tmp_path / "own"), tmp_path / "team"
    env = {"COSIGN_PASSWORD": "a password"}
    made = client.json("key", "generate", key, env=env)
    assert client.json("key", "show", f"{key}.pub") == {**made, "name": "team.pub"}
    assert client.run("key", "list").stdout == "==> no keys in oci:trust:keys\n"
    asked = policies(client, {"*": {"mode": "require"}})
    settings = json.loads((client.home / "config.json").read_text())
    settings["trust"]["keys"] = {"ours": made["public_key"]}
    (client.home / "config.json").write_text(json.dumps(settings))
    assert client.json("key", "list", env=asked)["keys"][0]["id"] == made["id"]
    shown = client.json("trust", "show", own, env=asked)["mirrors"][0]
    assert (shown["mode"], shown["keys"]) == ("require", [{"name": "ours", "id": made["id"]}])
    refused = client.run("install", own, "oci-leaf@1.0", "--store", store, env=asked, check=False)
    assert refused.returncode == 3 and "not signed by ours" in refused.stderr
    assert client.run("sign", own, check=False).returncode == 2
    named = client.run("sign", own, "oci-leaf@1.0", "--digests", "-").stdout
    assert named.startswith("oci-layout@sha256:") and named.count("\n") == 1
    signed = client.json("sign", own, "--key", f"{key}.key", env=env)["packages"]
    assert len(signed) > 5 and {one["status"] for one in signed} == {"signed"}
    client.run("install", own, "oci-leaf@1.0", "--store", store, env=asked)
    assert "taken as it is" in client.run("trust", "accept-older", own, env=asked).stderr
    assert client.json("trust", "accept-older", own, env=asked)["forgotten"] is False


def test_a_bundle_is_held_to_the_policy_of_the_place_where_it_is(client, cache, store, tmp_path):
    own = shutil.copytree(cache, tmp_path / "own")
    (tmp_path / "media").mkdir()
    client.run("pack", own, tmp_path / "media" / "unsigned.tar", "oci-leaf@1.0")
    sign_all(open_layout(LayoutDirectory(str(own))))
    client.run("pack", own, tmp_path / "media" / "signed.tar", "oci-leaf@1.0")
    env = policies(client, {str(tmp_path / "media"): {"mode": "require"}})
    words = ("oci-leaf", "--store", store)
    done = client.run("install", tmp_path / "media" / "unsigned.tar", *words, check=False, env=env)
    assert done.returncode != 0 and "not signed by team" in done.stderr
    assert not store.exists() or not list(store.glob("*/oci-leaf*"))
    client.run("install", tmp_path / "media" / "signed.tar", *words, env=env)
