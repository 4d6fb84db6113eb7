# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Private and public keys: cosign's files read and written, and everything else refused by name."""

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from spack_oci.configuration.trust import password as password_of
from spack_oci.errors import ConfigurationError, SigningError
from spack_oci.trust import signers
from spack_oci.trust.keys import read_key_file, read_public_key
from spack_oci.trust.signers import (
    ProgramSigner,
    generate,
    signer_ahead,
    signer_of_file,
    signer_of_pem,
    write_pair,
)
from spack_oci.util.concurrency import processes
from support.programs.cosign import cosign
from unit.trust.cases import signer

RECORDED = Path(__file__).parent / "recorded"
COSIGN = shutil.which("cosign")
needs_cosign = pytest.mark.skipif(COSIGN is None, reason="cosign is not installed")


def password(text=b"pw"):
    return lambda: text


def never():
    raise AssertionError("the password is asked for, though the key is not encrypted")


def pem_of(key, form="PKCS8", encryption=None):
    from cryptography.hazmat.primitives import serialization as s

    return key.private_bytes(s.Encoding.PEM, getattr(s.PrivateFormat, form), encryption or s.NoEncryption())


def rsa_key(bits=2048):
    from cryptography.hazmat.primitives.asymmetric import rsa

    return rsa.generate_private_key(65537, bits)


def test_a_key_of_cosign_is_read_and_signs_for_its_public_half():
    private = signer_of_file(str(RECORDED / "cosign.key"), password())
    public = read_public_key((RECORDED / "cosign.pub").read_bytes(), "cosign")
    assert private.public.id == public.id
    assert public.verifies(private.sign(b"data"), b"data")
    assert not public.verifies(private.sign(b"data"), b"other data")


def test_a_signature_of_cosign_verifies():
    public = read_public_key((RECORDED / "cosign.pub").read_bytes(), "cosign")
    layer = json.loads((RECORDED / "manifest.json").read_text())["layers"][0]
    value = base64.b64decode(layer["annotations"]["dev.cosignproject.cosign/signature"])
    payload = (RECORDED / "payload.json").read_bytes()
    assert public.verifies(value, payload)
    assert not public.verifies(value, payload + b" ")


def test_a_generated_key_is_read_again():
    made, file = generate(b"a password")
    assert signer_of_pem(file, "new.key", password(b"a password")).public.id == made.public.id
    assert made.public.describe() == "ECDSA secp256r1"


def killed_child(derivation):
    derivation.child.kill()


def no_child(derivation):
    assert derivation.child is None


@pytest.mark.parametrize("meanwhile", [None, killed_child, no_child])
def test_a_password_becomes_a_key_while_something_else_goes_on(tmp_path, monkeypatch, meanwhile):
    made, file = generate(b"a password")
    (tmp_path / "new.key").write_bytes(file)
    derivations = []

    class Derivation(signers.KeyDerivation):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            derivations.append(self)

    monkeypatch.setattr(signers, "KeyDerivation", Derivation)
    if meanwhile is no_child:
        monkeypatch.setattr(processes, "can_fork", lambda: False)
    monkeypatch.setattr(signers, "available_cores", lambda: 2)
    ahead = signer_ahead(str(tmp_path / "new.key"), password(b"a password"))
    if meanwhile:
        meanwhile(derivations[0])
    assert made.public.verifies(ahead.sign(b"data"), b"data")
    assert ahead.public.id == made.public.id
    assert derivations[0].child is None  # nobody waits for it any more


def test_a_wrong_password_is_told_to_who_needs_the_key_first(tmp_path):
    (tmp_path / "new.key").write_bytes(generate(b"a password")[1])
    ahead = signer_ahead(str(tmp_path / "new.key"), password(b"a guess"))
    for _ in range(2):
        with pytest.raises(ConfigurationError, match="password of the key .*new.key is wrong"):
            assert not ahead.public


def test_what_needs_no_password_is_read_at_once(tmp_path):
    (tmp_path / "plain.pem").write_bytes(pem_of(signer()._key))
    assert signer_ahead(str(tmp_path / "plain.pem"), never).public.id == signer().public.id
    (tmp_path / "empty.key").write_bytes(b"")
    with pytest.raises(ConfigurationError, match="is empty"):
        signer_ahead(str(tmp_path / "empty.key"), never)


def in_a_box(der):
    """As cosign writes it, with the password ``pw``, made by others than ours."""
    from nacl.secret import SecretBox

    salt, nonce = os.urandom(32), os.urandom(24)
    key = hashlib.scrypt(b"pw", salt=salt, n=1 << 15, r=8, p=1, maxmem=160 << 20, dklen=32)
    document = recorded_document()
    document["kdf"].update(params={"N": 1 << 15, "r": 8, "p": 1}, salt=base64.b64encode(salt).decode())
    document["cipher"]["nonce"] = base64.b64encode(nonce).decode()
    document["ciphertext"] = base64.b64encode(SecretBox(key).encrypt(der, nonce).ciphertext).decode()
    return boxed(document)


