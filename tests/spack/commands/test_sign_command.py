# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack oci push --sign`, `sign` and `key`: what is signed, by whom; cosign verifies it."""

import hashlib
import json
import os
from pathlib import Path

import jsonschema
import pytest
from spack_oci.util.resources import read_schema
from support.programs.cosign import PASSWORD, cosign_key, cosign_sign, cosign_verify

ENV = {"COSIGN_PASSWORD": PASSWORD}


@pytest.fixture
def spack(source, cache):
    instance = source()
    instance.use(cache)
    return instance


@pytest.fixture
def cache(new_cache):
    return new_cache("http")


@pytest.fixture
def key(spack, tmp_path):
    """A pair of keys that our command made; the path without .key and .pub."""
    spack.run("oci", "key", "generate", str(tmp_path / "team"), env=ENV)
    return tmp_path / "team"


def repository(cache):
    return cache.url.partition("://")[2]


def package_tags(cache):
    return [tag for tag in cache.tags() if tag.endswith(".spack") and tag != "index.spack"]


def digest_of(cache, tag):
    return "sha256:" + hashlib.sha256(cache.raw_manifest(tag)).hexdigest()


def signatures(cache, tag):
    """The layers of the signature manifest of a tag."""
    name = digest_of(cache, tag).replace(":", "-") + ".sig"
    return json.loads(cache.raw_manifest(name))["layers"] if name in cache.tags() else []


def valid(schema, done):
    """The document that a command printed, held against its schema."""
    document = json.loads(done.stdout)
    jsonschema.Draft202012Validator(read_schema(f"commands/{schema}")).validate(document)
    return document


@pytest.mark.one_spack
def test_cosign_verifies_everything_that_a_push_has_signed(spack, cache, key):
    done = spack.run("oci", "push", "--sign", f"{key}.key", "--tag", "app", "cache", "oci-app", env=ENV)
    assert "Signed 4 packages with the key team.key" in done.stdout + done.stderr
    for tag in [*package_tags(cache), "app"]:
        (payload,) = cosign_verify(key, f"{repository(cache)}@{digest_of(cache, tag)}")
        assert payload["critical"]["identity"]["docker-reference"] == repository(cache)
        if tag != "app":
            assert payload["optional"]["org.spack-oci.package.hash"] in tag


@pytest.mark.one_spack
def test_keys_of_cosign_sign_beside_ours(spack, cache, key, tmp_path):
    theirs = cosign_key(tmp_path)
    spack.run("oci", "push", "--sign", f"{theirs}.key", "--only", "package", "cache", "oci-leaf@2.0", env=ENV)
    (tag,) = package_tags(cache)
    image = f"{repository(cache)}@{digest_of(cache, tag)}"
    cosign_verify(theirs, image)
    cosign_sign(theirs, image)  # another payload: cosign knows nothing of packages
    spack.run("oci", "sign", "--key", f"{key}.key", "cache", env=ENV)
    assert len(signatures(cache, tag)) == 3
    assert len(cosign_verify(theirs, image)) == 2
    assert len(cosign_verify(key, image)) == 1


@pytest.mark.one_spack
def test_signing_again_adds_nothing_and_another_key_is_added(spack, cache, key, tmp_path):
    spack.run("oci", "push", "--only", "package", "cache", "oci-leaf@2.0")
    spack.run("oci", "key", "generate", str(tmp_path / "second"), env=ENV)
    for name in ("team", "team", "second", "team"):
        done = spack.run("oci", "sign", "--json", "--key", str(tmp_path / f"{name}.key"), "cache", env=ENV)
    assert [p["status"] for p in valid("sign", done)["packages"]] == ["signed before"]
    (tag,) = package_tags(cache)
    assert len(signatures(cache, tag)) == 2


@pytest.mark.one_spack
def test_only_the_named_packages_are_signed(spack, cache, key):
    spack.run("oci", "push", "--update-index", "cache", "oci-app")
    spack.run("oci", "sign", "--key", f"{key}.key", "cache", "oci-leaf@2.0", env=ENV)
    signed = {tag for tag in package_tags(cache) if signatures(cache, tag)}
    assert len(signed) == 1 and "oci-leaf" in signed.pop()
    done = spack.run("oci", "sign", "--key", f"{key}.key", "cache", "oci-stack", env=ENV, check=False)
    assert done.returncode != 0 and "has nothing that matches oci-stack" in done.stderr


