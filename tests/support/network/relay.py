# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""A relay to another address on the loopback interface: it makes the way long, or cuts it."""

import contextlib
import socket
import struct
import threading
import time
from typing import Iterator, List, Optional, Sequence

_NEVER = 1 << 62


@contextlib.contextmanager
def relay(target: str, round_trip: float = 0.0, cuts: Sequence[int] = (), answers: bool = False) -> Iterator[str]:
    """The relay's ``HOST:PORT``. ``target``: ``HOST:PORT``.

    ``round_trip``: seconds; half of it is added to each direction, and the whole to the first bytes of a connection,
    for the handshake of TCP. ``cuts``: each connection that sends more than the next of these numbers of bytes is reset
    then; when they are used up, nothing is cut. A list may be changed while the relay runs. ``answers``: what comes
    from the target is counted for this, not what goes there.
    """
    host, _, port = target.partition(":")
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    left: List[int] = cuts if isinstance(cuts, list) else list(cuts)
    lock = threading.Lock()

    def forward(source: socket.socket, sink: socket.socket, extra: float, counted: bool) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while True:
                data = source.recv(1 << 16)
                if round_trip:
                    time.sleep(round_trip / 2 + extra)
                extra = 0.0
                if not data:
                    sink.shutdown(socket.SHUT_WR)
                    return
                kept = before_cut(passed, len(data)) if counted else None
                sink.sendall(data[:kept])
                passed += len(data)
                if kept is not None:
                    with contextlib.suppress(OSError):
                        sink.shutdown(socket.SHUT_RDWR)  # the other thread reads from it, and so keeps it open
                    for end in (source, sink):
                        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                        end.close()
                    return

    def before_cut(passed: int, more: int) -> Optional[int]:
        """How many of ``more`` bytes are let through before the connection is cut; None if it is not."""
        with lock:
            if passed + more < (left[0] if left else _NEVER):
                return None
            return max(0, left.pop(0) - passed)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = socket.create_connection((host, int(port)))
                for end in (client, server):
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for arguments in ((client, server, round_trip, not answers), (server, client, 0.0, answers)):
                    threading.Thread(target=forward, args=arguments, daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.close()