def test_the_usual_private_key_is_that_of_its_bytes():
    """It is read without a parser of all keys; a number that is none, or with the point of another, is no key."""
    from cryptography.hazmat.primitives import serialization as s

    one, other = (
        signer(name)._key.private_bytes(s.Encoding.DER, s.PrivateFormat.PKCS8, s.NoEncryption())
        for name in ("one", "other")
    )
    assert signer_of_pem(in_a_box(one), "one.key", password()).public.id == signer("one").public.id
    for wrong in (one[:-65] + other[-65:], one[:36] + bytes(32) + one[68:], one[:-1], one + b"x"):
        with pytest.raises(ConfigurationError, match="holds no private key"):
            signer_of_pem(in_a_box(wrong), "wrong.key", password())


@needs_cosign
def test_cosign_reads_a_generated_key(tmp_path):
    made, file = generate(b"a password")
    (tmp_path / "new.key").write_bytes(file)
    environment = {**os.environ, "COSIGN_PASSWORD": "a password"}
    done = subprocess.run(
        [COSIGN, "public-key", "--key", str(tmp_path / "new.key")], env=environment, capture_output=True
    )
    assert done.stdout == made.public.pem, done.stderr


@pytest.mark.parametrize("form", ["PKCS8", "TraditionalOpenSSL"])
def test_an_unencrypted_key_needs_no_password(form):
    key = signer()
    again = signer_of_pem(pem_of(key._key, form), "plain.pem", never)
    assert again.public.id == key.public.id


def test_an_rsa_key_signs_and_verifies():
    key = signer_of_pem(pem_of(rsa_key()), "rsa.pem", never)
    assert key.public.verifies(key.sign(b"data"), b"data")
    assert not key.public.verifies(key.sign(b"data"), b"other")
    assert key.public.describe() == "RSA 2048"


def test_p384_is_used_with_sha256_as_cosign_does():
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.hashes import SHA256

    key = ec.generate_private_key(ec.SECP384R1())
    made = signer_of_pem(pem_of(key), "p384.pem", never)
    key.public_key().verify(made.sign(b"data"), b"data", ec.ECDSA(SHA256()))


def test_an_ed25519_key_signs_and_verifies():
    from cryptography.hazmat.primitives.asymmetric import ed25519

    key = ed25519.Ed25519PrivateKey.generate()
    made = signer_of_pem(pem_of(key), "ed.pem", never)
    signature = made.sign(b"data")
    key.public_key().verify(signature, b"data")
    public = read_public_key(made.public.pem, "ed")
    assert public.verifies(signature, b"data") and not public.verifies(signature, b"other")
    assert public.describe() == "Ed25519"


def test_cosign_verifies_what_an_ed25519_key_signed(tmp_path):
    """Not Ed25519ph."""
    from cryptography.hazmat.primitives.asymmetric import ed25519

    made = signer_of_pem(pem_of(ed25519.Ed25519PrivateKey.generate()), "ed.pem", never)
    text = base64.b64encode(made.sign(b"data"))
    for name, data in (("ed.pub", made.public.pem), ("data", b"data"), ("signature", text)):
        (tmp_path / name).write_bytes(data)
    options = ["--key", str(tmp_path / "ed.pub"), "--insecure-ignore-tlog=true"]
    cosign("verify-blob", *options, "--signature", str(tmp_path / "signature"), str(tmp_path / "data"))


def test_a_kind_of_key_that_cosign_does_not_verify_is_refused_by_name():
    from cryptography.hazmat.primitives.asymmetric import ed448
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    key = ed448.Ed448PrivateKey.generate()
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    with pytest.raises(ConfigurationError, match="key ed .*not supported: Ed448"):
        read_public_key(public, "ed")
    with pytest.raises(ConfigurationError, match=r"ed\.pem .*not supported: Ed448"):
        signer_of_pem(pem_of(key), "ed.pem", never)


def test_weak_keys_are_refused():
    from cryptography.hazmat.primitives.asymmetric import ec

    with pytest.raises(ConfigurationError, match="RSA with 1024 bits"):
        signer_of_pem(pem_of(rsa_key(1024)), "small.pem", never)
    with pytest.raises(ConfigurationError, match="curve secp256k1"):
        signer_of_pem(pem_of(ec.generate_private_key(ec.SECP256K1())), "koblitz.pem", never)


def test_a_wrong_password_says_so():
    with pytest.raises(ConfigurationError, match=r"password of the key .*cosign\.key is wrong.*COSIGN_PASSWORD"):
        signer_of_file(str(RECORDED / "cosign.key"), password(b"guess"))


