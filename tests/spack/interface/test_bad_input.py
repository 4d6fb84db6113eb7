# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What goes wrong is said in one line that names the remedy, and leaves nothing behind."""

import contextlib
import gzip
import hashlib
import http.server
import io
import json
import os
import re
import shutil
import subprocess
import tarfile
import threading
from pathlib import Path

import pytest
from spack_oci.content import BytesSource, read_blob
from spack_oci.descriptor import Descriptor
from spack_oci.layout import open_layout
from spack_oci.reference import LayoutDirectory
from support.spacks.caches import SECRET_VARIABLE, Cache, http_cache
from support.spacks.stack_checks import check_stack

pytestmark = pytest.mark.one_spack

#: nothing listens on port 9 (discard) of loopback
UNREACHABLE = "oci+http://127.0.0.1:9/some/cache"


def error_of(done) -> str:
    """The one line that a command failed with."""
    assert done.returncode != 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr + done.stdout, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert len(lines) == 1 and lines[0].startswith("==> Error: "), done.stderr
    return lines[0]


def nothing_of(spack, name) -> None:
    """Neither a directory of the package is in the tree, nor a record of it in the database."""
    assert name not in spack.installed()
    if spack.installer == "new" and spack.version == (1, 1):
        return  # has no --cache-only, and leaves what its source build made
    assert not [p for p in spack.tree.glob("*/*") if p.name.startswith(name)]


@pytest.fixture(params=["old", "new"])
def installer(request) -> str:
    return request.param


@pytest.fixture
def spack(source):
    return source()


@pytest.mark.parametrize(
    "line, meant",
    [("shwo team", "show"), ("key genrate", "generate"), ("list --jsn", "--json"), ("pins --jsn", "--json")],
)
def test_a_mistyped_sub_command_or_option_gets_the_one_that_was_meant(spack, line, meant):
    done = spack.run("oci", *line.split(), check=False)
    assert done.returncode == 2 and f"did you mean {meant}?" in done.stderr, done.stderr


@pytest.mark.parametrize("command", [["push"], ["list"], ["update-index"]])
def test_unknown_mirror(spack, command):
    said = error_of(spack.run("oci", *command, "nosuchmirror", check=False))
    assert "nosuchmirror" in said and "spack mirror" in said


@pytest.mark.parametrize("command", [["push"], ["list"], ["update-index"]])
@pytest.mark.parametrize("url", ["oci://localhost:5000", "oci+http://registry.example.com/"])
def test_url_without_a_repository(spack, command, url):
    said = error_of(spack.run("oci", *command, url, check=False))
    assert url.rstrip("/") in said and re.search(r"write .*(/NAME|///)", said), said


@pytest.mark.parametrize("command", [["push", UNREACHABLE, "oci-leaf@2.0"], ["list", UNREACHABLE]])
def test_unreachable_host(spack, command):
    said = error_of(spack.run("oci", *command, check=False))
    assert "127.0.0.1:9" in said and "refused" in said and "check the host name" in said


def test_unknown_host(spack):
    said = error_of(spack.run("oci", "list", "oci://no-such-host.invalid/cache", check=False))
    assert "no-such-host.invalid" in said and "check the host name" in said


def test_tls_failure(spack, new_cache):
    """The registry's CA is unknown to this user."""
    cache = new_cache("tls")
    spack.use(cache)
    del spack.environment["SSL_CERT_FILE"]
    said = error_of(spack.run("oci", "push", "cache", "oci-leaf@2.0", check=False))
    assert "certificate" in said and "ca_bundle" in said


def test_401_without_credentials(spack, new_cache):
    cache = new_cache("tls")
    spack.environment.update(cache.environment)
    said = error_of(spack.run("oci", "push", cache.url, "oci-leaf@2.0", check=False))
    assert "401" in said and "spack mirror set" in said


def test_401_with_wrong_credentials(spack, new_cache):
    """It says where they came from, and not what they are."""
    spack.use(new_cache("tls"))
    spack.environment[SECRET_VARIABLE] = "not-the-password"
    done = spack.run("-d", "oci", "push", "cache", "oci-leaf@2.0", check=False)
    assert "not-the-password" not in done.stdout + done.stderr
    said = error_of(spack.run("oci", "push", "cache", "oci-leaf@2.0", check=False))
    assert "401" in said and "mirror cache" in said and "correct them where they come from" in said


def test_credentials_that_are_not_set(spack, new_cache):
    spack.use(new_cache("tls"))
    del spack.environment[SECRET_VARIABLE]
    said = error_of(spack.run("oci", "push", "cache", "oci-leaf@2.0", check=False))
    assert f"export {SECRET_VARIABLE}" in said


