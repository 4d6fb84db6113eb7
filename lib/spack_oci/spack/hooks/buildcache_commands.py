# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack buildcache` sub-commands that know mirrors of files only: for OCI mirrors they name the command that does it.
So does `spack mirror destroy`, which removes directories itself.

By themselves they end in a traceback, or look for files that no registry has and say that nothing is there.
"""

import contextlib
import glob
import json
import os
import shutil
from typing import Any, Callable, List, Sequence

import spack.llnl.util.tty as tty
import spack.mirrors.mirror

from ...errors import ConfigurationError, NotFound
from ...layout import open_layout
from ...reference import LayoutDirectory, is_oci_url, parse_url
from ...util.files import storage_errors
from .install import only


def check(original: Callable, args: Any) -> Any:
    """Hook of `spack buildcache check`."""
    return _with_other_mirrors(
        original, args, "check", args.mirror_url, "`spack oci list MIRROR SPEC` fails for a package"
    )


def download(original: Callable, args: Any) -> Any:
    """Hook of `spack buildcache download`."""
    return _with_other_mirrors(original, args, "download", None, "use `spack oci fetch SPEC`, or skopeo, for a package")


def sync(original: Callable, args: Any) -> Any:
    """Hook of `spack buildcache sync`."""
    given = [m for m in (args.src_mirror, getattr(args, "dest_mirror", None)) if m is not None]
    if any(is_oci_url(m.push_url) or is_oci_url(m.fetch_url) for m in given):
        words = " ".join(_word(m) for m in given)
        _refuse("sync", given, f"use `spack oci copy {words}`")
    if args.manifest_glob:
        _refuse_manifests_of_oci_mirrors(args.manifest_glob)
    return original(args)


def _refuse_manifests_of_oci_mirrors(pattern: str) -> None:
    """Of what `spack ci generate` writes where SPACK_COPY_BUILDCACHE is set: the URLs of files, which a registry does
    not have. What cannot be read is left to Spack."""
    for path in glob.glob(pattern):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            with open(path, encoding="utf-8") as f:
                entries = json.load(f).values()
            if any(is_oci_url(url) for entry in entries for url in entry.values()):
                raise ConfigurationError(
                    f"`spack buildcache sync` knows no OCI mirrors, which {path} names",
                    remedy="use `spack oci copy --lock spack.lock FROM TO`",
                )


def prune(original: Callable, args: Any) -> Any:
    """Hook of `spack buildcache prune`."""
    return _of_one_mirror(original, args, "prune", "use `spack oci prune {}`")


def check_index(original: Callable, args: Any) -> Any:
    """Hook of `spack buildcache check-index`."""
    return _of_one_mirror(original, args, "check-index", "use `spack oci verify --level index {}`")


def migrate(original: Callable, args: Any) -> Any:
    """Hook of `spack buildcache migrate`."""
    return _of_one_mirror(original, args, "migrate", "there is nothing to migrate in {}, its layout has not changed")


def destroy(original: Callable, args: Any) -> Any:
    """Hook of `spack mirror destroy`: a directory goes, as others do; a repository is its registry's to remove."""
    word = args.mirror_name or args.mirror_url
    if args.mirror_name:
        mirror = spack.mirrors.mirror.MirrorCollection().lookup(word)
    else:  # which lookup() of Spack 1.1 cannot take
        mirror = spack.mirrors.mirror.Mirror(word)
    if not is_oci_url(mirror.push_url):
        return original(args)
    location = parse_url(mirror.push_url)
    if location.snapshot:
        whole = mirror.push_url.rpartition(":")[0]
        raise ConfigurationError(
            f"{mirror.push_url} is a snapshot", remedy=f"use `spack oci snapshot --remove {whole} {location.snapshot}`"
        )
    if not isinstance(location, LayoutDirectory):
        raise ConfigurationError(
            f"`spack mirror destroy` cannot remove a repository of a registry ({word})",
            remedy="remove it at the registry; `spack oci prune` removes packages from it",
        )
    if not os.path.lexists(location.path):
        raise NotFound(f"{mirror.push_url} does not exist", remedy="check the name; there is nothing to destroy")
    open_layout(location)  # what is none is not removed
    with storage_errors(f"removing {mirror.push_url}"):
        shutil.rmtree(location.path)
    return None


def _of_one_mirror(original: Callable, args: Any, command: str, remedy: str) -> Any:
    if is_oci_url(args.mirror.push_url):
        _refuse(command, [args.mirror], remedy.format(_word(args.mirror)))
    return original(args)


def _with_other_mirrors(original: Callable, args: Any, command: str, url: Any, remedy: str) -> Any:
    """For all configured mirrors, or for the one at ``url``: those that are not OCI's are left to Spack."""
    collection = spack.mirrors.mirror.MirrorCollection(binary=True)
    if url:
        chosen = [collection[url] if url in collection else spack.mirrors.mirror.Mirror(url)]
    else:
        chosen = list(collection.values())
    ours = [m for m in chosen if is_oci_url(m.fetch_url)]
    others = [m for m in chosen if m not in ours]
    if ours and not others:
        _refuse(command, ours, remedy)
    if not ours:
        return original(args)
    tty.warn(f"`spack buildcache {command}` leaves OCI mirrors out: {', '.join(_word(m) for m in ours)}; {remedy}")
    with only(*others):
        return original(args)


def _refuse(command: str, mirrors: "Sequence[spack.mirrors.mirror.Mirror]", remedy: str) -> None:
    names: List[str] = [_word(m) for m in mirrors if is_oci_url(m.push_url) or is_oci_url(m.fetch_url)]
    raise ConfigurationError(f"`spack buildcache {command}` knows no OCI mirrors ({', '.join(names)})", remedy=remedy)


def _word(mirror: "spack.mirrors.mirror.Mirror") -> str:
    """What a user would write for this mirror."""
    return mirror.fetch_url if mirror.name.startswith("<") else mirror.name


def clean(original: Callable, parser: Any, args: Any) -> Any:
    """Hook of `spack clean`: what is downloaded (-d, -a) goes from our cache too, and what is known of indexes (-m)."""
    from ..configuration import settings

    result, options = original(parser, args), settings.read()
    if args.downloads:
        count, size = settings.blob_cache(options).clean()
        if count:
            tty.msg(f"Removing {count} cached layers of OCI mirrors ({size / 1e6:.1f} MB)")
    if args.misc_cache:
        shutil.rmtree(options.index_directory, ignore_errors=True)
    return result