@pytest.mark.one_spack
def test_a_configured_key_signs_every_push_unless_it_is_told_not_to(spack, cache, key, tmp_path):
    (tmp_path / "password").write_text(f"{PASSWORD}\n")
    spack.write_config("oci", {"signing": {"key": f"{key}.key", "password_file": str(tmp_path / "password")}})
    spack.run("oci", "push", "--only", "package", "cache", "oci-leaf@2.0")
    spack.run("oci", "push", "--unsigned", "--only", "package", "cache", "oci-codegen")
    signed = {tag for tag in package_tags(cache) if signatures(cache, tag)}
    assert len(signed) == 1 and "oci-leaf" in signed.pop()


def test_buildcache_push_signs_with_its_key(spack, cache, key):
    done = spack.run("buildcache", "push", "--key", f"{key}.key", "--only", "package", "cache", "oci-leaf@2.0", env=ENV)
    assert "not supported" not in done.stdout + done.stderr
    (tag,) = package_tags(cache)
    assert len(signatures(cache, tag)) == 1
    done = spack.run("buildcache", "push", "--key", "ABCDEF", "cache", "oci-leaf@2.0", check=False)
    assert done.returncode != 0 and "not signed with GPG keys" in done.stdout + done.stderr


@pytest.mark.one_spack
def test_a_program_signs(spack, cache, tmp_path):
    from unit.trust.test_signers import PROGRAM, pem_of, signer

    (tmp_path / "sign.py").write_text(PROGRAM)
    (tmp_path / "secret.pem").write_bytes(pem_of(signer("program")._key))
    (tmp_path / "program.pub").write_bytes(signer("program").public.pem)
    argv = [str(spack.python), str(tmp_path / "sign.py"), str(tmp_path / "secret.pem")]
    spack.write_config("oci", {"signing": {"program": argv, "public_key": str(tmp_path / "program.pub")}})
    spack.run("oci", "push", "--only", "package", "cache", "oci-leaf@2.0")
    (tag,) = package_tags(cache)
    cosign_verify(tmp_path / "program", f"{repository(cache)}@{digest_of(cache, tag)}")


@pytest.mark.one_spack
def test_digests_are_for_a_signer_of_ones_own(spack, cache, key, tmp_path):
    file = tmp_path / "digests"
    spack.run("oci", "push", "--only", "package", "--digests", str(file), "cache", "oci-leaf@2.0")
    (tag,) = package_tags(cache)
    assert file.read_text() == f"{repository(cache)}@{digest_of(cache, tag)}\n"
    assert spack.run("oci", "sign", "--digests", "-", "cache").stdout == file.read_text()
    assert not signatures(cache, tag)


@pytest.mark.one_spack
def test_without_a_key_or_its_password_nothing_is_pushed(spack, cache, key):
    done = spack.run("oci", "push", "--sign", "--only", "package", "cache", "oci-leaf@2.0", check=False)
    assert done.returncode != 0 and "no key to sign with" in done.stderr
    done = spack.run("oci", "push", "--sign", f"{key}.key", "cache", "oci-leaf@2.0", check=False)
    assert done.returncode != 0 and "needs a password" in done.stderr
    done = spack.run(
        "oci", "push", "--sign", f"{key}.key", "cache", "oci-leaf@2.0", check=False, env={"COSIGN_PASSWORD": "guess"}
    )
    assert done.returncode != 0 and "password of the key" in done.stderr and "guess" not in done.stderr
    assert not [tag for tag in cache.tags() if tag.endswith(".spack")] if cache.kind == "layout" else True


@pytest.mark.one_spack
def test_keys_are_shown_added_and_listed(spack, key):
    shown = valid("key", spack.run("oci", "key", "show", "--json", f"{key}.pub"))
    private = json.loads(spack.run("oci", "key", "show", "--json", f"{key}.key", env=ENV).stdout)
    assert private["id"] == shown["id"] and shown["kind"] == "ECDSA secp256r1"
    assert valid("key", spack.run("oci", "key", "add", "--json", "team-2026", f"{key}.pub"))["id"] == shown["id"]
    assert [found["id"] for found in valid("keys", spack.run("oci", "key", "list", "--json"))["keys"]] == [shown["id"]]
    assert json.loads(spack.run("oci", "key", "show", "--json", "team-2026").stdout)["id"] == shown["id"]
    assert "has the key team-2026" in spack.run("oci", "key", "add", "team-2026", f"{key}.pub").stdout
    spack.run("oci", "key", "generate", f"{key}-other", env=ENV)
    done = spack.run("oci", "key", "add", "team-2026", f"{key}-other.pub", check=False)
    assert done.returncode != 0 and "has a key team-2026 already" in done.stderr
    done = spack.run("oci", "key", "generate", str(key), env=ENV, check=False)
    assert done.returncode != 0 and "is there already" in done.stderr
    assert os.stat(f"{key}.key").st_mode & 0o077 == 0


