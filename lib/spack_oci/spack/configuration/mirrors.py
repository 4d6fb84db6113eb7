# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""From Spack's mirrors to content stores: which mirror is meant, where it is, and how it is talked to."""

import os
import re
from dataclasses import replace
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

import spack.config
import spack.llnl.util.tty as tty
import spack.mirrors.mirror
import spack.oci.image

from ...configuration.registries import Network
from ...content import ContentStore
from ...errors import InvalidReference, NotFound
from ...layout import open_layout
from ...reference import LayoutDirectory, Location, Repository, is_oci_url, parse_url
from ...registry import open_repository
from ...registry.auth.credentials import CredentialSource
from ...registry.settings import RegistrySettings
from ...util.notices import send_notices_to
from .. import compat
from . import settings
from .credentials import host_credentials, mirror_credentials

FETCH, PUSH = "fetch", "push"

send_notices_to(lambda message: tty.warn(message))

#: name of the mirror that exists without being configured
DEFAULT_NAME = "default"


def configured(direction: str = FETCH) -> List["spack.mirrors.mirror.Mirror"]:
    """The OCI mirrors among the configured binary mirrors, in their order."""
    mirrors = spack.mirrors.mirror.MirrorCollection(binary=True).values()
    return [m for m in mirrors if is_oci_url(m.get_url(direction))]


def is_oci_mirror(mirror: "spack.mirrors.mirror.Mirror") -> bool:
    """For who installs from it."""
    return is_oci_url(mirror.fetch_url)


def embedded_default() -> "spack.mirrors.mirror.Mirror":
    """The layout under Spack's user cache that serves when no OCI mirror is configured."""
    directory = LayoutDirectory(settings.read().default_layout)
    return spack.mirrors.mirror.Mirror(directory.url, name=DEFAULT_NAME)


def in_use(direction: str = FETCH) -> List["spack.mirrors.mirror.Mirror"]:
    """The configured OCI mirrors; where there is none, the embedded default."""
    return configured(direction) or [embedded_default()]


def default(direction: str) -> "spack.mirrors.mirror.Mirror":
    """The mirror of a user who names none, in every sub-command: the first OCI mirror that is configured, for a push
    the first that can be pushed to; else the embedded default."""
    for mirror in configured(direction):
        if direction == FETCH or _can_be_pushed_to(mirror):
            return mirror
    return embedded_default()


def is_embedded_default(mirror: "spack.mirrors.mirror.Mirror") -> bool:
    return mirror.name == DEFAULT_NAME and mirror.fetch_url == embedded_default().fetch_url


def _can_be_pushed_to(mirror: "spack.mirrors.mirror.Mirror") -> bool:
    """As far as this can be known without asking a registry: a layout must be writable, or one that can be made."""
    location = location_of(mirror, PUSH)
    if isinstance(location, Repository):
        return True
    path = location.path
    while not os.path.exists(path):
        path = os.path.dirname(path)
    return os.access(path, os.W_OK)


def location_of(mirror: "spack.mirrors.mirror.Mirror", direction: str) -> Location:
    """Raises InvalidReference for a wrong URL, also for one with a variable that is not set."""
    url = mirror.get_url(direction)
    if "$" in url:
        raise InvalidReference(
            f"{url}: {' and '.join(_VARIABLE.findall(url))} is not known",
            remedy="set the environment variable, or use one of Spack's: $spack, $env, $user_cache_path, ~",
        )
    location = parse_url(url)
    return location if isinstance(location, Repository) else copied_bundles.get(location.path, location)


#: path of a bundle that a copy reads or writes -> where it does that
copied_bundles: Dict[str, LayoutDirectory] = {}

_VARIABLE = re.compile(r"\$(?:\w+|\{\w+\})?")


_stores: Dict[Tuple[int, str, Location, str], ContentStore] = {}


def open_store(mirror: "spack.mirrors.mirror.Mirror", direction: str, *, create: bool = False) -> ContentStore:
    """The store behind a mirror; one for each mirror and process, so that connections are shared.

    ``create``: make the layout directory if there is none yet.
    """
    return _open(mirror, direction, location_of(mirror, direction), create)


def open_index_store(mirror: "spack.mirrors.mirror.Mirror", direction: str) -> ContentStore:
    """Where the index of a mirror is: in the mirror itself, or in the repository of ``oci:index:repository``."""
    location = settings.read().index_location(location_of(mirror, direction))
    return _open(mirror, direction, location, create=False)


