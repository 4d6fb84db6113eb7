# SPDX-License-Identifier: (Apache-2.0 OR MIT)
import io

import pytest
from spack_oci.descriptor import OCI_LAYER_GZIP, Descriptor
from spack_oci.errors import Forbidden
from spack_oci.operations.progress import LiveDisplay, PlainLines
from spack_oci.operations.push.outcome import FAILED, PUSHED, PackageOutcome
from spack_oci.package.record import Layer
from support.prefixes import make_package


@pytest.fixture
def package(tmp_path):
    return make_package(tmp_path, "zlib", version="1.3.1")


def pushed(package, size=10_000_000, seconds=2.0):
    layer = Layer(Descriptor(OCI_LAYER_GZIP, "sha256:" + "a" * 64, size), "sha256:" + "b" * 64)
    return PackageOutcome(package, PUSHED, layer, seconds=seconds)


def test_one_line_a_package_in_spacks_words(package):
    lines, warnings = [], []
    reporter = PlainLines(lines.append, warnings.append)
    reporter.begin(12, 1000)
    for _ in range(3):
        reporter.finished(pushed(package))
    error = Forbidden("sending a blob: 403", status=403, remedy="ask the owner")
    reporter.finished(PackageOutcome(package, FAILED, error=error))
    reporter.warn("careful")
    reporter.end()
    label = package.label
    assert lines[2] == f"[ 3/12] Pushed {label}: sha256:{'a' * 64} (2.00s, 5.00 MB/s)"
    assert lines[3] == f"[ 4/12] Failed to push {label}: sending a blob: 403: ask the owner"
    assert warnings == ["careful"]


def test_a_single_package_is_not_counted(package):
    lines = []
    reporter = PlainLines(lines.append)
    reporter.begin(1, 1000)
    reporter.finished(pushed(package, seconds=0.0))
    assert lines[0].startswith("Pushed zlib@1.3.1/")


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def test_the_live_line_has_packages_bytes_rate_and_remaining_time(package, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    stream, clock = io.StringIO(), Clock()
    reporter = LiveDisplay(stream, clock)
    reporter.begin(4, 100_000_000)
    reporter.started(package)
    clock.now += 10
    reporter.moved(package, read=25_000_000, sent=5_000_000)
    last = stream.getvalue().rpartition("\r")[2]
    assert "0/4 packages, 25.0 MB of 100.0 MB read, 5.0 MB sent, 2.5 MB/s, 30s left  zlib" in last
    drawn = len(stream.getvalue())
    reporter.moved(package, read=1)  # too soon after the last
    assert len(stream.getvalue()) == drawn
    reporter.finished(pushed(package))
    assert "[1/4] Pushed zlib@1.3.1/" in stream.getvalue()
    assert stream.getvalue().rpartition("\r")[2].count("zlib") == 0
    reporter.end()
    assert stream.getvalue().endswith("\r\033[K")


def test_what_is_only_sent_has_its_own_rate(package, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    stream, clock = io.StringIO(), Clock()
    reporter = LiveDisplay(stream, clock)
    reporter.begin(2, 0)
    clock.now += 2
    reporter.moved(package, sent=4_000_000)
    assert "0/2 packages, 4.0 MB sent, 2.0 MB/s" in stream.getvalue()


def test_the_live_line_never_wraps(package, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    stream, clock = io.StringIO(), Clock()
    reporter = LiveDisplay(stream, clock)
    reporter.begin(4, 100_000_000)
    reporter.started(package)
    clock.now += 1
    reporter.moved(package, read=1)
    assert len(stream.getvalue().rpartition("\033[K")[2]) < 40
