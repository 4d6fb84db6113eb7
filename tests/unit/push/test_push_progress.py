# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What a push says of its packages."""

import io

from spack_oci.descriptor import OCI_LAYER_GZIP, Descriptor
from spack_oci.errors import Forbidden
from spack_oci.operations.push.outcome import FAILED, PUSHED, PackageOutcome, outcome_line
from spack_oci.operations.push.plan import PushSettings
from spack_oci.package.record import Layer
from spack_oci.util.progress import LiveDisplay, PlainLines
from support.memory_store import MemoryStore
from support.packages.prefixes import make_package
from support.packages.push_cases import push


def test_one_line_a_package_in_spacks_words(tmp_path):
    package = make_package(tmp_path, "zlib", version="1.3.1")
    layer = Layer(Descriptor(OCI_LAYER_GZIP, "sha256:" + "a" * 64, 10_000_000), "sha256:" + "b" * 64)
    line = outcome_line(PackageOutcome(package, PUSHED, layer, seconds=2.0))
    assert line == f"Pushed {package.label}: sha256:{'a' * 64} (2.00s, 5.00 MB/s)"


def test_the_cause_of_a_failure_is_for_the_summary(tmp_path):
    package = make_package(tmp_path, "zlib")
    error = Forbidden("sending a blob: 403", status=403, remedy="ask the owner")
    assert outcome_line(PackageOutcome(package, FAILED, error=error)) == f"Failed to push {package.label}"


def test_packages_are_counted(packages, settings):
    lines = []
    push(MemoryStore(), packages, settings, reporter=PlainLines(lines.append))
    assert [line[:6] for line in lines] == ["[1/3] ", "[2/3] ", "[3/3] "]
    lines.clear()
    push(MemoryStore(), packages[:1], settings, reporter=PlainLines(lines.append))
    assert lines[0].startswith("Pushed alpha@")


def test_a_terminal_shows_what_is_read_and_sent(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(LiveDisplay, "INTERVAL", 0.0)
    package = make_package(tmp_path / "store", "big", files={"data": bytes(300_000)})
    stream = io.StringIO()
    push(MemoryStore(), [package], PushSettings(stage=str(tmp_path)), reporter=LiveDisplay(stream))
    said = stream.getvalue()
    assert "0/1 packages, 0 B of " in said and " sent, " in said and "  big" in said