@pytest.mark.one_spack
def test_verify_tells_who_signed_and_fails_where_the_policy_is_not_met(spack, cache, key):
    spack.run("oci", "push", "--update-index", "cache", "oci-app")
    spack.run("oci", "sign", "--key", f"{key}.key", "cache", "oci-leaf@2.0", env=ENV)
    assert spack.run("oci", "verify", "cache").returncode == 0
    done = spack.run("oci", "verify", "--json", "--key", f"{key}.pub", "cache", check=False)
    document = json.loads(done.stdout)
    assert done.returncode == 1 and document["failed"] == 3
    (signed,) = [p for p in document["packages"] if p["signed_by"]]
    assert "oci-leaf" in signed["tag"] and signed["tag"] not in {f["tag"] for f in document["findings"]}
    assert {f["kind"] for f in document["findings"]} == {"signature"} and all(f["remedy"] for f in document["findings"])
    jsonschema.Draft202012Validator(read_schema("commands/verify")).validate(document)
    assert spack.run("oci", "verify", "--key", f"{key}.pub", "cache", "oci-leaf@2.0").returncode == 0


@pytest.mark.one_spack
def test_what_a_policy_hides_can_be_verified_and_signed_by_its_spec(spack, cache, key):
    spack.run("oci", "push", "--update-index", "cache", "oci-app")
    spack.write_config("oci", {"trust": {"keys": {"team": f"{key}.pub"}, "policies": {"*": {"mode": "require"}}}})
    assert "oci-leaf" not in spack.run("oci", "list", "--allarch", "cache").stdout
    done = spack.run("oci", "verify", "cache", "oci-leaf@2.0", check=False)
    assert done.returncode == 1 and "is not signed by team" in " ".join(done.stderr.split())
    spack.run("oci", "sign", "--key", f"{key}.key", "cache", "oci-leaf@2.0", env=ENV)
    assert "oci-leaf" in spack.run("oci", "list", "--allarch", "cache").stdout
    told = " ".join(spack.run("oci", "doctor", "cache", check=False).stdout.split())
    assert "require team (by *): 1 package signed, 3 not" in told, told
    # who updates the index without the key leaves it unsigned, so that it is refused; signing anything signs it again
    spack.run("oci", "push", "--update-index", "--only", "package", "cache", "oci-leaf@1.0")
    assert "not signed any more" in " ".join(spack.run("oci", "list", "cache", check=False).stderr.split())
    done = spack.run("oci", "verify", "--level", "index", "cache", check=False)
    assert done.returncode == 1 and "not signed any more" in " ".join(done.stderr.split())
    spack.run("oci", "sign", "--key", f"{key}.key", "cache", "oci-leaf@1.0", env=ENV)
    assert "oci-leaf@1.0" in spack.run("oci", "list", "--allarch", "cache").stdout


@pytest.mark.one_spack
def test_an_index_that_was_turned_back_is_refused_until_it_is_accepted(source, new_cache, key):
    layout = new_cache("layout")
    spack = source()
    spack.use(layout)
    spack.run(
        "oci", "push", "--sign", f"{key}.key", "--update-index", "--only", "package", "cache", "oci-leaf@2.0", env=ENV
    )
    table = Path(layout.url.partition("://")[2]) / "index.json"
    before = table.read_bytes()
    spack.run("oci", "push", "--sign", f"{key}.key", "--update-index", "cache", "oci-app", env=ENV)
    trust = {"keys": {"team": f"{key}.pub"}, "policies": {"*": {"mode": "require"}}}
    spack.write_config("oci", {"trust": trust})
    assert "oci-app" in spack.run("oci", "list", "--allarch", "cache").stdout
    table.write_bytes(before)
    done = spack.run("oci", "list", "--allarch", "cache", check=False)
    assert done.returncode != 0 and "older than one that was there before" in " ".join(done.stderr.split())
    (policy,) = valid("trust", spack.run("oci", "trust", "show", "--json"))["mirrors"]
    assert policy["policy"] == "require team"
    assert valid("accept-older", spack.run("oci", "trust", "accept-older", "--json", "cache"))["forgotten"]
    assert "No index of" in spack.run("oci", "trust", "accept-older", "cache").stdout
    assert "oci-leaf" in spack.run("oci", "list", "--allarch", "cache").stdout
