# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Connections: pooled, proxied, dropped after a fork; and the policies, as values."""

import base64
import contextlib
import http.client
import io
import os
import select
import socket
import ssl
import subprocess
import sys
import threading
import time

import pytest
import requests
import spack_oci
from spack_oci.descriptor import OCI_LAYER, OCI_MANIFEST, Descriptor, sha256_digest
from spack_oci.errors import (
    ConfigurationError,
    ConnectionLost,
    Forbidden,
    RateLimited,
    ServerFailure,
    TimedOut,
    TLSFailure,
    Unreachable,
)
from spack_oci.reference import Repository
from spack_oci.registry import RegistrySettings, RetryPolicy, open_repository
from spack_oci.registry.http.proxies import proxy_for
from spack_oci.registry.http.tls import tls_context
from spack_oci.registry.http.transport import RequestsTransport
from spack_oci.registry.http.transport_errors import transport_error
from spack_oci.registry.store import transport_for
from support.registries.fault_registry import Fault, fault_registry
from urllib3 import exceptions

DATA = b"some bytes"
DIGEST = sha256_digest(DATA)


def store_at(registry, name="a/b", **kwargs):
    registry.repository(name).blobs[DIGEST] = DATA
    settings = RegistrySettings(ca_bundle=registry.ca, retry=RetryPolicy(attempts=1), **kwargs)
    return open_repository(Repository(registry.host, name, registry.scheme), settings)


def keep_at(registry, data, name="a/b"):
    registry.repository(name).blobs[sha256_digest(data)] = data
    return data


@contextlib.contextmanager
def connections_to(registry):
    """Counts connections on their way to a server, and shows the first bytes of each."""
    host, port = registry.host.split(":")
    with proxy(lambda request: (host, int(port))) as (address, seen):
        registry.host, true_host = address, registry.host
        yield seen
        registry.host = true_host


@contextlib.contextmanager
def proxy(target_of, context=None):
    """A relay. ``target_of``: from the first bytes that a client sends to where they go; ``context``: speak TLS."""
    listener = socket.create_server(("127.0.0.1", 0))
    if context:
        listener = context.wrap_socket(listener, server_side=True)
    seen = []

    def relay(client):
        with client, contextlib.suppress(OSError):
            first = client.recv(65536)
            seen.append(first)
            with socket.create_connection(target_of(first)) as server:
                if first.startswith(b"CONNECT"):
                    client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                else:
                    server.sendall(first)
                ends = {client: server, server: client}
                while True:
                    for end in select.select(list(ends), [], [])[0]:
                        data = end.recv(65536)
                        if not data:
                            return
                        ends[end].sendall(data)

    def accept():
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=relay, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}", seen
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


@pytest.mark.parametrize("tls", [False, True])
def test_one_connection_for_many_requests(tls):
    with fault_registry(tls=tls) as registry, connections_to(registry) as seen:
        first, second = store_at(registry), store_at(registry, "c/d")
        for _ in range(5):
            assert first.has_blob(DIGEST) and second.has_blob(DIGEST)
            assert not first.has_blob(sha256_digest(b"missing"))
        assert len(seen) == 1


def test_http_proxy(monkeypatch):
    with fault_registry() as registry:
        host, port = registry.host.split(":")
        with proxy(lambda first: (host, int(port))) as (address, seen):
            monkeypatch.setenv("http_proxy", f"http://user:pr0xy-secret@{address}")
            monkeypatch.setenv("no_proxy", "elsewhere.example")
            assert store_at(registry).has_blob(DIGEST)
            assert len(seen) == 1 and seen[0].startswith(b"HEAD http://")
            assert base64.b64encode(b"user:pr0xy-secret") in seen[0]


def test_large_blob_through_a_proxy(monkeypatch):
    data = os.urandom(3_000_000)
    with fault_registry() as registry:
        host, port = registry.host.split(":")
        store = store_at(registry)
        keep_at(registry, data)
        with proxy(lambda first: (host, int(port))) as (address, seen):
            monkeypatch.setenv("http_proxy", f"http://{address}")
            file = io.BytesIO()
            store.save_blob(Descriptor.of(data, OCI_LAYER), file)
            assert file.getvalue() == data and len(seen) == 1


def test_https_proxy_and_no_proxy(monkeypatch):
    with fault_registry(tls=True) as registry:
        host, port = registry.host.split(":")
        with proxy(lambda first: (host, int(port))) as (address, seen):
            monkeypatch.setenv("https_proxy", address)
            assert store_at(registry, connections=1).has_blob(DIGEST)
            assert len(seen) == 1 and seen[0].startswith(b"CONNECT " + registry.host.encode())
            monkeypatch.setenv("no_proxy", "127.0.0.1")
            assert store_at(registry, connections=2).has_blob(DIGEST)
            assert len(seen) == 1


