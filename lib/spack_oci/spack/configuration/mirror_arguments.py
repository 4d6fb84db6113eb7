# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What users write where a mirror is expected: names, URLs, directories, and what they meant if it is none."""

import difflib
import os
import re
from typing import List, Optional, Sequence, Tuple

import spack.error
import spack.mirrors.mirror
import spack.repo
import spack.store
from spack.enums import InstallRecordStatus

from ...errors import ConfigurationError
from ...reference import is_oci_url, layout_at, suggested_url, without_user
from .. import compat
from . import mirrors

#: `/abcdefg`, a spec by its hash; anything longer or with a second slash is a path
_HASH_SPEC = re.compile(r"/[a-z0-9]{1,32}\Z")


def find(name_or_url: Optional[str], direction: str) -> Tuple["spack.mirrors.mirror.Mirror", str]:
    """The mirror that a user means, and one line for her when she did not say (else empty).

    ``name_or_url``: a configured mirror, a URL, a path (with a slash; a layout directory), or None: the default, see
    :func:`spack_oci.spack.configuration.mirrors.default`.
    """
    if name_or_url is None:
        return _default(direction)
    collection = spack.mirrors.mirror.MirrorCollection()
    if name_or_url in collection:
        mirror = collection[name_or_url]
    elif suggested_url(name_or_url) and not os.path.exists(name_or_url):
        raise ConfigurationError(f"no mirror is called {without_user(name_or_url)!r}", remedy=_meant(name_or_url))
    elif "://" in name_or_url:
        mirror = _by_url(name_or_url, collection.values(), direction)
    elif "/" in name_or_url or name_or_url in (".", ".."):
        path = os.path.abspath(compat.canonicalize_path(name_or_url))
        mirror = _by_url(layout_at(path).url, collection.values(), direction)
    elif name_or_url == mirrors.DEFAULT_NAME:
        mirror = mirrors.embedded_default()
    else:
        raise ConfigurationError(f"no mirror is called {name_or_url!r}", remedy=_meant(name_or_url))
    url = mirror.get_url(direction)
    if not is_oci_url(url):
        meant = suggested_url(url) if not url.startswith("http") else ""  # of Spack's own mirrors
        raise ConfigurationError(
            f"the mirror {without_user(name_or_url)} is not an OCI mirror ({without_user(url)})",
            remedy=f"its URL was perhaps meant to be {meant}"
            if meant
            else "its URL must start with oci://, oci+http:// or oci+file://; `spack buildcache` handles the others",
        )
    mirrors.location_of(mirror, direction)  # a wrong URL is named before anything is done
    return mirror, ""


def _default(direction: str) -> Tuple["spack.mirrors.mirror.Mirror", str]:
    mirror = mirrors.default(direction)
    if mirrors.is_embedded_default(mirror):
        return mirror, f"No OCI mirror is configured: using the local layout {mirror.get_url(direction)}"
    return mirror, f"Using mirror {mirror.name}: {mirror.get_url(direction)}"


def _by_url(
    url: str, configured: Sequence["spack.mirrors.mirror.Mirror"], direction: str
) -> "spack.mirrors.mirror.Mirror":
    """A configured mirror with this URL (it brings its credentials), else an anonymous one."""
    anonymous = spack.mirrors.mirror.Mirror(url)
    wanted = anonymous.get_url(direction).rstrip("/")
    return next((m for m in configured if m.get_url(direction).rstrip("/") == wanted), anonymous)


def similar_mirror(word: str) -> str:
    """The name of the configured mirror that is most like this one; empty if none is."""
    return next(iter(difflib.get_close_matches(word, spack.mirrors.mirror.MirrorCollection(), n=1)), "")


