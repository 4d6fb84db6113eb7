# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""A write that is refused in a pipeline: the error and `doctor` name the case, and what to do."""

import contextlib
import json
import re

import pytest
from spack_oci.content import put_bytes
from spack_oci.descriptor import OCI_LAYER, sha256_digest
from spack_oci.errors import ConnectionLost, Forbidden, ServerFailure, Unauthorized, Unreachable
from spack_oci.operations.push.writable import skipped_line, why_not_writable
from spack_oci.reference import Repository
from spack_oci.registry import Credentials, RegistrySettings, StaticCredentials, VariableCredentials, open_repository
from spack_oci.registry.http.retry import RetryPolicy
from spack_oci.registry.probe import FAIL, probe_repository
from support.registries.fault_registry import Fault, fault_registry

JOB = Credentials("job", "job-secret")
USERS = {"job": (JOB.password, "pull,push")}


def store_at(registry, *sources):
    sources = sources or (StaticCredentials(registry.host, JOB, "the test"),)
    settings = RegistrySettings(sources, retry=RetryPolicy(attempts=2, base=0.01))
    return open_repository(Repository(registry.host, "team/cache", registry.scheme), settings)


def refused(code, message, status=403, **kwargs):
    body = json.dumps({"errors": [{"code": code, "message": message}]}).encode()
    return Fault("POST", "/blobs/uploads/", status=status, body=body, **kwargs)


@pytest.mark.parametrize(
    "said, remedy",
    [
        ("installation not allowed to Write organization package", "`permissions: packages: write`.*forks"),
        ("installation not allowed to Create organization package", "`permissions: packages: write`"),
        ("permission_denied: write_package", "first pushed by hand.*Manage Actions access"),
        ("permission_denied: The token provided does not match expected scopes.", "write:packages"),
    ],
)
def test_what_ghcr_says_is_explained_by_push_and_doctor(said, remedy):
    with fault_registry(refused("DENIED", said, times=9), auth="basic", users=USERS) as r:
        store = store_at(r)
        with pytest.raises(Forbidden, match=re.escape(said)) as caught:
            store.check_writable()
        assert re.search(remedy, caught.value.remedy), caught.value.remedy
        (check,) = [c for c in probe_repository(store, push=True) if c.name == "push"]
        assert check.status == FAIL and re.search(remedy, check.detail), check
        assert skipped_line("URL", why_not_writable(lambda: store)).startswith(
            "Nothing is pushed to URL (--if-writable)"
        )


def test_credentials_that_expire_in_a_long_job_are_told_from_wrong_ones():
    with fault_registry(refused("UNAUTHORIZED", "no", 401, skip=1, times=9), auth="basic", users=USERS) as registry:
        store = store_at(registry)
        put_bytes(store, b"first", OCI_LAYER)
        with pytest.raises(Unauthorized) as caught:
            put_bytes(store, b"second", OCI_LAYER)
        assert "have expired" in caught.value.remedy and "not sent again" in caught.value.remedy


def test_a_registry_that_is_restarted_in_a_long_job_is_told_from_a_wrong_address():
    with fault_registry() as registry:
        store = store_at(registry)
        put_bytes(store, b"first", OCI_LAYER)
    with pytest.raises(ConnectionLost, match="being restarted"):
        put_bytes(store, b"second", OCI_LAYER)
    other = open_repository(Repository("127.0.0.1:1", "team/cache", "http"), RegistrySettings())
    with pytest.raises(Unreachable, match="check the host name"):
        why_not_writable(lambda: other)


def test_secrets_that_a_fork_does_not_get_are_a_reason_to_skip():
    with fault_registry(auth="basic") as registry:
        unset = VariableCredentials(registry.host, username="me", password_variable="CI_SECRET", env={})
        assert "CI_SECRET, which is not set" in str(why_not_writable(lambda: store_at(registry, unset)))
        anonymous = open_repository(Repository(registry.host, "a/b", "http"), RegistrySettings())
        assert isinstance(why_not_writable(lambda: anonymous), Unauthorized)


def test_what_may_be_written_to_is_left_as_it_was():
    with fault_registry() as registry:
        assert why_not_writable(lambda: store_at(registry)) is None
        assert [m.split()[0] for m in registry.methods()] == ["POST", "DELETE"]


def waiting_store(registry, sleep):
    settings = RegistrySettings(retry=RetryPolicy(outage=60, sleep=sleep))
    return open_repository(Repository(registry.host, "team/cache", registry.scheme), settings)


def test_a_registry_that_is_away_for_half_a_minute_is_waited_for_and_a_line_says_so(told):
    """It comes back on the same port when the waits, which take no time here, add up to that."""
    waited = []
    with contextlib.ExitStack() as later:
        with fault_registry() as registry:
            host = registry.host

            def wait(seconds):
                waited.append(seconds)
                if sum(waited) > 30 and len(told) == 1:
                    told.append("it is back")
                    later.enter_context(fault_registry(port=int(host.rpartition(":")[2])))

            store = waiting_store(registry, wait)
            put_bytes(store, b"first", OCI_LAYER)
        put_bytes(store, b"second", OCI_LAYER)
    assert told == [f"{host} does not answer any more; it is waited for, up to 60 s", "it is back"]


@pytest.mark.parametrize("status", [502, 504])
def test_a_gateway_whose_registry_is_away_is_waited_for_as_long_as_that(status):
    waited = []
    with fault_registry(Fault("HEAD", "/blobs/", status=status, times=999)) as registry:
        store = waiting_store(registry, waited.append)
        with pytest.raises(ServerFailure):
            store.has_blob(sha256_digest(b"x"))
    assert 60 <= sum(waited) <= 66
