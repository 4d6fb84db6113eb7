# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The install manifest is true of what was installed, and files that stay as they were are not read for it."""

import base64
import hashlib
import io
import json
import os

import pytest
from spack_oci.archive.unpack.install_manifest import update_manifest
from spack_oci.archive.unpack.layer import install_layer
from support.packages.layers import GZIP, HASH, OLD_PREFIX, Layer, new_prefix, relocation

MANIFEST = ".spack/install_manifest.json"


def digest(data):
    return base64.b32encode(hashlib.sha1(data).digest()).decode()


@pytest.fixture
def prefix(tmp_path):
    """A package with a manifest of its builder, installed."""
    contents = {"bin/run": b"#!/bin/sh\n", "x.pc": f"prefix={OLD_PREFIX}\n".encode(), "n\xe4 me": b"z"}
    # relocated to the same size, so that its content alone changes
    contents["lib/b"] = contents["lib/b-again"] = b"\x7fELF\0" + OLD_PREFIX.encode() + b"/share\0"
    entries = {OLD_PREFIX: {"mode": 0o40700, "owner": 4711, "group": 4711}}
    layer = Layer()
    for name, data in contents.items():
        if name == "lib/b-again":
            layer.hard_link(name, "lib/b")
        else:
            layer.file(name, data, listed={"x.pc": "text", "lib/b": "binary"}.get(name))
        hashed = {"hash": digest(data), "size": len(data), "time": 1.5}
        entries[f"{OLD_PREFIX}/{name}"] = {"mode": 0o100600, "owner": 4711, "group": 4711, **hashed}
    layer.symlink("link", "bin/run").file(MANIFEST, json.dumps(entries)).file(".spack/install_times.json", "{}")
    store = str(tmp_path)
    install_layer(io.BytesIO(layer.gzip()), GZIP, new_prefix(store), relocation(store), dag_hash=HASH)
    return new_prefix(store)


def manifest_of(prefix):
    with open(os.path.join(prefix, MANIFEST), "rb") as file:
        return json.load(file)


def errors(prefix):
    """What Spack's ``verify.check_spec_manifest`` would report."""
    found, manifest = [], manifest_of(prefix)
    paths = [prefix] + [os.path.join(d, n) for d, ds, fs in os.walk(prefix) for n in ds + fs]
    for path in paths:
        if path == os.path.join(prefix, MANIFEST) or path.endswith("/install_times.json"):
            continue
        entry, status = manifest.pop(path, None), os.lstat(path)
        if entry is None:
            found.append((path, "added"))
        elif (status.st_mode, status.st_uid, status.st_gid) != (entry["mode"], entry["owner"], entry["group"]):
            found.append((path, "status"))
        elif os.path.islink(path):
            found += [(path, "link")] if os.readlink(path) != entry["dest"] else []
        elif os.path.isfile(path):
            with open(path, "rb") as file:
                now = (digest(file.read()), status.st_size, status.st_mtime)
            found += [(path, "content")] if now != (entry["hash"], entry["size"], entry["time"]) else []
    return found + [(path, "deleted") for path in manifest]


def test_the_manifest_is_true_when_it_was_updated(prefix):
    update_manifest(prefix)
    assert errors(prefix) == []


def test_the_manifest_follows_what_hooks_have_changed(prefix):
    os.chmod(f"{prefix}/bin/run", 0o700)
    with open(f"{prefix}/x.pc", "w") as file:
        file.write("same\n")
    with open(f"{prefix}/new", "w") as file:
        file.write("new")
    os.unlink(f"{prefix}/link")
    update_manifest(prefix)
    assert errors(prefix) == []


def test_only_files_that_relocation_has_changed_are_read(prefix, monkeypatch):
    read, really_open = [], open

    def opening(path, *args, **named):
        if isinstance(path, str):
            read.append(os.path.relpath(path, prefix))
        return really_open(path, *args, **named)

    monkeypatch.setattr("builtins.open", opening)
    update_manifest(prefix)
    monkeypatch.undo()
    read = [path for path in read if not path.startswith(MANIFEST)]
    without_entry = [".spack/binary_distribution", ".spack/spec.json"]
    assert sorted(read) == [*without_entry, "lib/b", "lib/b-again", "x.pc"]


def test_a_manifest_that_lies_about_content_is_no_better_for_it(prefix):
    """What the builder says of a file of the same size is taken over, and found out by a check."""
    update_manifest(prefix)
    manifest = manifest_of(prefix)
    manifest[f"{prefix}/bin/run"]["hash"] = digest(b"something else")
    with open(os.path.join(prefix, MANIFEST), "w") as file:
        json.dump(manifest, file)
    update_manifest(prefix)
    assert errors(prefix) == [(f"{prefix}/bin/run", "content")]


@pytest.mark.parametrize("damage", ["", "[]", "{}", '{"a": 5}', "\xff", "[" * 100_000, None])
def test_without_a_manifest_that_can_be_read_a_new_one_is_made(prefix, damage):
    path = os.path.join(prefix, MANIFEST)
    os.unlink(path)
    if damage is not None:
        with open(path, "w", encoding="latin-1") as file:
            file.write(damage)
    update_manifest(prefix)
    assert errors(prefix) == []


def test_permissions_of_the_manifest_stay(prefix):
    os.chmod(os.path.join(prefix, MANIFEST), 0o640)
    update_manifest(prefix)
    assert os.stat(os.path.join(prefix, MANIFEST)).st_mode & 0o777 == 0o640
