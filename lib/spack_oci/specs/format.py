# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""A concrete spec as text."""

import json
import re
from typing import Any, Mapping

from .constraints import FLAGS, target_name

#: values that need no quotes in a spec (Spack's NO_QUOTES_NEEDED)
_PLAIN = re.compile(r"[a-zA-Z0-9,/_.\-\[\]]+\Z")


def format_node(node: Mapping[str, Any]) -> str:
    """A spec on one line, as ``Spec.format()`` has it since 1.1."""
    version = node["version"]
    exact = "" if "=" in version[1:] or version.startswith("git.") else "="
    text = f"{node['name']}@{exact}{version}"
    parameters = node.get("parameters", {})
    flags = [(name, parameters[name]) for name in sorted(FLAGS & set(parameters)) if parameters[name]]
    text += "".join(f" {name}={_quoted(' '.join(values))}" for name, values in flags) + (" " if flags else "")
    variants = sorted((name, value) for name, value in parameters.items() if name not in FLAGS)
    text += "".join(f"{'+' if value else '~'}{name}" for name, value in variants if isinstance(value, bool))
    text += "".join(f" {_variant(name, value)}" for name, value in variants if not isinstance(value, bool))
    arch = node["arch"]
    return f"{text} platform={arch['platform']} os={arch['platform_os']} target={target_name(node)}"


def _variant(name: str, value: Any) -> str:
    if not isinstance(value, list):
        return f"{name}={_quoted(str(value))}"
    values = [one[:7] for one in value] if name == "patches" else value
    return f"{name}:={_quoted(','.join(values) if values else '*')}"


def _quoted(value: str) -> str:
    if _PLAIN.match(value):
        return value
    return json.dumps(value) if "'" in value else f"'{value}'"
