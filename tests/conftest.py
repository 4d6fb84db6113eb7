# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What holds for all tests: the marker of their layer, and that nothing is skipped where everything should be there."""

import os
import signal
import threading
from collections import Counter
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent

# A shell ignores SIGINT for what it starts in the background, and so would Python and all that it starts; the tests of
# Ctrl-C need it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN and threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items):
    for item in items:
        layer = Path(item.path).resolve().relative_to(HERE).parts[0]
        if layer in ("registry", "spack"):
            item.add_marker(getattr(pytest.mark, layer))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    """Where SPACK_OCI_REQUIRE_REGISTRY=1 (in CI), a test that needs a missing program ("needs ...") fails."""
    outcome = yield
    report = outcome.get_result()
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("SPACK_OCI_REQUIRE_REGISTRY") == "1":
        reason = report.longrepr[2].partition("Skipped: ")[2] if isinstance(report.longrepr, tuple) else ""
        if reason.startswith("needs "):
            report.outcome = "failed"
            report.longrepr = f"{item.nodeid}: {reason}, and SPACK_OCI_REQUIRE_REGISTRY=1"


def pytest_terminal_summary(terminalreporter):
    """One line for each reason why tests were skipped, however many they were."""
    reasons = Counter(
        report.longrepr[2].partition("Skipped: ")[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        for report in terminalreporter.stats.get("skipped", [])
    )
    if reasons:
        terminalreporter.section("skipped")
        for reason, count in sorted(reasons.items()):
            terminalreporter.line(f"{count:4} {reason}")
