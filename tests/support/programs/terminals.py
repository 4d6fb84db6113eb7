# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What a program writes to a terminal."""

import contextlib
import fcntl
import os
import pty
import struct
import subprocess
import termios
import threading
from pathlib import Path
from typing import Callable, List, Mapping, Optional, Sequence, Tuple

#: where the line below the others begins anew
REWRITTEN = "\r\x1b[K"


def on_a_terminal(
    argv: Sequence[str],
    env: Mapping[str, str],
    cwd: Path,
    columns: int = 80,
    interrupt: Optional[Callable[[], object]] = None,
) -> Tuple[int, str]:
    """Exit code, and all that was written to a terminal of so many columns and 24 lines.

    ``interrupt``: Ctrl-C is pressed when it returns.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

    def take() -> None:  # Ctrl-C is for the program that has the terminal
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    with subprocess.Popen(
        argv, env=env, cwd=cwd, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True, preexec_fn=take
    ) as process:
        os.close(theirs)
        if interrupt:
            threading.Thread(target=lambda: (interrupt(), os.write(ours, b"\x03")), daemon=True).start()
        shown = b""
        with contextlib.suppress(OSError):  # the terminal is gone when the program ends
            while data := os.read(ours, 65536):
                shown += data
        os.close(ours)
    return process.returncode, shown.decode()


def live_lines(shown: str) -> List[str]:
    """The states of the line that is rewritten, without those that are empty."""
    parts = shown.split(REWRITTEN)[1:]
    return [part for part in parts if part and "\n" not in part]
