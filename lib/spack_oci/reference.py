# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Where content lives: mirror URLs, repositories, layouts, tags and image references.

Mirror URLs are ``oci://HOST/NAME`` (https), ``oci+http://HOST/NAME`` (plain http) and ``oci+file:///DIR`` (an OCI image
layout directory). Host and name follow what Spack and Docker do: no host, or a first component without ``.`` or ``:``
that is not ``localhost``, means Docker Hub; names are lower-cased.
"""

import os
import re
import urllib.parse
from typing import NamedTuple, Optional, Tuple, Union

from .descriptor import check_digest
from .errors import InvalidReference
from .util.url_schemes import SCHEMES, is_oci_url

DOCKER_HUB = "index.docker.io"


_HOST = re.compile(
    r"(?:(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*\.?|\[[0-9a-fA-F:.]+\])"
    r"(?::[0-9]{1,5})?\Z"
)
#: distribution-spec, "Pulling manifests": <name>
_NAME = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*\Z")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}\Z")


def check_tag(tag: str) -> str:
    if not _TAG.match(tag):
        raise InvalidReference(
            f"not a tag: {tag[:200]!r}",
            remedy="a tag has at most 128 letters, digits, '_', '.' and '-', not '.' or '-' first",
        )
    return tag


def valid_tag(text: str) -> str:
    """``text`` made a valid tag the way Spack does: other characters become ``_``, the middle of a long one goes."""
    tag = re.sub(r"[^A-Za-z0-9_.-]", "_", text)
    return tag[:64] + tag[-64:] if len(tag) > 128 else tag


class Repository(NamedTuple):
    """A repository of a registry. ``scheme``: ``https`` or ``http``; ``host``: with port, if one was given."""

    host: str
    name: str
    scheme: str = "https"
    #: a part of the cache that is there (:mod:`spack_oci.index.snapshots`); empty: all of it
    snapshot: str = ""

    @property
    def url(self) -> str:
        url = f"{'oci' if self.scheme == 'https' else 'oci+http'}://{self.host}/{self.name}"
        return f"{url}:{self.snapshot}" if self.snapshot else url

    @property
    def api_host(self) -> str:
        """The host that answers the API: Docker Hub's has another name."""
        return "registry-1.docker.io" if self.host in (DOCKER_HUB, "docker.io") else self.host

    @property
    def api_root(self) -> str:
        """The base URL of the registry's API, without a trailing slash."""
        return f"{self.scheme}://{self.api_host}/v2"

    @property
    def endpoint(self) -> str:
        """The API's base URL of this repository, without a trailing slash."""
        return f"{self.api_root}/{self.name}"

    def __str__(self) -> str:
        return self.url


class LayoutDirectory(NamedTuple):
    """An OCI image layout directory; ``path`` is absolute."""

    path: str
    #: as in :class:`Repository`
    snapshot: str = ""
    #: absolute path of the file that has the same in it, by which it is called; the directory is temporary
    bundle: str = ""

    @property
    def url(self) -> str:
        url = "oci+file://" + urllib.parse.quote(self.bundle or self.path)
        return f"{url}:{self.snapshot}" if self.snapshot else url

    def __str__(self) -> str:
        return self.url


Location = Union[Repository, LayoutDirectory]


class ImageReference(NamedTuple):
    """An image somewhere: a location with a tag, a digest, or both (then the digest counts)."""

    location: Location
    tag: Optional[str] = None
    digest: Optional[str] = None

    @property
    def reference(self) -> str:
        return self.digest or self.tag or "latest"

    def __str__(self) -> str:
        where = str(self.location)
        return f"{where}@{self.digest}" if self.digest else f"{where}:{self.reference}"


def _shown(text: str) -> str:
    """``text`` for a message of one line."""
    return text if text.isprintable() else repr(text)