def _open(mirror: "spack.mirrors.mirror.Mirror", direction: str, location: Location, create: bool) -> ContentStore:
    key = (os.getpid(), direction, location, mirror.name)
    if key not in _stores:
        credentials = mirror_credentials(mirror, direction)
        if isinstance(location, Repository):
            scope = f"{location.host}/{location.name}"
            credentials = [replace(source, scope=scope) for source in credentials]  # type: ignore[type-var]
        _stores[key] = open_location(
            location,
            credentials,
            create=create,
            further_credentials=host_credentials(mirror, direction),
            # who writes must not read through pull-through mirrors: they lag behind, and what they say would be written
            with_mirrors=direction == FETCH,
        )
    return _stores[key]


def open_location(
    location: Location,
    credentials: Sequence[CredentialSource] = (),
    *,
    create: bool = False,
    further_credentials: Sequence[CredentialSource] = (),
    with_mirrors: bool = True,
) -> ContentStore:
    """The store at a location. ``credentials`` are asked before those of the ``oci`` section, ``further_credentials``
    after these and before the user's files. ``with_mirrors``: read from pull-through mirrors first."""
    if location.snapshot:
        from ...index.snapshots import SnapshotStore, unchangeable  # few mirrors are one

        if create:
            raise unchangeable(location.url)
        whole = open_location(
            location._replace(snapshot=""),
            credentials,
            further_credentials=further_credentials,
            with_mirrors=with_mirrors,
        )
        return SnapshotStore(whole, location.snapshot)
    if isinstance(location, LayoutDirectory):
        if not create and _may_be_made(location.path):
            raise _not_pushed_yet(location)
        return open_layout(location, create=create)
    return open_repository(*registry_of(location, credentials, with_mirrors, further_credentials))


def _not_pushed_yet(location: LayoutDirectory) -> NotFound:
    if location.path != settings.read().default_layout or configured(FETCH):
        return NotFound(f"{location.url} does not exist yet", remedy="a push creates it")
    return NotFound(
        f"no OCI mirror is configured, and the local layout {location.url} does not exist yet",
        remedy="add a mirror with `spack mirror add NAME oci://HOST/NAME`, or fill the layout: `spack oci push SPEC`",
    )


def _may_be_made(path: str) -> bool:
    """Not there, while its parent is: a mirror before its first push. (No parent: perhaps a mount is missing.)"""
    if os.path.lexists(path):
        return False
    return os.path.isdir(os.path.dirname(path)) or path == settings.read().default_layout


def registry_of(
    repository: Repository,
    credentials: Sequence[CredentialSource] = (),
    with_mirrors: bool = True,
    further_credentials: Sequence[CredentialSource] = (),
) -> Tuple[Repository, RegistrySettings]:
    """See :meth:`Network.registry_of`."""
    return _network().registry_of(repository, credentials, with_mirrors, further_credentials)


def _network() -> Network:
    config = spack.config.get("config") or {}
    return Network(
        settings.read(),
        compat.canonicalize_path,
        verify_tls=bool(config.get("verify_ssl", True)),
        ca_bundle=_spack_certificates(config),
        connect_timeout=float(config.get("connect_timeout", 10)),
    )


def _spack_certificates(config: Mapping[str, Any]) -> Optional[str]:
    """``config:ssl_certs``, which Spack defaults to ``$SSL_CERT_FILE`` and ignores when there is no such file."""
    path = os.path.expandvars(str(config.get("ssl_certs") or ""))
    return path if path and os.path.isabs(path) and os.path.exists(path) else None


class MirrorImage(spack.oci.image.ImageReference):
    """What Spack carries around for an OCI mirror, with the mirror in it: credentials belong to mirrors, not images."""

    __slots__ = ["mirror"]


def check_mirror_for_layout(original: Callable, mirror: "spack.mirrors.mirror.Mirror") -> None:
    """Hook of what `spack buildcache push` asks of mirrors that are not OCI's; in 1.0, those are all but ``oci://``."""
    if not is_oci_url(mirror.push_url):
        original(mirror)


def image_from_mirror(original: Callable, mirror: "spack.mirrors.mirror.Mirror") -> MirrorImage:
    """Hook of ``spack.oci.oci.image_from_mirror``, which raises ValueError for a mirror that is none of ours."""
    url = mirror.push_url
    if not is_oci_url(url):
        return original(mirror)
    try:
        location = parse_url(url)
    except InvalidReference as e:
        raise compat.OciError(e) from e
    if isinstance(location, Repository):
        image = MirrorImage(domain=location.host, name=location.name, scheme=location.scheme)
    else:
        image = MirrorImage(domain="", name=location.path, scheme="oci+file")
    image.mirror = mirror
    return image
