# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""From a cache to its page."""

from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Protocol, Tuple

from ..content import ManifestReader
from ..errors import SpackOciError
from ..index.read import IndexDocument
from ..reference import parse_url
from ..util.progress import Reporter
from ..util.sizes import format_size
from ..util.text import counted
from .contents import Contents, ImagesStore, IndexStore, read_builds, read_images, read_signers
from .directory import check_directory, write_directory
from .page import index_file, page_files
from .pieces import Heading


class CatalogStore(ImagesStore, ManifestReader, Protocol):
    """What :func:`make_catalog` reads of a cache besides its index."""


@dataclass(frozen=True)
class Made:
    """What a page was made of; ``unreadable``: tags of images that could not be read."""

    mirror: str
    directory: str
    packages: int
    images: int
    files: int
    bytes: int
    unreadable: Tuple[str, ...]

    def to_dict(self) -> Dict[str, Any]:
        return {**vars(self), "unreadable": list(self.unreadable)}

    def lines(self) -> List[str]:
        """For people."""
        label = f"{counted(self.packages, 'package')} and {counted(self.images, 'image')} of {self.mirror}"
        return [f"Wrote {self.directory}/index.html: {label}, {counted(self.files, 'file')}, {format_size(self.bytes)}"]


def heading_for(store_url: str, title: Optional[str], url: Optional[str]) -> Heading:
    """``url``: how readers name the cache. Raises InvalidReference for one that is no mirror URL."""
    shown = parse_url(url).url if url else store_url
    return Heading(title or shown, shown)


def make_catalog(
    store: CatalogStore,
    index_store: IndexStore,
    index: IndexDocument,
    directory: str,
    heading: Heading,
    reporter: Reporter,
) -> Made:
    """Write the page of a cache. Requests: those of the tags and the images, and two for the signatures.

    Raises ConfigurationError for a directory that holds something else, StorageError, and what the stores raise; then
    the directory is as it was.
    """
    check_directory(directory)
    unreadable: List[str] = []

    def failed(tag: str, error: SpackOciError) -> None:
        unreadable.append(tag)
        reporter.warn(f"the image {tag} is shown without its content: {error}")

    # first: what is known of all tags, of which a layout reads the whole table, need not be in memory meanwhile
    builds = read_builds(index, read_signers(index_store, index))
    images = read_images(store, failed)
    contents = Contents(builds, images, index.digest)
    written = write_directory(directory, page_files(contents, heading), lambda name: index_file(name, heading))
    packages = sum(build.is_cached for build in builds)
    return Made(store.url, directory, packages, len(images), written.files, written.size, tuple(sorted(unreadable)))