def _meant(word: str, or_package: bool = False) -> str:
    """What a user may have meant with a word that is no mirror; ``or_package``: and that could have been a package."""
    url = suggested_url(word)
    if url:
        return f"did you mean `{_as_configured(url)}`?"
    similar = similar_mirror(word)
    if not similar and or_package:
        names = spack.repo.PATH.all_package_names()
        similar = next(iter(difflib.get_close_matches(word, names, n=1, cutoff=0.8)), "")
    known = f"did you mean `{similar}`? See" if similar else "see"
    return (
        f"{known} `spack mirror list`, add it with `spack mirror add {word} oci://HOST/NAME`, "
        f"or write ./{word} for a layout directory"
    )


def _as_configured(url: str) -> str:
    """``url``, with the scheme that a configured mirror has for its host."""
    rest = url.partition("://")[2]
    for mirror in spack.mirrors.mirror.MirrorCollection().values():
        scheme, _, other = mirror.push_url.partition("://")
        if rest and is_oci_url(mirror.push_url) and other.partition("/")[0] == rest.partition("/")[0]:
            return f"{scheme}://{rest}"
    return url


def split(words: Sequence[str], command: str) -> Tuple[Optional[str], List[str]]:
    """``[MIRROR] [SPEC...]`` of a sub-command -> (mirror or None, spec words).

    The first word is a mirror if it is the name of one, a URL or a path; what is neither a mirror nor a package is an
    error rather than a spec, so that a typo in a mirror's name does not push to another mirror.
    """
    if not words:
        return None, []
    first, rest = words[0], list(words[1:])
    if _is_mirror(first):
        return first, rest
    later = next((word for word in rest if _is_mirror(word)), None)
    if later is not None:
        specs = " ".join(word for word in words if word != later)
        raise ConfigurationError(
            f"the mirror {later} comes after specs", remedy=f"it comes first: `spack oci {command} {later} {specs}`"
        )
    if first.startswith("/"):
        return (None, list(words)) if _HASH_SPEC.match(first) and not os.path.isdir(first) else (first, rest)
    if suggested_url(first) and not _is_package(first.partition("/")[0].partition("@")[0]):
        raise ConfigurationError(f"{first} is neither a mirror nor a package", remedy=_meant(first))
    if _is_plain_name(first) and not _is_package(first):
        meant = _meant(first, or_package=True)
        if command != "push" and not meant.startswith("did you mean"):
            # the recipe of what a mirror has may be in a repository that is not here
            meant += f"; a package that a mirror has stands behind it: `spack oci {command} MIRROR {first}`"
        raise ConfigurationError(f"{first} is neither a mirror nor a package", remedy=meant)
    return None, list(words)


def _is_mirror(word: str) -> bool:
    if "://" in word or word in (".", "..", mirrors.DEFAULT_NAME) or word.startswith(("./", "../", "~", "$")):
        return True
    return word in spack.mirrors.mirror.MirrorCollection() or (word.endswith("/") and os.path.isdir(word))


def _is_plain_name(word: str) -> bool:
    return re.match(r"[\w.-]+\Z", word) is not None


def _is_package(name: str) -> bool:
    if not _is_plain_name(name):
        return False
    try:
        known = spack.repo.PATH.exists(name)
    except spack.error.SpackError:  # of a name with dots, which would be a namespace
        return False
    return known or bool(spack.store.STORE.db.query(name, installed=InstallRecordStatus.ANY))


def split_tag(words: Sequence[str], command: str) -> Tuple[Optional[str], List[str]]:
    """As :func:`split`, for ``[MIRROR] SPEC|TAG``: a single word that is no mirror may be any tag."""
    if len(words) == 1 and not _is_mirror(words[0]):
        return None, list(words)
    mirror, rest = split(words, command) if not _is_mirror(words[0]) else (words[0], list(words[1:]))
    if not rest:
        raise ConfigurationError(
            f"`spack oci {command}` shows one package or image, and none is named",
            remedy=f"name it behind the mirror, as `spack oci list {words[0]}` has it",
        )
    return mirror, rest
