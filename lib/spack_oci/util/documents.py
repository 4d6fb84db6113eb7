# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The documents that ``--json`` prints; ``config_schema/commands`` describes them."""

import contextlib
import sys
from typing import Any, ContextManager, Iterable, Mapping

#: it grows when a key changes its meaning or goes, not when one is added
DOCUMENT_VERSION = 1


def print_json(document: Any) -> None:
    """On standard output; objects get their ``version``."""
    if isinstance(document, dict):
        document = {"version": DOCUMENT_VERSION, **document}
    import json  # every start imports this module, and few commands print one

    json.dump(document, sys.stdout, indent=2)
    sys.stdout.write("\n")


def print_json_list(document: Mapping[str, Any], name: str, items: Iterable[Any]) -> None:
    """The same for an object whose last member ``name`` is a list, of which only one item has to be in memory."""
    import json

    head = json.dumps({"version": DOCUMENT_VERSION, **document}, indent=2)
    sys.stdout.write(f"{head[:-2]},\n  {json.dumps(name)}: [")
    is_first = True
    for item in items:
        text = json.dumps(item, indent=2).replace("\n", "\n    ")  # no string has a line break
        sys.stdout.write(f"{'' if is_first else ','}\n    {text}")
        is_first = False
    sys.stdout.write("]\n}\n" if is_first else "\n  ]\n}\n")


def messages_apart(json_wanted: bool) -> ContextManager[Any]:
    """Where standard output is a JSON document, what is told on the way goes to standard error."""
    return contextlib.redirect_stdout(sys.stderr) if json_wanted else contextlib.nullcontext()
