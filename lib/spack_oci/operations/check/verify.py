# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Verify a cache: its index, and as many of its packages as are asked for, as deep as is asked for."""

import os
import random
from typing import Dict, List, Optional, Sequence

from ...content import ContentStore
from ...errors import NotFound
from ...package.record import dag_hash_of_tag
from ...util.concurrency.threads import DaemonPool
from ...util.progress import Reporter, Silent, Work
from ..lifecycle.contents import Contents
from .content_level import ReadPackage, check_libraries, read_content
from .findings import BROKEN, CheckedPackage, Finding, Level, Verification
from .index_level import check_index, check_temporaries
from .package_level import BlobLookups, Looked, PackageChecker, Rules


def verify_cache(
    store: ContentStore,
    contents: Contents,
    level: Level = Level.BLOBS,
    rules: Optional[Rules] = None,
    *,
    tags: Optional[Sequence[str]] = None,
    sample: int = 0,
    jobs: int = 8,
    reporter: Optional[Reporter] = None,
) -> Verification:
    """``tags``: only these packages (default: all), and nothing of the cache as a whole; ``sample``: so many of them,
    at random; 0: all. Raises errors that stop all (no answer, not allowed, nothing there: its name may be wrong); what
    befalls one package is a finding.
    """
    if tags is None and not (contents.packages or contents.images or contents.index):
        raise NotFound(f"{contents.url} has neither packages nor an index", remedy="check its name")
    findings = [] if tags is not None else [*check_index(store, contents), *check_temporaries(store)]
    asked = sorted(contents.packages) if tags is None else list(tags)
    if level == Level.INDEX:
        return Verification(contents.url, level, len(asked), (), findings)
    looked_at = sorted(random.sample(asked, sample)) if 0 < sample < len(asked) else asked
    checker = PackageChecker(
        store,
        level,
        rules or Rules(),
        frozenset(dag_hash_of_tag(tag) for tag in contents.packages),
        contents.index,
        BlobLookups(store),
    )
    packages: List[CheckedPackage] = []
    read: Dict[str, ReadPackage] = {}
    shown = reporter or Silent()
    shown.begin(Work(len(looked_at), verb="verified", size=_size(contents, looked_at, level)))

    def one(tag: str) -> "tuple[Looked, Optional[ReadPackage], List[Finding]]":
        looked = checker.look(tag)
        found: List[Finding] = []
        content: Optional[ReadPackage] = None
        if level >= Level.CONTENT and looked.documents and not any(f.kind in BROKEN for f in looked.findings):
            content, found = read_content(store, looked.documents)
            shown.moved(looked.documents.layer.descriptor.size)
        shown.finished(tag)
        return looked, content, found

    # to unpack takes a processor each
    workers = min(jobs, os.cpu_count() or 1) if level >= Level.CONTENT else jobs
    try:
        with DaemonPool(max(1, workers), "verify") as pool:
            for looked, content, found in pool.map(one, looked_at):
                packages.append(looked.package)
                findings += [*looked.findings, *found]
                if content is not None:
                    read[content.dag_hash] = content
    finally:
        shown.end()
    findings += check_libraries(read)
    return Verification(contents.url, level, len(asked), packages, findings)


def _size(contents: Contents, tags: Sequence[str], level: Level) -> int:
    return sum(contents.size_of(tag) for tag in tags) if level >= Level.CONTENT else 0
