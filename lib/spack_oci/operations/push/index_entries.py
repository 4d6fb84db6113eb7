# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What a push tells the index of the packages that it pushed, so that none is read back."""

from typing import List

from ...index.update.read_package import IndexedPackage, PushedNodes, package_from_push
from .outcome import PushResult


def packages_of_push(result: PushResult) -> List[IndexedPackage]:
    shared = PushedNodes()
    return [
        package_from_push(
            outcome.package.tag,
            outcome.manifest,
            outcome.package.spec_document,
            outcome.layer,
            outcome.relocation_summary,
            licenses=outcome.licenses,
            signed=outcome.signature is not None,
            shared=shared,
        )
        for outcome in result.pushed
        if outcome.manifest is not None and outcome.layer is not None
    ]
