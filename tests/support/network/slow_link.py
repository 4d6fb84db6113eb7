# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""A TCP proxy that behaves like a link with a round trip time and a bandwidth, both ways together."""

import contextlib
import socket
import threading
import time
from typing import Iterator, Optional

_CHUNK = 32 << 10
#: seconds that a sender may be late (one that slept too long, for example) without the link being idle: its buffer
_BUFFER = 0.01


class _Bucket:
    """Shares ``rate`` bytes a second among all connections."""

    def __init__(self, rate: Optional[float]) -> None:
        self._rate = rate
        self._lock = threading.Lock()
        self._free_at = 0.0

    def take(self, count: int) -> None:
        if not self._rate:
            return
        with self._lock:
            now = time.monotonic()
            self._free_at = max(self._free_at, now - _BUFFER) + count / self._rate
            wait = self._free_at - now
        if wait > 0:
            time.sleep(wait)


@contextlib.contextmanager
def slow_link(target: str, round_trip: float, rate: Optional[float] = None) -> Iterator[str]:
    """``HOST:PORT`` in front of ``target``. ``round_trip``: seconds; ``rate``: bytes a second, None: unlimited.

    A new connection waits for one round trip, and so does every request on it.
    """
    bucket = _Bucket(rate)
    server = socket.create_server(("127.0.0.1", 0), backlog=128)
    host, port = target.rsplit(":", 1)

    def serve() -> None:
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=connect, args=(client,), daemon=True).start()

    def connect(client: socket.socket) -> None:
        time.sleep(round_trip)
        try:
            upstream = socket.create_connection((host, int(port)))
        except OSError:
            client.close()
            return
        threading.Thread(target=pump, args=(client, upstream, round_trip), daemon=True).start()
        pump(upstream, client, 0)

    def pump(source: socket.socket, sink: socket.socket, delay: float) -> None:
        idle_since = 0.0
        try:
            while True:
                data = source.recv(_CHUNK)
                if not data:
                    break
                # what follows at once belongs to the same message, and is in flight already
                if delay and time.monotonic() - idle_since > delay:
                    time.sleep(delay)
                idle_since = time.monotonic()
                bucket.take(len(data))
                sink.sendall(data)
        except OSError:
            pass
        finally:
            for end in (source, sink):
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
                    end.close()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.getsockname()[1]}"
    finally:
        server.close()