def parse_repository(text: str, scheme: str = "https", url: str = "") -> Repository:
    """``HOST/NAME``, ``NAME``, ``USER/NAME``; ``url`` is what the user wrote, for the error."""
    shown = _shown(url or text)
    first, slash, rest = text.partition("/")
    if slash and _names_host(first):
        host, name = first, rest
    elif slash:
        host, name = DOCKER_HUB, text
    else:
        if ":" in first or first == "localhost" or first.startswith("["):
            raise InvalidReference(
                f"{shown} names a registry but no repository", remedy=f"write {shown.rstrip('/')}/NAME"
            )
        host, name = DOCKER_HUB, f"library/{text}"
    if not name or name == "library/":
        raise InvalidReference(f"{shown} names a registry but no repository", remedy=f"write {shown.rstrip('/')}/NAME")
    if not _HOST.match(host):
        raise InvalidReference(f"{shown}: not a host: {host!r}")
    name = name.lower()
    if not _NAME.match(name) or len(name) > 255:
        raise InvalidReference(
            f"{shown}: not a repository name: {name!r}",
            remedy="it has components of letters and digits, separated by '/', '.', '_' and '-'",
        )
    return Repository(host, name, scheme)


def _names_host(first: str) -> bool:
    """Whether the first component of ``HOST/NAME`` is a host, and not a namespace of Docker Hub."""
    return "." in first or ":" in first or first == "localhost" or first != first.lower()


def parse_namespace(text: str) -> Tuple[str, str]:
    """``HOST``, ``HOST/NAMESPACE`` or, for Docker Hub, ``USER/NAME`` -> (host, namespace, which may be empty). Raises
    InvalidReference for what no repository's URL begins with."""
    first, slash, rest = text.partition("/")
    if not _names_host(first):
        if not slash:
            raise InvalidReference(
                f"{_shown(text)!r} is no host: it has neither a dot nor a port",
                remedy=f"for Docker Hub, write docker.io/{_shown(text)}",
            )
        first, rest = DOCKER_HUB, text
    if not _HOST.match(first):
        raise InvalidReference(f"not a host: {first!r}", remedy="write HOST, HOST:PORT or [IPV6]:PORT")
    if rest and not _NAME.match(rest.lower()):
        raise InvalidReference(
            f"not a repository or namespace: {rest!r}",
            remedy="it has components of letters and digits, separated by '/', '.', '_' and '-'; no tag, no pattern",
        )
    return first, rest.lower()


def parse_url(url: str) -> Location:
    """A mirror URL. What looks like a tag behind the name is a snapshot; digests are refused.

    A directory may have a colon in its name: it is taken for a snapshot only where there is a layout in front of it and
    no directory of the whole name.
    """
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in SCHEMES:
        meant = suggested_url(url)
        raise InvalidReference(
            f"not an OCI URL: {without_user(url)!r}",
            remedy=f"did you mean `{meant}`?" if meant else "it starts with oci://, oci+http:// or oci+file:///",
        )
    if scheme == "oci+file":
        # a colon that is a part of the name may be quoted
        return layout_at(_parse_layout(url, rest).path) if ":" in rest else _parse_layout(url, rest)
    rest, snapshot = _split_snapshot(rest.rstrip("/"))
    if "@" in rest.partition("/")[0]:
        raise InvalidReference(
            _shown(f"an OCI URL holds no user or password: {without_user(f'{scheme}://{rest}')}"),
            remedy="use `spack oci login`, or `spack mirror set --oci-username-variable X --oci-password-variable Y`",
        )
    name = rest.partition("/")[2]
    if "@" in name or ":" in name:
        raise InvalidReference(
            f"{_shown(url)} names a single image", remedy="a mirror is a repository: leave the tag away"
        )
    if (
        not name and "." in rest
    ):  # container tools would look for an image of this name on Docker Hub; nobody means that
        raise InvalidReference(
            f"{_shown(url)} names a registry but no repository", remedy=f"write {_shown(url).rstrip('/')}/NAME"
        )
    repository = parse_repository(rest, "https" if scheme == "oci" else "http", url)
    return Repository(repository.host, repository.name, repository.scheme, snapshot)


def layout_at(path: str) -> LayoutDirectory:
    """The directory at an absolute path, or a snapshot of one (``DIR:NAME``), as :func:`parse_url` tells them apart."""
    head, snapshot = _split_snapshot(path)
    if snapshot and not os.path.isdir(path) and os.path.exists(os.path.join(head, "oci-layout")):
        return LayoutDirectory(head, snapshot)
    return LayoutDirectory(path)


def _split_snapshot(rest: str) -> Tuple[str, str]:
    """``HOST/NAME:SNAPSHOT`` -> (``HOST/NAME``, ``SNAPSHOT``), which is empty if there is none."""
    head, colon, tail = rest.rpartition(":")
    return (head, tail) if colon and "/" in head and _TAG.match(tail) and "@" not in head else (rest, "")


