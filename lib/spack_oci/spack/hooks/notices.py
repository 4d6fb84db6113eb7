# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What a child of Spack's new installer has to tell, on the terminal of the user.

That installer shows of its children what they are doing, one state after the other. What they print goes into the log
of the package, in 1.1 nowhere before a source build has begun: the reason why a binary cannot be had would be lost. So
it takes the way of the states: the child sends it as one, and the parent, which handles all states in one place, prints
it as a warning. (A parent without this hook shows it as a state.)
"""

import json
import sys
from typing import Any, Callable, List, Optional

import spack.llnl.util.tty as tty

from ..specs import packages

#: begins the states that are notices
_MARK = "warning: "

#: where this process sends its states, in a child of the new installer
_states: List[Any] = []
#: what this process has told of the package that it installs
_told: List[str] = []
#: texts that the parent could not print yet
_waiting: List[str] = []


def tell(text: str) -> None:
    """Warn the user, from whatever process of an install."""
    tty.warn(text)
    _told.append(text)
    for stream in _states:
        stream.write(json.dumps({"state": _MARK + text}) + "\n")


def install_from_buildcache(
    original: Callable, mirrors: Any, spec: Any, unsigned: Optional[bool], state_stream: Any
) -> bool:
    """Hook of the new installer's function of this name, which runs in a child."""
    _states[:] = [state_stream]
    _told.clear()
    try:
        return original(mirrors, spec, unsigned, state_stream)
    except Exception as e:  # re-raised: Spack 1.1 shows nothing of it
        why = _line(e)
        if not any(why in text for text in _told):
            tell(f"{packages.label(spec)} is not installed: {why}")
        raise
    finally:
        _states.clear()


def _line(error: Exception) -> str:
    ours = getattr(error, "error", error)
    return ": ".join(line.strip() for line in str(ours).splitlines()) or type(error).__name__


def update_state(original: Callable, self: Any, build_id: str, state: str) -> None:
    """Hook of ``BuildStatus.update_state`` of the new installer, in the parent."""
    if not state.startswith(_MARK):
        original(self, build_id, state)
        return
    show(self, state[len(_MARK) :])


def show(status: Any, text: str) -> None:
    """In the parent, beside the ``BuildStatus`` of the new installer."""
    _waiting.append(text)
    if not getattr(status, "headless", False):  # in the background: at the end
        _make_room(status)
        print_waiting()


def _make_room(status: Any) -> None:
    """Erase the list of packages at the end of the terminal; it is drawn anew below of what is printed now."""
    if not status.is_tty:
        return
    if status.overview_mode:
        up = f"\033[{status.active_area_rows}A" if status.active_area_rows else ""
        sys.stdout.write(f"{up}\r\033[0J")
        status.active_area_rows = 0
        status.dirty = True
    else:  # a log is followed, which may be in the middle of a line
        sys.stdout.write("\n")
    sys.stdout.flush()


def print_waiting() -> None:
    """In the parent: print what was told."""
    while _waiting:
        tty.warn(_waiting.pop(0))