@contextlib.contextmanager
def server_that_says(status: int, code: str, reads: bool = False):
    """A registry that knows us and answers everything with this; yields its host. ``reads``: it may be read from, and
    is empty."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self):
            length = int(self.headers.get("Content-Length") or 0)
            self.rfile.read(length)
            body = json.dumps({"errors": [{"code": code, "message": "for a test"}]}).encode()
            self.send_response(404 if reads and self.command in ("GET", "HEAD") else status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = answer

        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize("command", [["push", "cache", "oci-leaf@2.0"], ["list", "cache"], ["update-index", "cache"]])
def test_403(spack, command):
    """To a stranger: log in. To somebody who is known: the owner decides (this registry asks for no credentials)."""
    with server_that_says(403, "DENIED") as host:
        cache = http_cache(host, "some/cache")
        spack.use(cache)
        anonymous = error_of(spack.run("oci", *command, check=False))
        spack.use(cache, access_pair={"id": "bob", "secret_variable": SECRET_VARIABLE})
        known = error_of(spack.run("oci", *command, check=False, env={SECRET_VARIABLE: "secret-of-bob"}))
    assert "403" in anonymous and "DENIED" in anonymous and "log in" in anonymous
    assert "403" in known and "mirror cache" in known and "secret-of-bob" not in known
    assert "ask the registry's owner" in known


@pytest.mark.parametrize("status, code, said", [(403, "DENIED", "log in"), (405, "UNSUPPORTED", "read-only")])
def test_one_cause_is_said_once(spack, status, code, said):
    """Whatever the number of packages."""
    with server_that_says(status, code, reads=True) as host:
        spack.use(http_cache(host, "some/cache"))
        done = spack.run("oci", "push", "cache", "oci-stack", check=False)
    assert done.returncode == 1
    everything = done.stdout + done.stderr
    assert everything.count(f"answered {status}") == everything.count(said) == 1, everything
    assert re.search(r"[789] packages not pushed:", done.stderr) and "more): " in done.stderr


def test_one_cause_of_packages_that_cannot_be_had_is_said_once(destination):
    spack = destination()
    spack.use(Cache("http", UNREACHABLE, {"url": UNREACHABLE, "signed": False}))
    done = spack.run("oci", "fetch", "oci-stack", check=False)
    assert done.returncode == 1
    assert re.search(r"[6789] packages not fetched:", done.stderr)
    assert (done.stdout + done.stderr).count("GET http") == 1, done.stderr


@pytest.mark.parametrize("failure", ["unreachable", "403"])
def test_a_failure_is_no_miss(failure, installer, destination):
    """`spack install` tells that it could not ask; it does not just build everything from source."""
    with contextlib.ExitStack() as stack:
        spack = destination(installer=installer)
        if failure == "403":
            spack.use(http_cache(stack.enter_context(server_that_says(403, "DENIED")), "some/cache"))
        else:
            spack.use(Cache("http", UNREACHABLE, {"url": UNREACHABLE, "signed": False}))
        done = spack.install_from_cache("oci-leaf@2.0", check=False)
        assert done.returncode != 0
        assert {"unreachable": "refused", "403": "403"}[failure] in done.stdout + done.stderr
        nothing_of(spack, "oci-leaf")


# -- caches that hold something else ---------------------------------------------------------------------------------


@pytest.fixture
def layout(new_cache, source):
    """A directory with oci-leaf in it, and an index."""
    cache = new_cache("layout")
    spack = source(name="pusher")
    spack.use(cache)
    spack.run("oci", "push", "--update-index", "cache", "oci-leaf@2.0")
    return cache


def store_of(cache: Cache):
    return open_layout(LayoutDirectory(cache.url[len("oci+file://") :]))


def tag_of(cache: Cache, name: str) -> str:
    return next(tag for tag in cache.tags() if tag.startswith(f"{name}-"))


def blob_path(cache: Cache, digest: str) -> Path:
    return Path(cache.url[len("oci+file://") :], "blobs", *digest.split(":"))


def says_why(output: str, expected: str) -> None:
    """``expected`` matches what was printed on the terminal; Spack breaks long lines."""
    assert re.search(expected, " ".join(output.split())), output


def fails_to_install(spack, cache, expected: str) -> None:
    """The install fails with a message that matches ``expected``, and leaves nothing."""
    spack.use(cache)
    done = spack.install_from_cache("oci-leaf@2.0", check=False)
    assert done.returncode != 0
    says_why(done.stdout + done.stderr, expected)
    nothing_of(spack, "oci-leaf")


def forget_layers(cache: Cache) -> None:
    """Leave Spack's index only, so that an install has to ask for the manifest of a package."""
    store = store_of(cache)
    for tag in cache.tags():
        if not tag.endswith(".spack"):
            store.delete_manifest(tag)


