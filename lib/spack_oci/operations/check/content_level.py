# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The layer of a package, read from its first byte to its last and unpacked as an install would do it.

What its programs and libraries need is compared by name with what the packages have that they depend on; only where all
of these were read, and all externals among them are C libraries: what is said to lack then lacks for certain, wherever
the package is installed.
"""

import os
import posixpath
import tempfile
from dataclasses import dataclass
from typing import BinaryIO, Dict, FrozenSet, List, Mapping, Optional, Tuple, cast

from ...archive.unpack.extraction import InstallSummary
from ...archive.unpack.layer import unpack_as_built
from ...archive.unpack.staging import temporary_directory
from ...content import ContentReader, SavesBlobs
from ...errors import ArchiveError, ContentError, SpackOciError, UnsafeArchive
from ...image.needs.prefix import PrefixNeeds, needs_of_prefix
from ...package.documents import PackageDocuments
from ...package.relocation_summary import summary_of_annotations
from ...util.files import storage_errors
from ...util.text import elided
from .findings import Finding, Kind, finding_of
from .package_level import PUSH_AGAIN, external_names, runtime_dependencies

_C_LIBRARIES = frozenset({"glibc", "musl"})
#: the files of those, and of the compiler's run time, which a Spack without gcc-runtime leaves to the system
_OF_THE_SYSTEM = (
    "ld-",
    "libc.",
    "libm.",
    "libmvec.",
    "libdl.",
    "librt.",
    "libpthread.",
    "libutil.",
    "libresolv.",
    "libnsl.",
    "libcrypt.",
    "libanl.",
    "libthread_db.",
    "libgcc_s.",
    "linux-vdso.",
    "linux-gate.",
)
#: where builds happen, and nothing is left of them
_BUILD_DIRECTORIES = ("/tmp/", "/var/tmp/", "/dev/shm/")


@dataclass(frozen=True)
class ReadPackage:
    """A package whose layer was read. ``closure``: DAG hashes of what it needs to run; ``externals``: names."""

    tag: str
    dag_hash: str
    closure: Tuple[str, ...]
    externals: FrozenSet[str]
    needs: PrefixNeeds


def read_content(store: ContentReader, documents: PackageDocuments) -> Tuple[Optional[ReadPackage], List[Finding]]:
    """What the layer holds, and what is wrong with it by itself. Raises StorageError of this machine's disk."""
    layer, tag = documents.layer.descriptor, documents.tag
    with storage_errors("unpacking packages to look at them"), tempfile.TemporaryFile() as blob:
        try:
            if isinstance(store, SavesBlobs):
                store.save_blob(layer, blob)
                blob.seek(0)
                return _unpacked(documents, blob)
            with store.open_blob(layer) as reader:
                return _unpacked(documents, cast(BinaryIO, reader))
        except UnsafeArchive as e:
            remedy = "nobody should install it: find out who pushed it, and push it again with --force"
            return None, [finding_of(Kind.UNSAFE, tag, e, remedy, layer.digest)]
        except (ContentError, ArchiveError) as e:
            return None, [finding_of(Kind.LAYER_DAMAGED, tag, e, PUSH_AGAIN, layer.digest)]
        except SpackOciError as e:
            return None, [finding_of(Kind.NOT_CHECKED, tag, e, "verify again", layer.digest)]


def _unpacked(documents: PackageDocuments, stream: BinaryIO) -> Tuple[ReadPackage, List[Finding]]:
    layer = documents.layer.descriptor
    with temporary_directory("spack-oci-verify") as directory:
        summary = unpack_as_built(
            stream,
            layer.media_type,
            directory,
            dag_hash=documents.dag_hash,
            label=documents.tag,
            compressed_size=layer.size,
            announced=summary_of_annotations(documents.annotations),
        )
        needs = needs_of_prefix(directory)
        closure = tuple(dag_hash for dag_hash, _ in runtime_dependencies(documents))
        externals = frozenset(external_names(documents))
        read = ReadPackage(documents.tag, documents.dag_hash, closure, externals, needs)
        return read, _search_paths(documents.tag, needs, summary)


def _search_paths(tag: str, needs: PrefixNeeds, built: InstallSummary) -> List[Finding]:
    """Directories in which nothing can ever be found: of a build, of a package that this one was not built with."""
    prefixes = [built.old_prefix, *built.build_info.hash_to_prefix.values()]
    wrong: Dict[str, str] = {}
    for entry, file in needs.search_paths.items():
        origin = posixpath.dirname(posixpath.join(built.old_prefix, file))
        path = posixpath.normpath(entry.replace("${ORIGIN}", "$ORIGIN").replace("$ORIGIN", origin))
        if not _leads_somewhere(path, prefixes, built.build_info.store_root):
            wrong[entry] = file
    return [
        Finding(
            Kind.SEARCH_PATH,
            tag,
            f"{file} looks for libraries in {ascii(entry)[1:-1] or 'an empty path'}, which leads nowhere",
            "correct the recipe's link flags, or build it in a clean environment, and push it again",
        )
        for entry, file in sorted(wrong.items())
    ]


def _leads_somewhere(path: str, prefixes: List[str], store_root: str) -> bool:
    if any(path == prefix or path.startswith(prefix + "/") for prefix in prefixes):
        return True
    in_build = path.startswith(_BUILD_DIRECTORIES) or "/spack-stage" in path
    return path.startswith("/") and not path.startswith(store_root + "/") and not in_build


def check_libraries(read: Mapping[str, ReadPackage]) -> List[Finding]:
    """``read``: by DAG hash."""
    found = []
    for package in read.values():
        closure = [read.get(dag_hash) for dag_hash in package.closure]
        if None in closure or package.externals - _C_LIBRARIES:
            continue
        there = set(package.needs.provides).union(*(other.needs.provides for other in closure if other is not None))
        missing = [
            f"{name} ({file})"
            for name, file in sorted(package.needs.libraries.items())
            if os.path.basename(name) not in there and not os.path.basename(name).startswith(_OF_THE_SYSTEM)
        ]
        if missing:
            found.append(
                Finding(
                    Kind.LIBRARY_MISSING,
                    package.tag,
                    f"nothing that it depends on has {elided(missing)}",
                    "the build found them in the machine: add the dependency to the recipe, and build it again",
                )
            )
    return found