@pytest.mark.parametrize(
    "no_proxy, url, is_exempt",
    [
        ("10.0.0.0/8", "http://10.1.2.3:5000", True),
        ("fd00::/8", "http://[fd00::1]:5000", True),
        ("a.example, fd00::/8", "https://[fd00::1]", True),
        ("fd00::/8", "http://[fe80::1]:5000", False),
        ("[fd00::1]", "http://[fd00::1]:5000", True),
        ("[fd00::1]:5000", "http://[fd00::1]:5000", True),
        ("[fd00::1]:5001", "http://[fd00::1]:5000", False),
        ("10.1.2.3:5000", "http://10.1.2.3:5000", True),
        ("10.1.2.3:443", "https://10.1.2.3", True),
        ("10.1.2.3:5000", "http://10.1.2.3", False),
        ("10.1.2.0/33,fd00::/200,x:y:z,[,:,/", "http://10.1.2.3", False),
        ("reg.example:5000", "http://reg.example:5000", True),
        ("reg.example:5000", "http://reg.example:5001", False),
    ],
)
def test_what_no_proxy_names_is_reached_directly(no_proxy, url, is_exempt, monkeypatch):
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://proxy.example:1")
    monkeypatch.setenv("no_proxy", no_proxy)
    assert (proxy_for(url) is None) == is_exempt


def test_proxy_behind_tls(monkeypatch):
    """Its certificate is held against the same CA as the registry's."""
    with fault_registry(tls=True) as registry:
        host, port = registry.host.split(":")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(registry.directory / "cert.pem", registry.directory / "key.pem")
        with proxy(lambda first: (host, int(port)), context) as (address, seen):
            monkeypatch.setenv("https_proxy", f"https://{address}")
            assert store_at(registry, connections=6).has_blob(DIGEST)
            assert seen[0].startswith(b"CONNECT ")
            monkeypatch.setenv("REQUESTS_CA_BUNDLE", "")
            with pytest.raises(TLSFailure):
                open_repository(Repository(registry.host, "a/b"), RegistrySettings(connections=7)).has_blob(DIGEST)


@pytest.mark.parametrize("tls, tls_proxy", [(False, False), (True, False), (True, True)])
@pytest.mark.parametrize("where", ["head", "body"])
def test_slow_loris_behind_a_proxy(where, tls, tls_proxy, monkeypatch):
    """A byte now and then is silence: in the status line, and in the body of a blob that began well."""
    pause = {"head": 0.05, "body": 0.001}[where]
    fault = Fault("HEAD" if where == "head" else "GET", dribble=pause, times=9)
    with fault_registry(fault, tls=tls) as registry:
        host, port = registry.host.split(":")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if tls_proxy else None
        if context:
            context.load_cert_chain(registry.directory / "cert.pem", registry.directory / "key.pem")
        with proxy(lambda first: (host, int(port)), context) as (address, seen):
            for scheme in ("http", "https"):
                monkeypatch.setenv(f"{scheme}_proxy", f"{'https' if tls_proxy else 'http'}://{address}")
            store = store_at(registry, read_timeout=0.5, minimum_rate=100_000)
            with pytest.raises(TimedOut):
                if where == "head":
                    store.has_blob(DIGEST)
                else:
                    data = b"x" * (2 << 20)
                    store.open_blob(Descriptor.of(keep_at(registry, data), OCI_LAYER)).read()
            assert len(registry.requests()) == 1 and len(seen) == 1


def test_proxy_that_trickles_itself(monkeypatch):
    """While it makes the tunnel; that counts as connecting."""

    def trickle():
        client = listener.accept()[0]
        with client, contextlib.suppress(OSError):
            for byte in b"HTTP/1.1 200 OK\r\n" + b"X-Wait: a bit\r\n" * 999:
                client.sendall(bytes([byte]))
                time.sleep(0.05)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=trickle, daemon=True).start()
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{listener.getsockname()[1]}")
        settings = RegistrySettings(connect_timeout=0.5, minimum_rate=100_000, retry=RetryPolicy(attempts=1))
        started = time.monotonic()
        with pytest.raises((TimedOut, Unreachable)):
            open_repository(Repository("registry.invalid", "a/b"), settings).has_blob(DIGEST)
        assert time.monotonic() - started < 100


def test_proxy_that_is_not_there(monkeypatch):
    monkeypatch.setenv("http_proxy", "http://user:pr0xy-secret@127.0.0.1:1")
    with fault_registry() as registry, pytest.raises(Unreachable) as error:
        store_at(registry).has_blob(DIGEST)
    assert "pr0xy" not in str(error.value) and "through the proxy 127.0.0.1:1" in str(error.value)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_makes_its_own_connections():
    """Two processes that write into one TLS session destroy it for both."""
    with fault_registry(tls=True) as registry, connections_to(registry) as seen:
        store = store_at(registry)
        assert store.has_blob(DIGEST)
        child = os.fork()
        if child == 0:
            status = 1
            try:
                status = 0 if all(store.has_blob(DIGEST) for _ in range(3)) else 2
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert store.has_blob(DIGEST)
        assert len(seen) == 2


