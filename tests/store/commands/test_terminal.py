# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What long work shows on narrow and wide terminals."""

import pytest
from support.programs.terminals import live_lines, on_a_terminal


@pytest.mark.parametrize("columns", [40, 80, 140])
def test_no_line_that_is_rewritten_is_wider_than_the_terminal(client, cache, store, tmp_path, columns):
    """One that wraps could not be taken away again. Neither is a number in it cut."""
    program = [client.python, "-m", "spack_oci"]
    copied = f"oci+file://{tmp_path}/copy"
    for words in (
        ["install", cache, "oci-stack", "--store", store],
        ["push", store, copied],
        ["update-index", copied],
    ):
        code, shown = on_a_terminal([*program, *map(str, words)], client.env(), client.home, columns)
        lines = live_lines(shown)
        assert code == 0 and lines, shown
        assert max(map(len, lines)) < columns
        units = ("packages", "tags", "read", "fetched", "sent", "/s", "left", "copied", "compared")
        statuses = [line.partition("  ")[0] for line in lines]
        assert all(part.rstrip().endswith(units) for status in statuses for part in status.split(", ")), lines
