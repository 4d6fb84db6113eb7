# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What holds for all tests: the marker of their layer, and that nothing is skipped where everything should be there."""

import functools
import os
import random
import re
import signal
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Dict, List

import pytest
from support.spacks.spack_instance import RELEASE, SUPPORTED

HERE = Path(__file__).resolve().parent

# A shell ignores SIGINT for what it starts in the background, and so would Python and all that it starts; the tests of
# Ctrl-C need it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN and threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser):
    parser.addoption(
        "--spacks",
        choices=["release", "both", "all"],
        default="release",
        help="run tests of Spack on its release alone, but those marked every_spack; or those that depend on its "
        "version on both release and development branch; or all, also those marked one_spack, on all versions",
    )
    parser.addoption("--shuffle", metavar="SEED", help="run modules, and the tests in each, in another order")


#: what takes longest comes first, so that several processes end at about the same time
ORDER = ("spack", "trial", "registry", "fuzz", "faults", "store", "browser", "demo", "unit")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    for item in items:
        layer = _layer(item)
        for needed in ("registry", "spack") if layer == "trial" else (layer,):
            if needed in ("registry", "spack"):
                item.add_marker(getattr(pytest.mark, needed))
    repeated = {item for item in items if _is_repetition(item, config.getoption("--spacks"))}
    config.hook.pytest_deselected(items=list(repeated))
    items[:] = [item for item in items if item not in repeated]
    if config.getoption("--shuffle"):
        _shuffle(items, config.getoption("--shuffle"))
    else:
        items.sort(key=lambda item: ORDER.index(_layer(item)) if _layer(item) in ORDER else -1)


def _layer(item) -> str:
    return _layer_of(item.path)


@functools.cache
def _layer_of(path: Path) -> str:
    return path.resolve().relative_to(HERE).parts[0]


def _shuffle(items, seed: str) -> None:
    """Tests of one module stay together, as they share what is expensive to make."""
    modules: Dict[Path, List[pytest.Item]] = {}
    for item in items:
        modules.setdefault(item.path, []).append(item)
    chance, shuffled = random.Random(seed), list(modules.values())
    chance.shuffle(shuffled)
    for module in shuffled:
        chance.shuffle(module)
    items[:] = [item for module in shuffled for item in module]


def _is_repetition(item, spacks: str) -> bool:
    """Is this a test with another Spack than the release, which `--spacks` does not ask for?"""
    parameters = item.callspec.params.values() if hasattr(item, "callspec") else ()
    version = next((p for p in parameters if isinstance(p, str) and p in SUPPORTED), RELEASE)
    if version == RELEASE or spacks == "all":
        return False
    if spacks == "both":
        return bool(item.get_closest_marker("one_spack"))
    return not item.get_closest_marker("every_spack")


@pytest.fixture(autouse=True)
def hosts_are_unknown():
    """Another test's registry may have had the same port."""
    limiter = sys.modules.get("spack_oci.registry.http.limiter")
    if limiter:
        limiter.forget_rates()


@pytest.fixture
def told():
    """The notices that a user gets from now on."""
    from spack_oci.util import notices

    found: List[str] = []
    notices.send_notices_to(found.append)
    yield found
    notices.send_notices_to(notices.print_notice)


#: ``<Credentials of ...>``, ``<spack_oci.x.Y object at 0x...>``, ``Descriptor(media_type='...')``
_REPRESENTATION = re.compile(r"<[A-Z]\w*[a-z]\w* [^<>]*>|<[\w.]+ object at |\b[A-Z]\w+\(\w+=")


@pytest.fixture(scope="session")
def messages_with_objects():
    """Messages of errors made in this process that show an object of ours and not its name."""
    from spack_oci.errors import SpackOciError

    found, make = [], SpackOciError.__init__

    def make_and_look(self, *arguments, **named):
        make(self, *arguments, **named)
        if _REPRESENTATION.search(str(self)):
            found.append(str(self))

    SpackOciError.__init__ = make_and_look
    yield found
    SpackOciError.__init__ = make


@pytest.fixture(autouse=True)
def no_object_is_shown_in_a_message(messages_with_objects):
    messages_with_objects.clear()
    yield
    assert not messages_with_objects


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
    _tell_of_odd_registries(terminalreporter)


def _tell_of_odd_registries(terminalreporter):
    """The matrix of ``tests/faults/test_modes.py``, where all of it was run: what a user sees, commands with the same
    outcome in one line."""
    seen = {}
    for report in [*terminalreporter.stats.get("passed", []), *terminalreporter.stats.get("failed", [])]:
        for name, value in report.user_properties:
            if name == "odd registry" and report.when == "call":
                who, command, shown = value
                seen.setdefault(who, {}).setdefault(shown, []).append(command)
    if sum(map(len, seen.values())) < 60:
        return
    terminalreporter.section("every sub-command with registries that are not like others")
    for who, outcomes in seen.items():
        terminalreporter.line(who)
        for shown, commands in sorted(outcomes.items()):
            terminalreporter.line(f"    {', '.join(sorted(commands))}: {shown[:300]}")
