# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Registers small installed packages with a Spack: ``spack python make_small_packages.py DIRECTORY COUNT [STORE]``.

For the benchmarks only: specs are made without a concretizer, prefixes without a build. Each package depends on up to
three others; one more, ``smallall``, depends on all that no other needs, so that one spec names all, and has one file.
With STORE, the root of an install tree, the others' files are those of one of the small packages there (at most 1.6 MB,
in turn), with its own prefix in the place of theirs, which must not be shorter. Without, it has a program and a library
(copies of real ones, with the prefix written into them), some text, links and a man page, 600 kB in all; such files
compress less well than real packages, where static library, shared library and debug information repeat each other.
DIRECTORY has an empty package repository, ``spack_repo/small``, which gets the packages and which the configuration has
to name (``repos``); the install tree is the configured one.
"""

import hashlib
import json
import os
import random
import shutil
import sys
from pathlib import Path

import spack.repo
import spack.spec
import spack.store

#: the package that needs all others
ALL = "smallall"

PACKAGE = """
from spack_repo.builtin_mock.build_systems.generic import Package
from spack.package import *


class {class_name}(Package):
    homepage = "https://example.org"
    has_code = False
    version("1.0")
"""


def dag_hash_of(name):
    digest = hashlib.sha256(name.encode()).hexdigest()[:32]
    return digest.translate(str.maketrans("0189", "wxyz"))


def node(name, dependencies):
    return {
        "name": name,
        "version": "1.0",
        "arch": {
            "platform": "linux",
            "platform_os": "debian12",
            "target": {
                "name": "x86_64_v3",
                "vendor": "generic",
                "features": [],
                "generation": 3,
                "parents": ["x86_64_v2"],
            },
        },
        "namespace": "small",
        "parameters": {
            "build_system": "generic",
            "cflags": [],
            "cppflags": [],
            "cxxflags": [],
            "fflags": [],
            "ldflags": [],
            "ldlibs": [],
        },
        "package_hash": hashlib.sha256(name.encode()).hexdigest(),
        "dependencies": [
            {
                "name": dependency,
                "hash": dag_hash_of(dependency),
                "parameters": {"deptypes": ["link", "run"], "virtuals": []},
            }
            for dependency in dependencies
        ],
        "annotations": {"original_specfile_version": 5},
        "hash": dag_hash_of(name),
    }


def closure(name, dependencies):
    result = [name]
    for found in result:
        result += [dependency for dependency in dependencies[found] if dependency not in result]
    return result


def fill(prefix, name, generator):
    program, library = Path("/bin/bash"), Path("/bin/ls")
    text = f"prefix={prefix}\nlibdir={prefix}/lib\n" + "some words about it\n" * 200
    for directory in ("bin", "lib/pkgconfig", "share/man/man1", "include", "share/doc"):
        (prefix / directory).mkdir(parents=True)
    data = bytearray(program.read_bytes()[: 400_000 + generator.randrange(100_000)])
    data[5000:5000] = str(prefix).encode() + b"/lib\0"
    (prefix / "bin" / name).write_bytes(data)
    (prefix / "bin" / name).chmod(0o755)
    (prefix / "lib" / f"lib{name}.so.1").write_bytes(library.read_bytes() + str(prefix).encode() + b"/share\0")
    (prefix / "lib" / f"lib{name}.so").symlink_to(f"lib{name}.so.1")
    (prefix / "lib" / "pkgconfig" / f"{name}.pc").write_text(text)
    (prefix / "share" / "man" / "man1" / f"{name}.1").write_text(text)
    for number in range(10):
        (prefix / "include" / f"{name}{number}.h").write_text(f"#define N {number}\n" * generator.randrange(1, 200))


def small_prefixes(store):
    """Prefixes of the packages of an install tree that have at most 1.6 MB."""
    for spec_file in sorted(store.glob("*/*/.spack/spec.json")):
        prefix = spec_file.parent.parent
        if sum(path.lstat().st_size for path in prefix.rglob("*") if path.is_file()) <= 1_600_000:
            yield prefix


def imitate(prefix, model):
    """Copy ``model``, another package's prefix, to ``prefix``, which takes its place in binaries, text and links."""
    old, new = os.fsencode(model), os.fsencode(prefix)
    if len(new) > len(old):
        raise SystemExit(f"{prefix} is longer than {model}: configure a shorter install tree")
    shutil.copytree(model, prefix, symlinks=True, dirs_exist_ok=True, ignore=shutil.ignore_patterns("spec.json"))
    for path in prefix.rglob("*"):
        if path.is_symlink():
            target = os.readlink(path)
            if target.startswith(str(model)):
                path.unlink()
                path.symlink_to(target.replace(str(model), str(prefix)))
        elif path.is_file():
            data = path.read_bytes()
            if old in data:
                os.chmod(path, 0o644 | path.stat().st_mode)
                # slashes keep the length, and mean the same
                path.write_bytes(data.replace(old, new + b"/" * (len(old) - len(new)) if b"\0" in data else new))


def main():
    directory, count = Path(sys.argv[1]), int(sys.argv[2])
    models = list(small_prefixes(Path(sys.argv[3]))) if len(sys.argv) > 3 else []
    generator = random.Random(1)
    names = [f"small{number:04d}" for number in range(count)]
    dependencies = {
        name: sorted(generator.sample(names[:number], min(number, generator.randrange(4))))
        for number, name in enumerate(names)
    }
    dependencies[ALL] = sorted({*names}.difference(*dependencies.values()))
    packages = directory / "spack_repo" / "small"
    for name in dependencies:
        (packages / "packages" / name).mkdir(parents=True)
        (packages / "packages" / name / "package.py").write_text(PACKAGE.format(class_name=name.capitalize()))
    nodes = {name: node(name, dependencies[name]) for name in dependencies}
    with spack.store.STORE.db.write_transaction():
        for number, name in enumerate(dependencies):
            document = {"spec": {"_meta": {"version": 5}, "nodes": [nodes[n] for n in closure(name, dependencies)]}}
            spec = spack.spec.Spec.from_dict(json.loads(json.dumps(document)))
            prefix = Path(spec.prefix)
            shutil.rmtree(prefix, ignore_errors=True)
            (prefix / ".spack").mkdir(parents=True)
            spack.store.STORE.layout.write_spec(spec, os.path.join(prefix, ".spack", "spec.json"))
            if name == ALL:
                (prefix / "packages.txt").write_text("\n".join(names) + "\n")
            elif models:
                imitate(prefix, models[number % len(models)])
            else:
                fill(prefix, name, generator)
            spack.store.STORE.db.add(spec, explicit=True)


if __name__ == "__main__":
    main()
