# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What long work shows of itself: lines in a log, a line that is rewritten on a terminal."""

import contextlib
import io
import sys

import pytest
from spack_oci.cli import output
from spack_oci.util.progress import LiveDisplay, PlainLines, Silent, Work, reporter_for


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def stream():
    return io.StringIO()


def shown(stream):
    """The line that is on the terminal now."""
    return stream.getvalue().rpartition("\033[K")[2]


def test_the_live_line_has_parts_bytes_rate_and_remaining_time(monkeypatch, stream, clock):
    monkeypatch.setenv("COLUMNS", "200")
    reporter = LiveDisplay(stream, clock=clock)
    reporter.begin(Work(4, "packages", 100_000_000, "read"))
    reporter.started("zlib")
    clock.now += 10
    reporter.moved(25_000_000, sent=5_000_000)
    assert shown(stream) == "0/4 packages, 25.0 MB of 100.0 MB read, 5.0 MB sent, 2.5 MB/s, 30s left  zlib"
    drawn = len(stream.getvalue())
    reporter.moved(1)  # too soon after the last
    assert len(stream.getvalue()) == drawn
    reporter.finished("zlib", "Pushed zlib")
    assert "Pushed zlib\n" in stream.getvalue() and shown(stream).startswith("1/4") and "zlib" not in shown(stream)
    reporter.end()
    assert stream.getvalue().endswith("\r\033[K")


def test_the_live_line_is_there_from_the_beginning(monkeypatch, stream, clock):
    monkeypatch.setenv("COLUMNS", "80")
    LiveDisplay(stream, clock=clock).begin(Work(4, "tags read"))
    assert shown(stream) == "0/4 tags read"


def test_what_is_only_sent_has_its_own_rate(monkeypatch, stream, clock):
    monkeypatch.setenv("COLUMNS", "200")
    reporter = LiveDisplay(stream, clock=clock)
    reporter.begin(Work(2))
    clock.now += 2
    reporter.moved(sent=4_000_000)
    assert shown(stream) == "0/2 packages, 4.0 MB sent, 2.0 MB/s"


def test_digests_are_whole_in_a_log_and_short_on_a_terminal(monkeypatch, stream):
    monkeypatch.setenv("COLUMNS", "80")
    line = f"Pushed zlib@1.3: sha256:{'0123456789abcdef' * 4} (0.01s)"
    lines = []
    for reporter in (LiveDisplay(stream), PlainLines(lines.append)):
        reporter.begin(Work(1))
        reporter.finished("zlib", line)
    assert lines == [line] and "Pushed zlib@1.3: sha256:0123456789ab (0.01s)\n" in stream.getvalue()


@pytest.mark.parametrize("columns", [20, 40, 80, 140])
def test_the_live_line_never_wraps(monkeypatch, stream, clock, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    reporter = LiveDisplay(stream, clock=clock)
    reporter.begin(Work(400, "packages", 100_000_000_000, "fetched"))
    for number in range(10):
        reporter.started(f"a-package-with-a-long-name-{number}")
    clock.now += 1
    reporter.moved(1)
    assert 0 < len(shown(stream)) < columns


@pytest.mark.parametrize(
    "columns, line",
    [
        (20, "1/7 packages"),
        (40, "1/7 packages, 12.0 MB/s, 2s left"),
        (60, "1/7 packages, 12.0 MB of 30.0 MB fetched, 12.0 MB/s"),
        (80, "1/7 packages, 12.0 MB of 30.0 MB fetched, 12.0 MB/s, 2s left  zlib@1.3/abcdefg"),
    ],
)
def test_no_part_of_the_live_line_is_cut(monkeypatch, stream, clock, columns, line):
    monkeypatch.setenv("COLUMNS", str(columns))
    reporter = LiveDisplay(stream, clock=clock)
    reporter.begin(Work(7, "packages", 30_000_000, "fetched"))
    clock.now += 1
    reporter.moved(12_000_000)
    reporter.started("zlib@1.3/abcdefg")
    reporter.started("hdf5@1.14.5/abcdefg")
    reporter.finished("-", "")
    reporter.note("a line")
    assert shown(stream) == line


def test_more_than_was_known_of_is_not_shown_as_a_part_of_it(monkeypatch, stream, clock):
    monkeypatch.setenv("COLUMNS", "80")
    reporter = LiveDisplay(stream, clock=clock)
    reporter.begin(Work(7, "tags", 1000, "copied"))
    clock.now += 1
    reporter.moved(1500)
    assert shown(stream) == "0/7 tags, 1.5 kB copied, 1.5 kB/s"


def test_a_log_has_a_line_for_each_part_that_has_one(clock):
    lines, warnings = [], []
    reporter = PlainLines(lines.append, warnings.append, clock)
    reporter.begin(Work(2))
    reporter.started("a")
    reporter.finished("a", "Pushed a")
    reporter.finished("b")
    reporter.warn("careful")
    reporter.end()
    assert lines == ["Pushed a"] and warnings == ["careful"]


def test_a_log_tells_from_time_to_time_of_what_takes_long(clock):
    lines = []
    reporter = PlainLines(lines.append, clock=clock)
    reporter.begin(Work(3, "layers", 30_000_000, "copied"))
    for _ in range(100):
        clock.now += 1
        reporter.moved(100_000)
    assert 5 <= len(lines) <= 7
    assert lines[0] == "0/3 layers, 1.5 MB of 30.0 MB copied, 100.0 kB/s, 4m45s left"


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_the_display_is_for_terminals_alone(stream, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    assert type(reporter_for(Terminal(), print, print)) is LiveDisplay
    assert type(reporter_for(stream, print, print)) is PlainLines
    monkeypatch.setenv("TERM", "dumb")  # Emacs, some CI: no line can be rewritten
    assert type(reporter_for(Terminal(), print, print)) is PlainLines


@pytest.mark.parametrize(
    "environment, is_coloured",
    [({"TERM": "xterm"}, True), ({"TERM": "dumb"}, False), ({"TERM": "xterm", "NO_COLOR": "1"}, False)],
)
def test_colours_are_for_terminals_that_have_them_and_users_who_want_them(monkeypatch, environment, is_coloured):
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "stderr", Terminal())
    output.info("done")
    assert ("\033" in sys.stderr.getvalue(), "==>" in sys.stderr.getvalue()) == (is_coloured, True)


def test_nothing_is_shown_where_the_output_is_a_document(monkeypatch):
    warnings = []
    monkeypatch.setattr(sys, "stderr", Terminal())
    with contextlib.redirect_stdout(sys.stderr):
        reporter = reporter_for(sys.stdout, print, warnings.append)
    reporter.begin(Work(1))
    reporter.finished("a", "line")
    reporter.warn("careful")
    assert sys.stderr.getvalue() == "" and warnings == ["careful"]


def test_lines_and_warnings_are_printed_as_anywhere_else(stream, clock):
    said = []
    reporter = LiveDisplay(stream, said.append, lambda line: said.append(f"Warning: {line}"), clock)
    reporter.begin(Work(1))
    reporter.finished("a", "done")
    reporter.note("noted")
    reporter.warn("careful")
    assert said == ["done", "noted", "Warning: careful"] and shown(stream) == "1/1 packages"


def test_silence(capfd):
    reporter = Silent()
    reporter.begin(Work(1))
    reporter.started("a")
    reporter.moved(1)
    reporter.finished("a", "line")
    reporter.warn("warning")
    reporter.end()
    assert capfd.readouterr() == ("", "")
