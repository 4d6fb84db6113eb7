# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Empty mirrors of every kind for the Spack tests, and skopeo as an independent reader of them.

Kinds: ``layout`` (``oci+file``), ``http`` (``oci+http``, no credentials), ``tls`` (``oci``, a private CA and htpasswd:
what vanilla Spack needs for an index).
"""

import json
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Mapping, Tuple

import pytest

SECRET_VARIABLE = "OCITEST_SECRET"


@dataclass(frozen=True)
class Cache:
    kind: str
    #: the URL of the mirror
    url: str
    #: its entry in mirrors.yaml
    mirror: Dict[str, Any]
    #: what Spack needs in its environment to reach it
    environment: Mapping[str, str] = field(default_factory=dict)
    #: arguments that every skopeo command needs, and the same for the source of a copy
    skopeo_flags: Tuple[str, ...] = ()

    def image(self, tag: str) -> str:
        """As skopeo names it."""
        scheme, _, rest = self.url.partition("://")
        return f"oci:{rest}:{tag}" if scheme == "oci+file" else f"docker://{rest}:{tag}"

    def tags(self) -> List[str]:
        if self.kind == "layout":
            index = json.loads((Path(self.url[len("oci+file://") :]) / "index.json").read_text())
            names = (m.get("annotations", {}).get("org.opencontainers.image.ref.name") for m in index["manifests"])
            return sorted(name for name in names if name)
        repository = self.image("x")[: -len(":x")]
        return sorted(json.loads(skopeo("list-tags", *self.skopeo_flags, repository))["Tags"])

    def raw_manifest(self, tag: str) -> bytes:
        return skopeo("inspect", "--raw", *self.skopeo_flags, self.image(tag)).encode()

    def config(self, tag: str) -> Dict[str, Any]:
        return json.loads(skopeo("inspect", "--raw", "--config", *self.skopeo_flags, self.image(tag)))

    def copy_to_directory(self, tag: str, target: Path) -> List[Path]:
        """``skopeo copy`` into a plain directory; the files of its layers, in order."""
        flags = [f"--src-{flag[2:]}" for flag in self.skopeo_flags]
        skopeo("copy", *flags, self.image(tag), f"dir:{target}")
        manifest = json.loads((target / "manifest.json").read_text())
        return [target / layer["digest"].partition(":")[2] for layer in manifest["layers"]]


def skopeo(*arguments: str) -> str:
    """Run it and return what it printed; the test is skipped where it is not installed."""
    if not shutil.which("skopeo"):
        pytest.skip("needs skopeo (Debian: apt-get install skopeo)")
    done = subprocess.run(["skopeo", *arguments], capture_output=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, f"skopeo {' '.join(arguments)}: {done.stderr.decode(errors='replace')}"
    return done.stdout.decode()


def layout_cache(directory: Path) -> Cache:
    url = f"oci+file://{directory}"
    return Cache("layout", url, {"url": url, "signed": False})


def http_cache(host: str, name: str) -> Cache:
    """``host``: ``localhost:PORT`` of a registry without credentials."""
    url = f"oci+http://{host}/{name}"
    return Cache("http", url, {"url": url, "signed": False}, skopeo_flags=("--tls-verify=false",))


def tls_cache(host: str, name: str, ca: Path, user: str, password: str) -> Cache:
    """``ca``: PEM file; the directory it is in must hold it alone, as skopeo takes directories."""
    url = f"oci://{host}/{name}"
    return Cache(
        "tls",
        url,
        {"url": url, "signed": False, "access_pair": {"id": user, "secret_variable": SECRET_VARIABLE}},
        # Spack's config:ssl_certs is $SSL_CERT_FILE unless it is set
        environment={SECRET_VARIABLE: password, "SSL_CERT_FILE": str(ca)},
        skopeo_flags=(f"--cert-dir={ca.parent}", f"--creds={user}:{password}"),
    )