_HOST_AND_NAME = re.compile(r"(?:localhost|[a-zA-Z0-9-]+(?:\.[a-zA-Z0-9-]+)+|[a-zA-Z0-9.-]+(?=:\d))(?::\d+)?/[^@\s]*\Z")
_ANY_SCHEME = re.compile(r"(oci(?:\+[a-z]+)?|docker|https?):/*(.*)\Z", re.IGNORECASE)


def suggested_url(word: str) -> str:
    """The mirror URL that somebody may have meant who wrote ``word``; empty if it is one, or nothing like it.

    For what other tools take (``ghcr.io/org/cache``, ``localhost:5000/x``, ``docker://...``), for slips
    (``oci:/host/x``, ``OCI://host/x``, ``oci+https://host/x``), and for a directory without ``./`` (``cache/``).
    """
    if is_oci_url(word):
        return ""
    found = _ANY_SCHEME.match(word)
    if found:
        scheme, rest = _meant_scheme(found.group(1).lower(), found.group(2)), found.group(2)
        return f"{scheme}:///{rest}" if scheme == "oci+file" else f"{scheme}://{rest.rpartition('@')[2]}"
    if _HOST_AND_NAME.match(word):
        return f"{'oci+http' if _is_local(word) else 'oci'}://{word.rstrip('/')}"
    if re.match(r"[\w.-]+(?:/[\w.-]+)*/\Z", word):
        return f"./{word.rstrip('/')}"
    return ""


def _meant_scheme(scheme: str, rest: str) -> str:
    if scheme.startswith("oci+f"):
        return "oci+file"
    if scheme.endswith("https"):
        return "oci"
    return "oci+http" if scheme == "http" or scheme.startswith("oci+h") or _is_local(rest) else "oci"


def without_user(word: str) -> str:
    """``word`` for a message: what stands in front of the host of a URL may hold a password."""
    return re.sub(r"(?<=://)[^/]*@", "...@", word)


def _is_local(text: str) -> bool:
    return re.match(r"(?:localhost|127\.\d+\.\d+\.\d+)(?:[:/]|\Z)", text) is not None


def _parse_layout(url: str, rest: str) -> LayoutDirectory:
    path = urllib.parse.unquote(rest)
    if path.startswith("localhost/"):
        path = path[len("localhost") :]
    if not path.startswith("/"):
        raise InvalidReference(f"{_shown(url)}: the path is not absolute", remedy="write oci+file:///absolute/path")
    return LayoutDirectory(os.path.normpath("/" + path.lstrip("/")))


def parse_image_reference(text: str) -> ImageReference:
    """An image as container tools write it (``debian:12``, ``HOST/NAME@sha256:...``), or an ``oci...://`` URL with tag.

    A layout directory takes its tag behind the last colon: ``oci+file:///DIR:TAG``.
    """
    scheme, separator, rest = text.partition("://")
    if not separator:
        if scheme.startswith("docker:"):
            raise InvalidReference(f"not an image reference: {text!r}", remedy="leave the transport away")
        scheme, rest = "oci", text
    if scheme == "docker":  # skopeo's spelling, docker://
        scheme = "oci"
    if scheme not in SCHEMES:
        raise InvalidReference(f"not an image reference: {text!r}")
    name, at, digest = rest.partition("@")
    if at:
        check_digest(digest)
    tag: Optional[str] = None
    head, colon, tail = name.rpartition(":")
    if colon and "/" not in tail:
        name, tag = head, check_tag(tail)
    if scheme == "oci+file":
        return ImageReference(_parse_layout(text, name), tag, digest or None)
    repository = parse_repository(name, "https" if scheme == "oci" else "http", text)
    return ImageReference(repository, tag or (None if digest else "latest"), digest or None)


def image_name(store_url: str, tag: str) -> str:
    """An image of a mirror as `podman pull` and `skopeo` take it: ``HOST/NAME:TAG``, ``oci:DIR:TAG``,
    ``oci-archive:BUNDLE:TAG``."""
    location = parse_url(store_url)
    if isinstance(location, Repository):
        return f"{location.host}/{location.name}:{tag}"
    return f"{'oci-archive' if os.path.isfile(location.path) else 'oci'}:{location.path}:{tag}"
