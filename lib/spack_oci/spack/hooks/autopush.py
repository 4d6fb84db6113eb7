# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Pushes of what was built from source, to mirrors with `autopush`: one that fails costs nothing but itself.

Spack pushes in the child process that built the package, and takes a failure for one of the build: after an hour of it,
nothing is installed, and the mirrors that come later get nothing. Here the package is installed, the other mirrors are
served, and the parent says at the end what was not pushed, and how to push it. Children append to a file whose name
they find in their environment, however they were started.
"""

import contextlib
import json
import os
import shlex
import tempfile
from typing import Any, Callable, Dict, Iterator, List, Optional

import spack.binary_distribution
import spack.error
import spack.llnl.util.tty as tty
import spack.mirrors.mirror
import spack.spec

from ...reference import is_oci_url
from .. import compat
from ..specs import packages
from .install import only

_REPORT = "SPACK_OCI_AUTOPUSH_REPORT"


class NotPushed(spack.error.SpackError):
    """All packages are installed, and some are not in a mirror with `autopush`."""


def post_install(original: Callable, spec: "spack.spec.Spec", explicit: Any) -> None:
    """Hook of ``spack.hooks.autopush.post_install``. Mirrors that are not OCI's are Spack's business."""
    mirrors = spack.mirrors.mirror.MirrorCollection(binary=True, autopush=True).values()
    ours = [m for m in mirrors if is_oci_url(m.push_url)]
    if not ours or spec.external or spec.package.installed_from_binary_cache or _REPORT not in os.environ:
        original(spec, explicit)
        return
    for mirror in ours:
        if compat.matches_binary(mirror, spec, "push"):
            _push(mirror, spec)
    others = [m for m in mirrors if not is_oci_url(m.push_url)]
    if others:
        with only(*others):
            original(spec, explicit)


def _push(mirror: "spack.mirrors.mirror.Mirror", spec: "spack.spec.Spec") -> None:
    try:
        with spack.binary_distribution.make_uploader(mirror=mirror, force=True) as uploader:  # signs if it is to
            _, failed = uploader.push([spec])
        for _, error in failed:
            raise error
    except Exception as e:  # whatever it is: the package is built, and is to be installed
        tty.warn(f"{packages.label(spec)} is not pushed to the mirror {mirror.name}: {_line(e)}")
        _report(mirror, spec, e)
    else:
        tty.msg(f"{spec.name}: Pushed to build cache: '{mirror.name}'")


def _report(mirror: "spack.mirrors.mirror.Mirror", spec: "spack.spec.Spec", error: Exception) -> None:
    entry = {"mirror": mirror.name, "label": packages.label(spec), "hash": spec.dag_hash(), "error": _line(error)}
    with open(os.environ[_REPORT], "a", encoding="utf-8") as f:
        f.write(json.dumps(entry) + "\n")  # one write: several children may do so at once


def _line(error: Exception) -> str:
    return ": ".join(line.strip() for line in str(error).splitlines() if line.strip()) or type(error).__name__


@contextlib.contextmanager
def failures_told_at_the_end() -> Iterator[None]:
    """Around an install. Raises NotPushed where everything else went well; else it is an error that is printed."""
    if not any(is_oci_url(m.push_url) for m in _autopush_mirrors()):
        yield
        return
    with tempfile.TemporaryDirectory(prefix="spack-oci-autopush-") as directory:
        before = os.environ.get(_REPORT)
        os.environ[_REPORT] = path = os.path.join(directory, "failures")
        try:
            yield
        except BaseException:
            error = _error(path)
            if error is not None:
                tty.error(error.message, error.long_message)
            raise
        finally:
            if before is None:
                del os.environ[_REPORT]
            else:
                os.environ[_REPORT] = before
        error = _error(path)
        if error is not None:
            raise error


def _autopush_mirrors() -> List["spack.mirrors.mirror.Mirror"]:
    return list(spack.mirrors.mirror.MirrorCollection(binary=True, autopush=True).values())


def _error(path: str) -> "Optional[NotPushed]":
    """What the children have reported, as one error."""
    try:
        with open(path, encoding="utf-8") as f:
            failures = [json.loads(line) for line in f]
    except FileNotFoundError:
        return None
    by_mirror: Dict[str, List[Dict[str, str]]] = {}
    for failure in failures:
        by_mirror.setdefault(failure["mirror"], []).append(failure)
    lines = []
    for mirror, missing in by_mirror.items():
        lines.append(f"{mirror}: {', '.join(f['label'] for f in missing)}")
        lines.extend(f"    {reason}" for reason in dict.fromkeys(f["error"] for f in missing))
        hashes = " ".join(f"/{f['hash'][:12]}" for f in missing)
        lines.append(f"    push with: spack oci push --only package {shlex.quote(mirror)} {hashes}")
    count = len({f["hash"] for f in failures})
    built = (
        "1 package was built and installed, but is"
        if count == 1
        else f"{count} packages were built and installed, but are"
    )
    return NotPushed(f"{built} not in every mirror with autopush", "\n".join(lines))