def test_a_tag_that_is_not_a_package(layout, destination, installer):
    """Somebody pushed an image of another kind under the name of a package."""
    forget_layers(layout)
    store = store_of(layout)
    _, manifest = store.get_manifest("index.spack")
    store.put_manifest(manifest, "application/vnd.oci.image.manifest.v1+json", tag_of(layout, "oci-leaf"))
    fails_to_install(destination(installer=installer), layout, "is not a package: its config is not valid")


def test_an_index_survives_a_tag_that_is_not_a_package(layout, source):
    """It is named, and does not keep the others out."""
    store = store_of(layout)
    _, manifest = store.get_manifest("index.spack")
    store.put_manifest(manifest, "application/vnd.oci.image.manifest.v1+json", "something-else.spack")
    spack = source()
    spack.use(layout)
    done = spack.run("oci", "update-index", "cache")
    assert "something-else.spack" in done.stdout + done.stderr
    assert "oci-leaf" in spack.run("oci", "list", "--allarch", "cache").stdout
    assert spack.run("oci", "update-index", "--strict", "cache", check=False).returncode == 1


def test_a_layer_whose_digest_does_not_match(layout, destination, installer):
    digest = json.loads(layout.raw_manifest(tag_of(layout, "oci-leaf")))["layers"][-1]["digest"]
    path = blob_path(layout, digest)
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 0xFF
    path.chmod(0o644)
    path.write_bytes(bytes(damaged))
    fails_to_install(destination(installer=installer), layout, f"{digest}.*damaged.*--force")


def replace_layer(cache: Cache, tag: str, change) -> None:
    """Give a package another tarball; every digest is right, as if its owner had pushed it. ``change(tar, prefix)``."""
    store = store_of(cache)
    _, data = store.get_manifest(tag)
    manifest = json.loads(data)
    config = json.loads(read_blob(store, Descriptor.from_dict(manifest["config"])))
    with store.open_blob(Descriptor.from_dict(manifest["layers"][-1])) as reader:
        old = reader.read()
    new = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(old)) as source, tarfile.open(fileobj=new, mode="w:gz") as target:
        for member in source.getmembers():
            target.addfile(member, source.extractfile(member) if member.isreg() else None)
        prefix = next(m.name for m in source.getmembers() if m.name.endswith("/.spack")).rpartition("/")[0]
        change(target, prefix)
    layer = Descriptor.of(new.getvalue(), manifest["layers"][-1]["mediaType"])
    store.put_blob(layer, BytesSource(new.getvalue()))
    config["rootfs"]["diff_ids"][-1] = f"sha256:{hashlib.sha256(gzip.decompress(new.getvalue())).hexdigest()}"
    config["binary_cache_checksum"]["hash"] = layer.digest.partition(":")[2]
    body = json.dumps(config).encode()
    described = Descriptor.of(body, manifest["config"]["mediaType"])
    store.put_blob(described, BytesSource(body))
    for entry, descriptor in ((manifest["layers"][-1], layer), (manifest["config"], described)):
        entry.update(digest=descriptor.digest, size=descriptor.size)
    store.put_manifest(json.dumps(manifest).encode(), manifest["mediaType"], tag)


def add_file(tar: tarfile.TarFile, name: str) -> None:
    member = tarfile.TarInfo(name)
    member.size = 4
    tar.addfile(member, io.BytesIO(b"evil"))


