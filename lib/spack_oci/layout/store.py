# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""An OCI image layout directory (image-spec, image-layout.md) as a content store.

::

    DIR/oci-layout              {"imageLayoutVersion": "1.0.0"}; written last, so that a half made layout is none
    DIR/index.json              one descriptor a tag, the tag in org.opencontainers.image.ref.name
    DIR/blobs/sha256/HEX        manifests, configs and layers alike
    DIR/.spack-oci/lock         held (flock) while index.json is replaced
    DIR/.spack-oci/tmp/         files being written; renamed into place when complete

Blobs are named by their content, so any number of writers may store them without a lock: each writes its own temporary
file and renames it, and a rename replaces a blob by the same bytes. ``index.json`` is read, changed and replaced under
the lock; what several threads of a process want to change goes into one replacement. Readers take no lock: a rename
shows them either the old file or the new one.

Durability: a blob is synced before its rename, the blob directory and then ``index.json`` before a tag is reported as
written. A machine that loses power therefore never has a tag whose content is missing.

A manifest that is stored without a tag gets an entry without ``ref.name``: image-spec allows that, and it keeps the
manifest (a signature, an SBOM) reachable for tools that collect garbage from ``index.json``, and findable as a
referrer. The entry goes when the manifest is tagged, or when an image index that lists it is stored. A manifest whose
tag moves away loses its entry; its blob stays, until :func:`spack_oci.layout.gc.collect_garbage`.

