# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The documents that ``--json`` prints; ``config_schema/commands`` describes them."""

import sys
from typing import Any

#: it grows when a key changes its meaning or goes, not when one is added
DOCUMENT_VERSION = 1


def print_json(document: Any) -> None:
    """On standard output; objects get their ``version``."""
    if isinstance(document, dict):
        document = {"version": DOCUMENT_VERSION, **document}
    import json  # every start imports this module, and few commands print one

    json.dump(document, sys.stdout, indent=2)
    sys.stdout.write("\n")