def add_link(tar: tarfile.TarFile, name: str, target: str, kind: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    tar.addfile(member)


@pytest.mark.parametrize("how", ["a sibling", "dots", "absolute", "through a link", "a hard link"])
def test_a_member_outside_its_prefix(how, layout, destination, installer, tmp_path):
    target = tmp_path / "evil"

    def change(tar, prefix):
        if how == "a sibling":
            add_file(tar, f"{prefix}-evil/file")
        elif how == "dots":
            add_file(tar, f"{prefix}/../../evil")
        elif how == "absolute":
            add_file(tar, str(target))
        elif how == "through a link":
            add_link(tar, f"{prefix}/out", str(tmp_path), tarfile.SYMTYPE)
            add_file(tar, f"{prefix}/out/evil")
        else:
            (tmp_path / "theirs").write_text("theirs")
            add_link(tar, f"{prefix}/evil", str(tmp_path / "theirs").lstrip("/"), tarfile.LNKTYPE)

    replace_layer(layout, tag_of(layout, "oci-leaf"), change)
    forget_layers(layout)
    spack = destination(installer=installer)
    fails_to_install(spack, layout, "the tarball of oci-leaf@2.0/.*(is not safe|is outside).*do not install from this")
    assert not target.exists() and not list(spack.tree.rglob("*evil*"))


@pytest.mark.skipif(not shutil.which("unshare"), reason="unshare is not installed")
def test_disk_full_while_extracting(new_cache, source, destination, installer, built):
    """Prefix removed, nothing registered, and the install succeeds when there is space."""
    probe = subprocess.run(["unshare", "--map-root-user", "--mount", "true"], capture_output=True)
    if probe.returncode != 0:
        pytest.skip(f"no user namespaces here: {probe.stderr.decode().strip()}")
    cache = new_cache("layout")
    pusher = source(name="pusher")
    pusher.use(cache)
    pusher.run("oci", "push", "--update-index", "cache", "oci-files")

    spack = destination(installer=installer)
    spack.use(cache)
    spack.tree.mkdir()
    spack.run("find")  # sets up what the tree needs for itself
    # a file system of 48 kB over the tree, for this process alone; afterwards, what is left on it is listed
    command = " ".join(f"'{word}'" for word in spack.argv("install", *spack.cache_only, "oci-files"))
    script = (
        f"mount -t tmpfs -o size=48k tmpfs '{spack.tree}' || exit 99\n"
        f"{command} 2>&1; echo exit=$?\n"
        f"cd '{spack.tree}' && find . -type f -o -type l | grep -v -e '/\\.spack-db/' -e /bin/sbang | sed s,^,left:,\n"
        "exit 0\n"
    )
    done = subprocess.run(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", script],
        env={**spack.env(), "OCITEST_NO_BUILD": "1"},
        input="",
        capture_output=True,
        text=True,
    )
    if done.returncode == 99:
        pytest.skip(f"no tmpfs in a user namespace here: {done.stderr.strip()}")
    assert "exit=0" not in done.stdout, done.stdout
    says_why(done.stdout, "(No space left on device|needs .* are free in).*free some space")
    left = [line for line in done.stdout.splitlines() if line.startswith("left:") and "oci-files" in line]
    assert left == []
    assert "oci-files" not in spack.installed()

    spack.install_from_cache("oci-files")
    check_stack(spack, ("oci-leaf", "oci-files"), foreign=[built.tree])


def test_disk_full_while_pushing(source, tmp_path):
    """A layout on a full file system: one line, and what is there stays readable."""
    probe = subprocess.run(["unshare", "--map-root-user", "--mount", "true"], capture_output=True)
    if probe.returncode != 0:
        pytest.skip("no user namespaces here")
    spack = source()
    mount = tmp_path / "mount"
    mount.mkdir()
    command = " ".join(f"'{w}'" for w in spack.argv("oci", "push", str(mount / "cache"), "oci-stack"))
    script = f"mount -t tmpfs -o size=40k tmpfs '{mount}' || exit 99\n{command}; echo exit=$?"
    done = subprocess.run(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", script],
        env=spack.env(),
        input="",
        capture_output=True,
        text=True,
    )
    if done.returncode == 99:
        pytest.skip("no tmpfs in a user namespace here")
    assert "exit=1" in done.stdout and "Traceback" not in done.stderr
    assert "No space left on device" in done.stderr and "free some space" in done.stderr, done.stderr


def test_a_directory_that_cannot_be_written(source, tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    (tmp_path / "closed").mkdir(mode=0o555)
    said = error_of(source().run("oci", "push", str(tmp_path / "closed" / "cache"), "oci-leaf@2.0", check=False))
    assert "Permission denied" in said and "choose another directory" in said


@pytest.mark.parametrize(
    "command",
    [
        ["push", "cache"],
        ["push", "--tag", "tools", "cache"],
        ["push", "--dry-run", "--tag", "tools", "cache"],
        ["export", "image.tar"],
    ],
)
def test_an_environment_without_roots(command, source, new_cache, tmp_path):
    """One that nobody has concretized is an error; an empty one has nothing to push, and is no image."""
    cache = new_cache("layout")
    spack = source()
    spack.use(cache)
    directory = tmp_path / "environment"
    spack.run("env", "create", "-d", str(directory))
    words = [str(tmp_path / word) if word.endswith(".tar") else word for word in command]
    empty = spack.run("-e", str(directory), "oci", *words, check=False)
    if command == ["push", "cache"]:
        assert empty.returncode == 0, empty.stderr
    else:
        assert empty.returncode == 1 and "there is nothing to make an image of" in empty.stderr
    spack.run("-e", str(directory), "add", "oci-leaf")
    done = spack.run("-e", str(directory), "oci", *words, check=False)
    assert done.returncode == 1 and "is not concretized" in done.stderr and "spack concretize" in done.stderr
    assert not list(tmp_path.glob("*.tar"))
