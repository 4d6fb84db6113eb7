# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""A registry in this process, on a real socket, that misbehaves as it is told.

It keeps everything in memory and speaks the distribution protocol. The tests in
``tests/registry/client/test_registry_store.py`` run against it and against docker-registry, so that what it does
without faults can be believed. ``Behaviour`` is what it is like all the time, a :class:`Fault` what happens to single
requests. By hand, from ``tests/``::

    python -m support.registries.fault_registry --port 5000 --fault 'PUT /blobs/uploads/ status=500 times=3'
"""

import argparse
import contextlib
import socket
import ssl
import sys
import tempfile
import threading
import time
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any, Iterator, List, Optional, Tuple

from support.registries.fault_protocol import Handler
from support.registries.fault_state import Behaviour, Fault, FaultRegistry

__all__ = ["Behaviour", "Fault", "FaultRegistry", "fault_registry"]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64
    context: Optional[ssl.SSLContext] = None

    def __init__(self, *args: Any) -> None:
        self._open: List[socket.socket] = []
        super().__init__(*args)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.append(request)
        super().process_request(request, client_address)

    def server_close(self) -> None:
        """As a process that ends does, close connections that wait for another request, too."""
        super().server_close()
        for request in self._open:
            with contextlib.suppress(OSError):
                request.shutdown(socket.SHUT_RDWR)

    def finish_request(self, request: Any, client_address: Any) -> None:
        if self.context is not None:  # in the connection's own thread, so that a bad handshake hurts nobody else
            request = self.context.wrap_socket(request, server_side=True)
        super().finish_request(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


@contextlib.contextmanager
def fault_registry(*faults: Fault, tls: bool = False, port: int = 0, **behaviour: Any) -> Iterator[FaultRegistry]:
    """``behaviour``: fields of :class:`Behaviour`."""
    with tempfile.TemporaryDirectory(prefix="fault-registry-") as directory:
        certificates = None
        if tls:
            from support.network.private_ca import make_ca

            certificates = make_ca(Path(directory))
        registry = FaultRegistry(
            Behaviour(**behaviour), list(faults), Path(directory), certificates.ca if certificates else None
        )
        server = _Server(("127.0.0.1", port), type("BoundHandler", (Handler,), {"registry": registry}))
        if certificates:
            server.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            server.context.load_cert_chain(certificates.cert, certificates.key)
        registry.host = f"127.0.0.1:{server.server_address[1]}"
        registry.server = server
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield registry
        finally:
            server.shutdown()
            server.server_close()
            thread.join(5)


def parse_fault(text: str) -> Fault:
    """``METHOD PATH NAME=VALUE...``, e.g. ``GET /blobs/ reset_after=1000 times=2``."""
    method, path, *rest = text.split()
    fault = Fault(method, path)
    for item in rest:
        name, _, value = item.partition("=")
        if name.startswith("header:"):
            fault.headers[name.partition(":")[2]] = value
        elif name == "body":
            fault.body = value.encode()
        elif name == "dribble":
            fault.dribble = float(value)
        elif isinstance(getattr(fault, name), bool):
            setattr(fault, name, value.lower() in ("1", "true", "yes"))
        else:
            setattr(fault, name, int(value))
    return fault


def parse_behaviour(text: str) -> Tuple[str, Any]:
    name, _, value = text.partition("=")
    kind = type(getattr(Behaviour(), name))
    return name, value.lower() in ("1", "true", "yes") if kind is bool else kind(value)


def main() -> None:
    parser = argparse.ArgumentParser(description="an in-memory OCI registry with faults, on the loopback interface")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--auth", choices=["basic", "bearer"])
    parser.add_argument("--fault", action="append", default=[], type=parse_fault, metavar="'METHOD PATH NAME=VALUE...'")
    what = "field of Behaviour, e.g. rate=3 burst=3 retry_after=1"
    parser.add_argument("--behaviour", nargs="+", default=[], type=parse_behaviour, metavar="NAME=VALUE", help=what)
    arguments = parser.parse_args()
    behaviour = {"auth": arguments.auth, **dict(arguments.behaviour)}
    with fault_registry(*arguments.fault, tls=arguments.tls, port=arguments.port, **behaviour) as registry:
        print(registry.url, f"(CA: {registry.ca})" if registry.ca else "", flush=True)
        shown = 0
        with contextlib.suppress(KeyboardInterrupt):
            while True:
                time.sleep(0.2)
                for line in registry.requests()[shown:]:
                    print(line, flush=True)
                    shown += 1


if __name__ == "__main__":
    main()
