# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What Spack's configuration, its `config` and our `oci` section, makes of how a registry is talked to (issue 2)."""

import json

import pytest

SETTINGS = """
import json
from spack_oci.reference import parse_url
from spack_oci.spack import mirrors
found = {}
for url in %r:
    place, s = mirrors.registry_of(parse_url(url))
    found[url] = {
        "scheme": place.scheme, "verify_tls": s.verify_tls, "ca_bundle": s.ca_bundle, "client_cert": s.client_cert,
        "client_key": s.client_key, "connect_timeout": s.connect_timeout, "connections": s.connections,
        "ranges": s.parallel_ranges, "max_retry_after": s.retry.max_retry_after, "http_hosts": s.http_hosts,
        "mirrors": [(m.repository.url, m.settings.ca_bundle) for m in s.mirrors],
    }
print(json.dumps(found))
"""


@pytest.fixture
def spack(destination):
    return destination()


def settings(spack, *urls):
    return json.loads(spack.script(SETTINGS % (list(urls),)))


def test_defaults(spack):
    spack.environment.pop("SSL_CERT_FILE", None)
    (found,) = settings(spack, "oci://ghcr.io/org/app").values()
    assert found == {
        **{"scheme": "https", "verify_tls": True, "ca_bundle": None, "client_cert": None, "client_key": None},
        **{"connections": 8, "ranges": 1, "max_retry_after": 120, "connect_timeout": found["connect_timeout"]},
        **{"http_hosts": [], "mirrors": []},
    }


def test_what_spacks_own_config_says(spack, tmp_path):
    certificates = tmp_path / "spack.pem"
    certificates.write_text("")
    config = {"connect_timeout": 33, "verify_ssl": False, "ssl_certs": str(certificates)}
    spack.write_config("config", config, spack.base_scope)
    (found,) = settings(spack, "oci://ghcr.io/org/app").values()
    assert (found["connect_timeout"], found["verify_tls"], found["ca_bundle"]) == (33, False, str(certificates))


def test_what_the_section_says(spack):
    """The longest key that matches; a pull mirror has settings of its own."""
    registries = {
        "ghcr.io": {"ca_bundle": "/host.pem", "max_retry_after": 7},
        "ghcr.io/org": {"ca_bundle": "/org.pem", "client_cert": "/c.pem", "client_key": "/k.pem"},
        "plain.example": {"insecure_http": True, "mirrors": ["oci://ghcr.io/org"]},
    }
    spack.write_config("oci", {"registries": registries, "jobs": {"transfer": 3, "ranges": 4}}, spack.base_scope)
    urls = ["oci://ghcr.io/other/app", "oci://ghcr.io/org/app", "oci://plain.example/a"]
    host, org, plain = settings(spack, *urls).values()
    assert (host["ca_bundle"], host["max_retry_after"], host["client_cert"]) == ("/host.pem", 7, None)
    assert (org["ca_bundle"], org["client_cert"], org["client_key"]) == ("/org.pem", "/c.pem", "/k.pem")
    assert plain["scheme"] == "http" and plain["mirrors"] == [["oci://ghcr.io/org/a", "/org.pem"]]
    assert all(
        (f["connections"], f["ranges"], f["http_hosts"]) == (3, 4, ["plain.example"]) for f in (host, org, plain)
    )