skopeo, podman, buildah and umoci read such a directory as ``oci:DIR:TAG``. They do not take the lock when they write.
"""

import contextlib
import errno
import io
import json
import os
import shlex
import stat
import time
from typing import BinaryIO, Callable, Container, Dict, Iterator, List, Optional, Tuple

from ..content import MAX_MANIFEST_SIZE, BlobSource, Presence, Progress
from ..descriptor import OCI_MANIFEST, Descriptor, VerifyingReader, check_digest, parse_json
from ..errors import ConfigurationError, DigestMismatch, InvalidContent, InvalidReference, NotFound, StorageError
from ..reference import LayoutDirectory, check_tag
from ..util.files import atomic_write, set_mode, storage_errors, sync_directory
from ..util.schemas import validate
from .documents import Children, artifact_type, children_of, implied_type, referrer, subject_of
from .index_json import Entries, index_json
from .table import PRIVATE, ReferenceTable, bare_descriptor, drop_entries, identity_of, put_entry

LAYOUT_VERSION = "1.0.0"
_MARK = "oci-layout"
#: how the tags of packages and of classic signatures end; these refer to nothing by a subject
_WITHOUT_SUBJECT = (".spack", ".sig")
_CHUNK = 1 << 20
_READ_BY_OTHERS = stat.S_IRGRP | stat.S_IROTH
#: seconds; a file that was used within them is not marked as used once more
_FRESH = 600


def is_layout(directory: LayoutDirectory) -> bool:
    """Whether there is one; not in an empty directory, or where the making of one was cut: a writer makes it there."""
    return os.path.exists(os.path.join(directory.path, _MARK))


#: ends of names of archives that nobody writes here; a layout would be a directory
_COMPRESSED = (".tgz", ".tbz2", ".txz", ".tzst", ".zip", *(f".tar.{end}" for end in ("gz", "bz2", "xz", "zst")))


def open_layout(directory: LayoutDirectory, create: bool = False) -> "LayoutStore":
    """The store in ``directory``; with ``create`` it is made when it is not there.

    Raises StorageError when there is no layout (a file system that is not mounted must not pass for an empty cache),
    NotFound when one was begun and not completed (it has no packages yet, and its next writer completes it),
    ConfigurationError when ``create`` would turn a directory of something else into a layout.
    """
    if os.path.isfile(directory.path):
        raise StorageError(
            f"{directory.path} is a file, and no layout directory",
            remedy="if it is a bundle, make a directory of it: "
            f"`spack oci copy {shlex.quote(directory.path)} ./DIRECTORY`",
        )
    store = LayoutStore(directory)
    if create:
        store.create()
    store.check_version()
    return store


class LayoutStore:
    """:class:`~spack_oci.content.ContentStore` on a directory. ``durable=False`` leaves the syncing away (tests)."""

    def __init__(self, directory: LayoutDirectory, durable: bool = True) -> None:
        self.directory = directory
        self.path = directory.path
        self.url = directory.url
        self._durable = durable
        self.table = ReferenceTable(self.path, self.url, self._replace_file, self._sync_blobs)
        #: path of a blob whose content was checked here -> identity of that file
        self._sound: Dict[str, Tuple[int, int, int]] = {}
        #: digest of a manifest -> digest of its subject; manifests never change
        self._subjects: Dict[str, Optional[str]] = {}

    def create(self) -> None:
        if self.path.endswith(_COMPRESSED) and not os.path.exists(self.path):
            raise ConfigurationError(
                f"{self.path} would be a directory, and is called like a file",
                remedy="for one file, give it a name that ends in .tar: what it holds is compressed already",
            )
        with storage_errors(f"creating the OCI layout {self.url}"):
            os.makedirs(self.path, exist_ok=True)
            if os.path.exists(self._at(_MARK)):
                return
            foreign = self._foreign()
            if foreign:
                raise ConfigurationError(
                    f"{self.path} is not an OCI layout and not empty (it has {foreign[0]})",
                    remedy="name an empty or new directory",
                )
            self._make_directories()
            with self.table.lock():
                if not os.path.exists(self._at("index.json")):
                    self._replace_file("index.json", index_json({}, []))
                layout = {"imageLayoutVersion": LAYOUT_VERSION}
                self._replace_file(_MARK, json.dumps(layout).encode())

    def _is_begun(self) -> bool:
        """Whether somebody began to make it, and was stopped before it had all that a layout has."""
        return any(os.path.exists(self._at(name)) for name in ("index.json", "blobs", PRIVATE)) and not self._foreign()

    def _foreign(self) -> List[str]:
        """What is in the directory and of no layout."""
        return sorted(set(os.listdir(self.path)) - {_MARK, "index.json", "blobs", PRIVATE})

    def check_version(self) -> None:
        try:
            with open(self._at(_MARK), "rb") as f:
                data = f.read(_CHUNK)
        except FileNotFoundError:
            if self._is_begun():
                raise NotFound(f"{self.url} is not complete yet", remedy="a push or a copy completes it") from None
            raise StorageError(
                f"opening {self.url}: there is no OCI layout",
                remedy="check the path and that its file system is mounted; a push creates the layout",
            ) from None
        except OSError as e:
            raise StorageError.from_os_error(f"opening {self.url}", e) from e
        label = f"oci-layout of {self.url}"
        document = parse_json(data, label)
        if document == {"imageLayoutVersion": LAYOUT_VERSION}:
            return  # as nearly all are; to validate it takes as long as the rest of a command that only lists
        version = validate(document, "oci-layout", label)["imageLayoutVersion"]
        if version.partition(".")[0] != "1":
            raise InvalidContent(f"{self.url} has the image layout version {version[:40]!r}, not {LAYOUT_VERSION}")

    # Manifests and tags

    def resolve(self, reference: str) -> Descriptor:
        if ":" in reference:
            return self._manifest_by_digest(reference)[0]
        entry = self.table.find(check_tag(reference))
        if entry is None:
            raise NotFound(f"{self.url} has no tag {reference}")
        return bare_descriptor(entry)

    def get_manifest(self, reference: str) -> Tuple[Descriptor, bytes]:
        if ":" in reference:
            return self._manifest_by_digest(reference)
        descriptor = self.resolve(reference)
        try:
            return descriptor, self._read_manifest(descriptor)
        except NotFound:
            raise InvalidContent(
                f"{self.url} lists {reference} as {descriptor.digest}, but that file is not there",
                remedy="the layout was damaged or copied in part; push or copy that tag again",
            ) from None

    def put_manifest(self, data: bytes, media_type: str, tag: Optional[str] = None) -> Descriptor:
        if len(data) > MAX_MANIFEST_SIZE:
            raise InvalidContent(f"a manifest of {len(data)} bytes is too large, {MAX_MANIFEST_SIZE} are allowed")
        if tag is not None:
            check_tag(tag)
        document = parse_json(data, "the manifest to be stored")
        descriptor = Descriptor.of(data, media_type, artifact_type=artifact_type(document))
        children = children_of(document, f"the manifest {descriptor.digest}")
        self._check_children(children, tag)
        self._write_blob(descriptor, _opener(data), None)
        listed = {child.digest for child in children.manifests}

        def put(entries: Entries) -> Entries:
            # again, now under the lock: the blobs may have been there as garbage, and collected since
            self._check_children(children, tag)
            self._write_blob(descriptor, _opener(data), None)
            return put_entry(entries, descriptor, tag, listed)

        self.table.change(put)
        return descriptor.bare

    def delete_manifest(self, reference: str) -> None:
        if ":" not in reference:
            check_tag(reference)
            self.table.change(lambda entries: drop_entries(entries, self.url, reference, tag=reference))
            return
        path = self._blob_path(reference)
        known = self._is_manifest_file(reference)

        def drop(entries: Entries) -> Entries:
            return drop_entries(entries, self.url, reference, digest=reference, may_be_absent=known)

        self.table.change(drop)
        with storage_errors(f"deleting {reference} of {self.url}"), contextlib.suppress(FileNotFoundError):
            os.unlink(path)

    def tags(self) -> Iterator[str]:
        for name in self.table.tagged():
            with contextlib.suppress(InvalidReference):  # other tools write whole image names there
                yield check_tag(name)

    def referrers(
        self, digest: str, artifact_type: Optional[str] = None, listed: Optional[Container[str]] = None
    ) -> List[Descriptor]:
        check_digest(digest)
        found: Dict[str, Descriptor] = {}
        # to read the manifests of a hundred thousand packages for one takes seconds
        for entry in self.table.besides(_WITHOUT_SUBJECT):
            if artifact_type not in (None, entry.get("artifactType") or artifact_type):
                continue
            if self.subject_of(entry["digest"]) == digest and entry["digest"] not in found:
                found[entry["digest"]] = referrer(*self._manifest_by_digest(entry["digest"]))
        for child in self._fallback_referrers(digest):
            found.setdefault(child.digest, child)
        return [d for d in found.values() if artifact_type in (None, d.artifact_type)]

    # Blobs

    def has_blob(self, digest: str) -> bool:
        path = self._blob_path(digest)
        with storage_errors(f"looking for {digest} in {self.url}"):
            try:
                status = os.stat(path)
            except FileNotFoundError:
                return False
            self._use(path, status)
            return stat.S_ISREG(status.st_mode)

    def read_range(self, descriptor: Descriptor, start: int, stop: int) -> bytes:
        """A part of a blob, not verified."""
        with storage_errors(f"reading {descriptor.digest} of {self.url}"):
            try:
                with open(self._blob_path(descriptor.digest), "rb") as f:
                    f.seek(start)
                    return f.read(stop - start)
            except FileNotFoundError:
                raise NotFound(f"{self.url} has no blob {descriptor.digest}") from None

    def open_blob(self, descriptor: Descriptor) -> VerifyingReader:
        try:
            # closed by the reader
            stream = open(self._blob_path(descriptor.digest), "rb")  # noqa: SIM115
        except FileNotFoundError:
            raise NotFound(f"{self.url} has no blob {descriptor.digest}") from None
        except OSError as e:
            raise StorageError.from_os_error(f"reading {descriptor.digest} of {self.url}", e) from e
        return VerifyingReader(stream, descriptor, self.url)

    def put_blob(
        self,
        descriptor: Descriptor,
        source: BlobSource,
        progress: Optional[Progress] = None,
        presence: Presence = Presence.POSSIBLE,
    ) -> bool:
        return self._write_blob(descriptor, source.open, progress)

    def check_writable(self) -> None:
        """See ChecksWriting."""
        if not os.access(self.path, os.W_OK | os.X_OK):
            refused = PermissionError(errno.EACCES, os.strerror(errno.EACCES), self.path)
            raise StorageError.from_os_error(f"writing to {self.url}", refused)

    def check_blob(self, descriptor: Descriptor) -> bool:
        """Whether the blob is there and undamaged (:class:`~spack_oci.content.ChecksBlobs`)."""
        with storage_errors(f"reading {descriptor.digest} of {self.url}"):
            return self._is_sound(self._blob_path(descriptor.digest), descriptor)

    def mount_blob(self, descriptor: Descriptor, from_repository: str) -> bool:
        return False

    def close(self) -> None:
        pass

    # Reading manifests

    def _manifest_by_digest(self, digest: str) -> Tuple[Descriptor, bytes]:
        """A manifest has no media type but what itself or ``index.json`` says; a blob that is none is NotFound."""
        path = self._blob_path(digest)
        missing = NotFound(f"{self.url} has no manifest {digest}")
        with storage_errors(f"reading {digest} of {self.url}"):
            try:
                size = os.stat(path).st_size
            except FileNotFoundError:
                raise missing from None
        if size > MAX_MANIFEST_SIZE:
            raise missing
        data = self._read_manifest(Descriptor(OCI_MANIFEST, digest, size))
        try:
            document = parse_json(data, digest)
        except InvalidContent:
            raise missing from None
        media_type = document.get("mediaType") or self._listed_type(digest) or implied_type(document)
        if not media_type:
            raise missing
        return Descriptor(media_type, digest, size), data

    def _is_manifest_file(self, digest: str) -> bool:
        try:
            self._manifest_by_digest(digest)
        except NotFound:
            return False
        return True

    def _listed_type(self, digest: str) -> Optional[str]:
        return next((e.get("mediaType") for e in self.table.entries() if e["digest"] == digest), None)

    def _read_manifest(self, descriptor: Descriptor) -> bytes:
        if descriptor.size > MAX_MANIFEST_SIZE:
            raise InvalidContent(f"the manifest {descriptor.digest} of {self.url} has {descriptor.size} bytes")
        with storage_errors(f"reading {descriptor.digest} of {self.url}"), self.open_blob(descriptor) as reader:
            return reader.read()

    def _check_children(self, children: Children, tag: Optional[str]) -> None:
        """What a registry answers with MANIFEST_BLOB_UNKNOWN. A subject may come later (distribution-spec)."""
        for child in (*children.manifests, *children.blobs):
            if child.digest not in children.foreign and not self.has_blob(child.digest):
                raise InvalidContent(
                    f"storing {tag or 'a manifest'} in {self.url}: it refers to {child.digest}, which is not there"
                )

    # Referrers

    def subject_of(self, digest: str) -> Optional[str]:
        """The digest that a manifest refers to as its subject, if any."""
        if digest not in self._subjects:
            try:
                self._subjects[digest] = subject_of(self._manifest_by_digest(digest)[1], digest)
            except NotFound:
                return None
        return self._subjects[digest]

    def _fallback_referrers(self, digest: str) -> List[Descriptor]:
        """Of a layout that was copied from a registry without the referrers API."""
        try:
            _, data = self.get_manifest(digest.replace(":", "-"))
        except NotFound:
            return []
        label = f"the list of referrers of {digest} in {self.url}"
        listed = validate(parse_json(data, label), "referrers", label).get("manifests") or ()
        return [d for d in map(Descriptor.from_dict, listed) if self.has_blob(d.digest)]

    # Files

    def _at(self, *parts: str) -> str:
        return os.path.join(self.path, *parts)

    def _blob_path(self, digest: str) -> str:
        algorithm, _, name = check_digest(digest).partition(":")
        return self._at("blobs", algorithm, name)

    def _make_directories(self) -> None:
        """All directories have the mode of the layout's own, so that a group that may write to one may to all."""
        mode = stat.S_IMODE(os.stat(self.path).st_mode)
        for parts in (("blobs",), ("blobs", "sha256"), (PRIVATE,), (PRIVATE, "tmp")):
            with contextlib.suppress(FileExistsError):
                os.mkdir(self._at(*parts))
                set_mode(self._at(*parts), mode)

    def _write_blob(self, descriptor: Descriptor, opener: Callable[[], BinaryIO], progress: Optional[Progress]) -> bool:
        path = self._blob_path(descriptor.digest)
        with storage_errors(f"storing {descriptor.digest} ({descriptor.size} bytes) in {self.url}"):
            if self._is_sound(path, descriptor):
                return False
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with self._replacing(path) as target, VerifyingReader(opener(), descriptor) as reader:
                _pump(reader, target, progress)
            self._sound[path] = identity_of(os.stat(path))
        return True

    def _is_sound(self, path: str, descriptor: Descriptor) -> bool:
        """Whether the blob is there and undamaged. To read it takes less time than to write it, which is what whoever
        asks would do otherwise; and to store it again is how a user repairs a layout."""
        try:
            status = os.stat(path)
            if status.st_size != descriptor.size:
                return False
            known = self._sound.get(path) == identity_of(status)
            if self._use(path, status):
                status = os.stat(path)
            if not known:
                with VerifyingReader(open(path, "rb"), descriptor, self.url) as reader:
                    while reader.read(_CHUNK):
                        pass
            self._sound[path] = identity_of(status)
            return True
        except (FileNotFoundError, DigestMismatch):
            return False

    def _use(self, path: str, status: os.stat_result) -> bool:
        """A blob that may have been garbage will be referred to: what collects garbage counts its grace from now.

        Returns whether the file got a new time of change.
        """
        if time.time() - status.st_mtime > _FRESH:
            with contextlib.suppress(OSError):  # a layout that can only be read, or another user's file in it
                os.utime(path)
                return True
        return False

    def _replace_file(self, name: str, data: bytes) -> None:
        with self._replacing(self._at(name)) as target:
            target.write(data)
        self._sync_directory(self.path)

    @contextlib.contextmanager
    def _replacing(self, path: str) -> Iterator[BinaryIO]:
        """Who may read the layout's directory may read the file, whatever the umask: with a private one, a member of a
        group would take ``index.json`` away from all others."""
        staging = self._at(PRIVATE, "tmp")
        if not os.path.isdir(staging):  # made by another tool, which knows nothing of our directory
            self._make_directories()
        with atomic_write(path, sync=self._durable, staging=staging) as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            shared = mode | os.stat(self.path).st_mode & _READ_BY_OTHERS
            if shared != mode:
                with contextlib.suppress(OSError):  # a file system without modes
                    os.fchmod(file.fileno(), shared)
            yield file

    def _sync_blobs(self) -> None:
        for algorithm in os.listdir(self._at("blobs")):
            self._sync_directory(self._at("blobs", algorithm))

    def _sync_directory(self, path: str) -> None:
        if self._durable:
            sync_directory(path)


def _opener(data: bytes) -> Callable[[], BinaryIO]:
    return lambda: io.BytesIO(data)


def _pump(reader: VerifyingReader, target: BinaryIO, progress: Optional[Progress]) -> None:
    while True:
        chunk = reader.read(_CHUNK)
        if not chunk:
            return
        target.write(chunk)
        if progress:
            progress(len(chunk))