@pytest.mark.parametrize("tls", [False, True])
def test_idle_connection_that_the_server_closed(tls, monkeypatch):
    """Also when that happens between the look at the connection and the request."""
    with fault_registry(tls=tls) as registry, connections_to(registry) as seen:
        store = store_at(registry)
        assert store.has_blob(DIGEST)
        pool = transport_for(store.settings).session().get_adapter(registry.url).get_connection(f"{registry.url}/")
        for is_noticed in (True, False):
            if not is_noticed:
                monkeypatch.setattr("urllib3.connectionpool.is_connection_dropped", lambda connection: False)
            (idle,) = pool.pool._connections
            idle.sock.shutdown(socket.SHUT_RDWR)
            assert store.has_blob(DIGEST)
        assert len(seen) == 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_while_another_thread_holds_the_locks():
    with fault_registry() as registry:
        store = store_at(registry)
        with transport_for(store.settings)._lock, store.client.authorizer._lock:
            child = os.fork()
            if child == 0:
                status = 1
                try:
                    status = 0 if store.has_blob(DIGEST) else 2
                finally:
                    os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_small_body_goes_with_its_head():
    with fault_registry() as registry, connections_to(registry) as seen:
        store_at(registry, connections=2).put_manifest(b'{"small": true}', OCI_MANIFEST, "tag")
        (first,) = seen
        assert first.startswith(b"PUT ") and first.endswith(b'{"small": true}')


def test_user_agent():
    with fault_registry() as registry:
        store_at(registry).has_blob(DIGEST)
        assert registry.seen[0][2]["User-Agent"].startswith("spack-oci/")


def test_many_threads():
    with fault_registry(tls=True) as registry:
        store = store_at(registry, connections=4)
        found = []
        threads = [
            threading.Thread(target=lambda: found.extend(store.has_blob(DIGEST) for _ in range(20))) for _ in range(8)
        ]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert found == [True] * 160


def test_ca_bundle_wins_over_the_environment(monkeypatch, tmp_path):
    with fault_registry(tls=True) as registry, fault_registry(tls=True) as other:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", other.ca)
        assert store_at(registry).has_blob(DIGEST)
        repository = Repository(registry.host, "a/b")
        with pytest.raises(TLSFailure):
            open_repository(repository, RegistrySettings(connections=3)).has_blob(DIGEST)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", registry.ca)
        assert open_repository(repository, RegistrySettings(connections=5)).has_blob(DIGEST)


def test_what_is_wrong_with_tls_decides_what_to_do():
    with fault_registry(tls=True) as registry, fault_registry() as plain:
        for host, remedy in (
            (
                registry.host,
                f"""`spack config add "oci:registries:{{'{registry.host}': {{ca_bundle: /path/to/ca.pem}}}}"`""",
            ),
            (plain.host, f"if the registry speaks plain http, write oci+http://{plain.host}"),
        ):
            store = open_repository(Repository(host, "a/b"), RegistrySettings(ca_bundle=None))
            with pytest.raises(TLSFailure) as error:
                store.has_blob(DIGEST)
            assert error.value.remedy.endswith(remedy)


@pytest.mark.parametrize("code, remedy", [(10, "the clock of this machine"), (62, "instead of host:1")])
def test_what_is_wrong_with_a_certificate_decides_what_to_do(code, remedy):
    error = ssl.SSLCertVerificationError("certificate verify failed")
    error.verify_code = code
    assert remedy in transport_error(error, "GET something", "host:1").remedy


@pytest.mark.parametrize("field", ["ca_bundle", "client_cert"])
def test_certificates_that_are_not_there(field):
    with pytest.raises(ConfigurationError, match="/not/there"):
        tls_context(RegistrySettings(**{field: "/not/there"}))


def test_client_certificate(tmp_path):
    """The server asks for one, signed by the same CA."""
    with fault_registry(tls=True) as registry:
        cert, key = registry.directory / "cert.pem", registry.directory / "key.pem"
        registry.server.context.verify_mode = ssl.CERT_REQUIRED
        registry.server.context.load_verify_locations(registry.ca)
        with pytest.raises((TLSFailure, ConnectionLost)):
            store_at(registry).has_blob(DIGEST)
        assert store_at(registry, client_cert=str(cert), client_key=str(key)).has_blob(DIGEST)