@pytest.mark.parametrize("data", [b"", b"\n  \n"])
def test_an_empty_file_says_so(data, tmp_path):
    path = tmp_path / "empty.key"
    path.write_bytes(data)
    with pytest.raises(ConfigurationError, match="is empty"):
        signer_of_file(str(path), never)
    with pytest.raises(ConfigurationError, match="is empty"):
        read_public_key(data, "empty")


def test_a_missing_file_says_how_to_make_one(tmp_path):
    with pytest.raises(ConfigurationError, match="there is no key .*spack oci key generate"):
        signer_of_file(str(tmp_path / "absent.key"), never)


def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path, kind in ((tmp_path / "pipe", "pipe"), (tmp_path, "directory"), ("/dev/zero", "device")):
        with pytest.raises(ConfigurationError, match=f"the key {path} is a {kind}, not a file.*oci key generate"):
            signer_of_file(str(path), never)
        with pytest.raises(ConfigurationError, match=f"the key {path} is a {kind}, not a file.*oci:trust:keys"):
            read_key_file(str(path))
        with pytest.raises(ConfigurationError, match=f"the file of a password {path} is a {kind}"):
            password_of({"password_file": str(path)}, "team.key", str)


def test_a_pipe_that_the_shell_has_opened_is_read(tmp_path):
    (tmp_path / "team.key").write_bytes(pem_of(signer()._key))
    script = "import sys; from spack_oci.trust.keys import read_key_file; print(read_key_file(sys.argv[1]).decode())"
    done = subprocess.run(
        ["bash", "-c", f'"{sys.executable}" -c "{script}" <(sleep 0.2; cat team.key)'],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "PRIVATE KEY" in done.stdout


@pytest.mark.parametrize("data", [b"text", b"-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n"])
def test_what_is_no_key_is_refused(data):
    with pytest.raises(ConfigurationError, match="no private key in PEM format"):
        signer_of_pem(data, "odd.key", never)


def test_private_and_public_are_not_taken_for_each_other():
    key = signer()
    with pytest.raises(ConfigurationError, match="is a private key"):
        read_public_key(pem_of(key._key), "team")
    with pytest.raises(ConfigurationError, match="is a public key"):
        signer_of_pem(key.public.pem, "team.pub", never)


def test_a_key_that_openssl_encrypted_is_refused_with_what_to_do():
    from cryptography.hazmat.primitives.serialization import BestAvailableEncryption

    data = pem_of(signer()._key, encryption=BestAvailableEncryption(b"pw"))
    with pytest.raises(ConfigurationError, match="cosign import-key-pair"):
        signer_of_pem(data, "openssl.key", password())


def recorded_document():
    lines = (RECORDED / "cosign.key").read_text().splitlines()
    return json.loads(base64.b64decode("".join(lines[1:-1])))


def boxed(document):
    body = base64.b64encode(json.dumps(document).encode())
    mark = b"ENCRYPTED SIGSTORE PRIVATE KEY-----\n"
    return b"-----BEGIN " + mark + body + b"\n-----END " + mark


def test_the_older_name_of_the_format_is_read():
    data = (RECORDED / "cosign.key").read_bytes().replace(b"SIGSTORE", b"COSIGN")
    assert signer_of_pem(data, "old.key", password()).sign(b"data")


@pytest.mark.parametrize("n", [1 << 25, 1 << 14, 65536.0, "65536", True])
def test_a_cost_that_cosign_never_wrote_is_refused_before_memory_is_taken(n):
    document = recorded_document()
    document["kdf"]["params"]["N"] = n
    with pytest.raises(ConfigurationError, match="unknown way|damaged"):
        signer_of_pem(boxed(document), "odd.key", password())


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.pop("kdf"),
        lambda d: d["kdf"].update(params=None),
        lambda d: d["cipher"].update(nonce="!"),
        lambda d: d["cipher"].update(nonce="AAAA"),
        lambda d: d["cipher"].update(name="aes"),
        lambda d: d.update(ciphertext=7),
    ],
)
def test_a_damaged_box_is_refused(change):
    document = recorded_document()
    change(document)
    with pytest.raises(ConfigurationError, match="damaged|unknown way"):
        signer_of_pem(boxed(document), "odd.key", password())


