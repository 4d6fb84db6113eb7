# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""From what sockets, ``http.client``, ``urllib3`` and ``requests`` raise to a TransportError."""

import socket
import ssl
from typing import Any, Iterator, List, Optional

from ...errors import ConnectionLost, TimedOut, TLSFailure, TransportError, Unreachable
from ...util.text import presentable
from .urls import set_command

#: characters of what was wrong
_SHOWN = 300


def transport_error(error: BaseException, action: str, host: str = "HOST") -> TransportError:
    """The error for an exchange without a complete response. ``action``: e.g. ``"GET https://..."``; ``host``:
    ``HOST[:PORT]``.

    ``requests`` and ``urllib3`` wrap what a socket raised, several times over: the innermost cause decides.
    """
    from urllib3 import exceptions

    chain = list(causes(error))

    def caused_by(*kinds: Any) -> Optional[BaseException]:
        return next((cause for cause in chain if isinstance(cause, kinds)), None)

    detail = _detail(chain)
    if caused_by(ssl.SSLEOFError, ssl.SSLZeroReturnError):
        return ConnectionLost(f"{action}: the connection was cut: {detail}")
    if caused_by(ssl.SSLError, ssl.CertificateError, exceptions.SSLError):
        return TLSFailure(f"{action}: TLS failed: {detail}", remedy=_remedy_of_tls(chain, host))
    # before the timeouts: urllib3 derives "refused" from its timeout of connecting
    if caused_by(exceptions.NewConnectionError, exceptions.ProxyError):
        return Unreachable(f"{action}: no connection: {detail}")
    if caused_by(exceptions.ConnectTimeoutError):
        return TimedOut(f"{action}: no connection in time")
    if caused_by(socket.timeout, TimeoutError, exceptions.TimeoutError):
        return TimedOut(f"{action}: no answer in time")
    return ConnectionLost(f"{action}: the connection was lost: {detail}")


#: of OpenSSL's x509_vfy.h: X509_V_ERR_CERT_NOT_YET_VALID, ..._CERT_HAS_EXPIRED
_NOT_IN_ITS_TIME = (9, 10)
#: ..._HOSTNAME_MISMATCH, ..._IP_ADDRESS_MISMATCH
_OF_ANOTHER_HOST = (62, 64)


def _remedy_of_tls(chain: List[BaseException], host: str) -> Optional[str]:
    """None: that of every TLSFailure."""
    code = max((getattr(c, "verify_code", 0) for c in chain), default=0)
    if code in _NOT_IN_ITS_TIME:
        return "the registry needs a new one, or the clock of this machine is wrong"
    if code in _OF_ANOTHER_HOST:
        return f"write the registry's name as it is in its certificate instead of {host}"
    if code:
        return f"name the file of its CA: {set_command(host, 'ca_bundle:/path/to/ca.pem')}"
    if any(getattr(c, "reason", None) in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST") for c in chain):
        return f"if the registry speaks plain http, write oci+http://{host}"
    return None


def causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what it wraps, the outermost first; urllib3 keeps the cause in various places."""
    seen = set()
    todo = [error]
    while todo:
        current = todo.pop(0)
        if id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        inner = [getattr(current, "reason", None), *current.args, current.__cause__, current.__context__]
        todo.extend(e for e in inner if isinstance(e, BaseException))


def _detail(chain: List[BaseException]) -> str:
    """What the system said, without the representations of objects that urllib3 has in its messages."""
    said = next((c for c in chain if isinstance(c, OSError) and c.strerror), chain[-1])
    if isinstance(said, socket.gaierror):
        return f"the host has no address: {said.strerror}"
    # of a message that is no HTTP, it may be what the server sent
    text = presentable((isinstance(said, OSError) and said.strerror) or str(said) or type(said).__name__)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