def test_connect_timeout():
    """An address that swallows packets: a listening socket whose queue is full."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, contextlib.ExitStack() as stack:
        for _ in range(4):
            s = stack.enter_context(socket.socket())
            s.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                s.connect(listener.getsockname())
        started = time.monotonic()
        settings = RegistrySettings(connect_timeout=0.3, read_timeout=0.3, retry=RetryPolicy(attempts=1))
        with pytest.raises(TimedOut):
            RequestsTransport(settings).send("GET", f"http://127.0.0.1:{listener.getsockname()[1]}/v2/", {})
        assert time.monotonic() - started < 100, "the system itself would try for two minutes"


# -- policies -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error, retried",
    [
        (RateLimited("", status=429), True),
        (ServerFailure("", status=500), True),
        (ServerFailure("", status=501), False),
        (Forbidden("", status=403), False),
        (ConnectionLost(""), True),
        (TimedOut(""), True),
        (TLSFailure(""), False),
        (Unreachable(""), False),
    ],
)
def test_what_is_retried(error, retried):
    policy = RetryPolicy(attempts=2)
    assert (policy.wait_before_retry(error, 1) is not None) == retried
    assert policy.wait_before_retry(error, 2) is None


def test_backoff():
    policy = RetryPolicy(attempts=99, base=1, cap=8, jitter=0)
    assert [policy.backoff(n) for n in range(1, 6)] == [1, 2, 4, 8, 8]
    waits = {RetryPolicy(base=1, jitter=0.5).backoff(1) for _ in range(50)}
    assert len(waits) > 10 and min(waits) >= 0.5 and max(waits) <= 1


def test_retry_after_within_the_limit_is_obeyed():
    policy = RetryPolicy(max_retry_after=60)
    assert policy.wait_before_retry(RateLimited("", status=429, retry_after=60), 1) == 60
    assert policy.wait_before_retry(RateLimited("", status=429, retry_after=61), 1) is None
    assert policy.wait_before_retry(ServerFailure("", status=503, retry_after=0), 1) == 0


@pytest.mark.parametrize(
    "error, kind",
    [
        (ssl.SSLCertVerificationError("self-signed"), TLSFailure),
        (ConnectionResetError(104, "reset"), ConnectionLost),
        (ssl.SSLEOFError("EOF occurred"), ConnectionLost),
        (ssl.SSLZeroReturnError("closed"), ConnectionLost),
        (http.client.IncompleteRead(b"", 7), ConnectionLost),
        # the same, as urllib3 and requests wrap them
        (exceptions.SSLError(ssl.SSLCertVerificationError("self-signed")), TLSFailure),
        (exceptions.SSLError("pyOpenSSL"), TLSFailure),
        (exceptions.ProtocolError("aborted", ConnectionResetError(104, "reset")), ConnectionLost),
        (exceptions.ReadTimeoutError(None, None, "slow"), TimedOut),
        (exceptions.ConnectTimeoutError(None, "slow"), TimedOut),
        (exceptions.ProxyError("no", OSError("no")), Unreachable),
        (exceptions.NewConnectionError(None, "refused"), Unreachable),
        (
            requests.ConnectionError(exceptions.MaxRetryError(None, "", exceptions.NewConnectionError(None, ""))),
            Unreachable,
        ),
        (requests.ConnectionError(exceptions.ProtocolError("aborted", socket.timeout("slow"))), TimedOut),
        (requests.exceptions.SSLError(exceptions.MaxRetryError(None, "", ssl.SSLEOFError("EOF"))), ConnectionLost),
        (socket.timeout("timed out"), TimedOut),
        (BrokenPipeError(32, "Broken pipe"), ConnectionLost),
    ],
)
def test_failures_are_named_by_kind(error, kind):
    assert type(transport_error(error, "GET something")) is kind


def test_no_such_host():
    with pytest.raises(Unreachable, match="no-such-host.invalid"):
        open_repository(Repository("no-such-host.invalid", "a/b"), RegistrySettings()).has_blob(DIGEST)


def test_start_up_cost():
    """Nobody pays for requests and urllib3, 70 ms, before the first request."""
    code = (
        "import sys; from spack_oci.registry import open_repository; from spack_oci.reference import Repository;"
        "open_repository(Repository('a.example', 'b'));"
        "print([m for m in ('requests', 'urllib3') if m in sys.modules])"
    )
    library = os.path.dirname(os.path.dirname(spack_oci.__file__))
    done = subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": library}, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_fault_is_consumed_once():
    """The fault registry's own bookkeeping, on which the counts of the other tests rest."""
    fault = Fault("GET", "/x", times=1, skip=1)
    assert [fault.applies_to("GET", "/x/1") for _ in range(4)] == [False, True, False, False]
    assert not Fault("GET", "/x").applies_to("PUT", "/x") and Fault("*").applies_to("PUT", "/x")
