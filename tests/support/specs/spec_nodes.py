# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Nodes of packages that nobody built, as Spack writes them."""

import base64
import hashlib


def hash_of(text):
    """32 characters, as a DAG hash has them."""
    return base64.b32encode(hashlib.sha1(text.encode()).digest()).decode().lower()


def edge(node, *types, virtuals=()):
    parameters = {"deptypes": list(types or ("build", "link")), "virtuals": list(virtuals)}
    return {"name": node["name"], "hash": node["hash"], "parameters": parameters}


def make_node(spec, *edges, target="x86_64", os="debian12", platform="linux", external=None, **parameters):
    """``make_node("zlib@1.3.1", edge(gcc, "build", virtuals=["c"]), shared=True)``."""
    name, _, version = spec.partition("@")
    seed = repr((spec, [e["hash"] for e in edges], target, os, sorted(parameters.items()), external))
    node = {
        "name": name,
        "version": version or "1.0",
        "arch": {"platform": platform, "platform_os": os, "target": target},
        "namespace": "builtin",
        "parameters": {"build_system": "generic", **parameters, "cflags": [], "cppflags": []},
        "package_hash": hash_of(name),
    }
    if external:
        node["external"] = {"path": external, "module": None, "extra_attributes": {}}
    if edges:
        node["dependencies"] = list(edges)
    return {**node, "annotations": {"original_specfile_version": 5}, "hash": hash_of(seed)}


def graph_of(*nodes):
    return {node["hash"]: node for node in nodes}