def test_a_box_cut_short_is_refused():
    data = (RECORDED / "cosign.key").read_bytes()
    for length in (60, len(data) // 2, len(data) - 50):
        with pytest.raises(ConfigurationError):
            signer_of_pem(data[:length], "cut.key", password())


def test_a_pair_is_written_for_its_owner_and_never_over_another(tmp_path):
    made, file = generate(b"pw")
    names = write_pair(str(tmp_path / "team"), file, made.public.pem)
    assert [os.path.basename(n) for n in names] == ["team.key", "team.pub"]
    assert os.stat(names[0]).st_mode & 0o077 == 0
    with pytest.raises(ConfigurationError, match="is there already"):
        write_pair(str(tmp_path / "team"), file, made.public.pem)
    assert (tmp_path / "team.key").read_bytes() == file


PROGRAM = """
import base64, sys
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives import hashes, serialization
key = serialization.load_pem_private_key(open(sys.argv[1], "rb").read(), None)
digest = bytes.fromhex(sys.stdin.read().strip())
print(base64.b64encode(key.sign(digest, ec.ECDSA(utils.Prehashed(hashes.SHA256())))).decode())
"""


def program(tmp_path, text, key=None):
    (tmp_path / "sign.py").write_text(text)
    (tmp_path / "program.pem").write_bytes(pem_of(signer(key or "program")._key))
    argv = [sys.executable, str(tmp_path / "sign.py"), str(tmp_path / "program.pem")]
    return ProgramSigner(signer("program").public, argv)


def test_a_program_gets_the_digest_and_gives_the_signature(tmp_path):
    made = program(tmp_path, PROGRAM)
    assert made.public.verifies(made.sign(b"data"), b"data")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import sys; sys.exit(3)", "exit code 3"),
        ("print('not base64!')", "did not print a signature"),
        ("print('AAAA')", "no signature by the key program"),
        ("", "no signature by the key program"),
    ],
)
def test_a_program_that_fails_gives_no_signature(tmp_path, text, message):
    with pytest.raises(SigningError, match=message):
        program(tmp_path, text).sign(b"data")


def test_a_program_with_another_key_gives_no_signature(tmp_path):
    with pytest.raises(SigningError, match="oci:signing:public_key"):
        program(tmp_path, PROGRAM, key="another").sign(b"data")


def test_a_program_that_is_not_there_is_named():
    with pytest.raises(SigningError, match="absent-signer is not on PATH"):
        ProgramSigner(signer().public, ["absent-signer"]).sign(b"data")


def test_a_file_with_two_public_keys_is_refused_as_one_of_them_would_not_count():
    both = signer("one").public.pem + signer("two").public.pem
    with pytest.raises(ConfigurationError, match="holds several keys.*a name in oci:trust:keys"):
        read_public_key(both, "team")


@pytest.mark.parametrize(
    "change",
    [
        lambda pem: pem.replace(b"\n", b"\r\n"),
        lambda pem: b"\xef\xbb\xbf" + pem,
        lambda pem: b"the key of the team\n" + pem,
        lambda pem: b" ".join(pem.split()),  # as YAML folds a quoted text of several lines
    ],
)
def test_a_public_key_is_read_however_it_was_saved(change):
    assert read_public_key(change(signer("one").public.pem), "team").id == signer("one").public.id


def test_the_usual_kind_of_key_is_the_same_however_it_is_read():
    """It is read with fewer imports, from its bytes; a point that is not on the curve is no key."""
    from cryptography.hazmat.primitives import serialization as s
    from cryptography.hazmat.primitives.serialization import load_pem_public_key
    from spack_oci.trust.keys import public_key

    pem = signer("team").public.pem
    usual, key = read_public_key(b"\n" + pem, "team"), load_pem_public_key(pem)
    other = public_key(key, "team")
    assert (usual.id, usual.pem, usual.name, usual.describe()) == (other.id, pem, "team", other.describe())
    assert key.public_bytes(s.Encoding.PEM, s.PublicFormat.SubjectPublicKeyInfo) == pem
    assert hashlib.sha256(key.public_bytes(s.Encoding.DER, s.PublicFormat.SubjectPublicKeyInfo)).hexdigest() == usual.id
    body = base64.b64decode(b"".join(pem.splitlines()[1:-1]))
    wrong = base64.b64encode(body[:-1] + bytes([body[-1] ^ 1]))
    with pytest.raises(ConfigurationError, match="no public key in PEM format"):
        read_public_key(b"-----BEGIN PUBLIC KEY-----\n%s\n-----END PUBLIC KEY-----\n" % wrong, "team")


@pytest.mark.parametrize(
    ("use", "data"),
    [
        ("keys import read_public_key as f; key = f(data, 'team'); key.verifies(b'', b'')", signer("team").public.pem),
        ("signers import signer_of_pem as f; f(data, 'key', lambda: b'pw').sign(b'')", generate(b"pw")[1]),
    ],
)
def test_keys_are_used_without_the_ciphers_of_cryptography(use, data):
    """They are half of what an install under a policy would import."""
    code = (
        f"import sys; data = sys.stdin.buffer.read(); from spack_oci.trust.{use}; "
        "print('cryptography.hazmat.primitives.serialization' in sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], input=data, capture_output=True, env=environment)
    assert done.stdout == b"False\n", done.stderr
