# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What Spack's configuration, its `config` and our `oci` section, makes of how a registry is talked to."""

import base64
import json

import pytest

pytestmark = pytest.mark.one_spack

SETTINGS = """
import json
from spack_oci.reference import parse_url
from spack_oci.spack.configuration import mirrors
found = {}
for url in %r:
    place, s = mirrors.registry_of(parse_url(url))
    found[url] = {
        "scheme": place.scheme, "verify_tls": s.verify_tls, "ca_bundle": s.ca_bundle, "client_cert": s.client_cert,
        "client_key": s.client_key, "connect_timeout": s.connect_timeout, "connections": s.connections,
        "ranges": s.parallel_ranges, "max_retry_after": s.retry.max_retry_after, "http_hosts": s.http_hosts,
        "outage": s.retry.outage,
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
        **{
            "connections": 8,
            "ranges": 1,
            "max_retry_after": 120,
            "outage": 60,
            "connect_timeout": found["connect_timeout"],
        },
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


CREDENTIALS = """
import json
import spack.mirrors.mirror
from spack_oci.errors import ConfigurationError
from spack_oci.reference import parse_url
from spack_oci.registry.auth.credentials import find_credentials
from spack_oci.spack.configuration import credentials, mirrors

def who(mirror, direction):
    own = credentials.mirror_credentials(mirror, direction)
    place, settings = mirrors.registry_of(parse_url(mirror.get_url(direction)), own)
    try:
        found = find_credentials(settings.credentials, place.host, place.name)
    except ConfigurationError as e:
        return "error: " + e.message
    return found and [found.username, found.password or found.registry_token or found.identity_token, found.origin]

configured = spack.mirrors.mirror.MirrorCollection()
ours = [name for name in configured if mirrors.is_oci_mirror(configured[name])]
print(json.dumps({f"{name} {way}": who(configured[name], way) for name in ours for way in ("fetch", "push")}))
"""


def credentials_of(spack, mirrors):
    """``MIRROR fetch`` and ``MIRROR push`` to user, secret and origin."""
    spack.write_config("mirrors", mirrors, spack.base_scope)
    return json.loads(spack.script(CREDENTIALS))


@pytest.fixture
def secrets(spack):
    spack.environment.update({name: name.lower() for name in ("ID", "SECRET", "TOKEN", "OTHER")})
    spack.environment.update(HOME=str(spack.home), XDG_RUNTIME_DIR=str(spack.home / "run"))
    for name in ("REGISTRY_AUTH_FILE", "DOCKER_CONFIG"):
        spack.environment.pop(name, None)
    return spack


def test_credentials_of_mirrors(secrets):
    url = "oci://r.example/a/b"
    found = credentials_of(
        secrets,
        {
            "pair": {"url": url, "access_pair": {"id": "me", "secret_variable": "SECRET"}},
            "both": {"url": url, "access_pair": {"id_variable": "ID", "secret_variable": "SECRET"}},
            "token": {"url": url, "access_token_variable": "TOKEN"},
            "split": {
                "fetch": {"url": url},
                "push": {"url": url, "access_pair": {"id": "pusher", "secret_variable": "OTHER"}},
            },
            "missing": {"url": url, "access_pair": {"id": "me", "secret_variable": "NOT_THERE"}},
        },
    )
    assert found["pair fetch"] == found["pair push"] == ["me", "secret", "access_pair of mirror pair ($SECRET)"]
    assert found["both fetch"] == ["id", "secret", "access_pair of mirror both ($SECRET)"]
    assert found["token fetch"] == ["", "token", "access_token_variable of mirror token ($TOKEN)"]
    assert found["split fetch"] is None and found["split push"][:2] == ["pusher", "other"]
    assert found["missing fetch"].startswith("error:") and "NOT_THERE, which is not set" in found["missing fetch"]


def test_order_of_credentials(secrets):
    """Mirror, `oci` section with its longest key first, files."""
    pair = base64.b64encode(b"file:from-the-file").decode()
    (secrets.home / ".docker").mkdir()
    config = secrets.home / ".docker" / "config.json"
    config.write_text(json.dumps({"auths": {"r.example": {"auth": pair}, "s.example": {"auth": pair}}}))
    named = secrets.home / "named.json"
    named.write_text(json.dumps({"auths": {"t.example": {"auth": pair}}}))
    registries = {
        "r.example": {"credentials": {"id": "host", "secret_variable": "SECRET"}},
        "r.example/a": {"credentials": {"id_variable": "ID", "secret_variable": "OTHER"}},
        "r.example/token": {"credentials": {"token_variable": "TOKEN"}},
        "t.example": {"credentials": {"docker_config": str(named)}},
        "u.example": {"credentials": {"helper": "not-there"}},
    }
    secrets.write_config("oci", {"registries": registries}, secrets.base_scope)
    found = credentials_of(
        secrets,
        {
            "own": {"url": "oci://r.example/a/b", "access_pair": {"id": "me", "secret_variable": "SECRET"}},
            "longest": {"url": "oci://r.example/a/b"},
            "host": {"url": "oci://r.example/other"},
            "ready": {"url": "oci://r.example/token/x"},
            "file": {"url": "oci://s.example/a"},
            "named": {"url": "oci://t.example/a"},
            "helper": {"url": "oci://u.example/a"},
            "nobody": {"url": "oci://v.example/a"},
        },
    )
    assert found["own fetch"][:2] == ["me", "secret"]
    assert found["longest fetch"] == ["id", "other", "oci:registries:r.example/a:credentials ($OTHER)"]
    assert found["host fetch"] == ["host", "secret", "oci:registries:r.example:credentials ($SECRET)"]
    assert found["ready fetch"] == ["", "token", "oci:registries:r.example/token:credentials ($TOKEN)"]
    assert found["file fetch"] == ["file", "from-the-file", str(config)]
    assert found["named fetch"] == ["file", "from-the-file", f"{named} (oci:registries:t.example:credentials)"]
    assert "docker-credential-not-there is not on PATH" in found["helper fetch"]
    assert found["nobody fetch"] is None


ANONYMOUS = """
import json
import spack.mirrors.mirror
from spack_oci.reference import parse_url
from spack_oci.registry.auth.credentials import find_credentials
from spack_oci.spack.configuration import mirrors

def who(url, direction="push"):
    store = mirrors.open_store(spack.mirrors.mirror.Mirror(url), direction)
    place = parse_url(url)
    found = find_credentials(SOURCES[url], place.host, place.name)
    return found and found.username

SOURCES = {}
original = mirrors.open_repository
mirrors.open_repository = lambda place, settings: SOURCES.update({place.url: settings.credentials})
print(json.dumps({url: who(url) for url in %r}))
"""


def test_a_mirror_that_is_only_a_url_has_the_credentials_of_its_host(secrets):
    """`spack buildcache push URL` and `spack ci rebuild` make such mirrors: that URL first, the section, that host
    by how much of the path is the same; what is for https does not go over plain http."""
    pair = {"id": "url", "secret_variable": "SECRET"}
    secrets.write_config(
        "mirrors",
        {
            "other": {"url": "oci://r.example/a/other", "access_pair": {"id": "host", "secret_variable": "SECRET"}},
            "same": {"url": "oci://r.example/a/b", "access_pair": pair},
            "near": {"url": "oci://r.example/x/y/z", "access_pair": {"id": "near", "secret_variable": "SECRET"}},
            "elsewhere": {"url": "oci://r.example.org/a/b", "access_pair": pair},
            "plain": {"url": "s3://r.example/a"},
        },
        secrets.base_scope,
    )
    section = {"credentials": {"id": "section", "secret_variable": "OTHER"}}
    secrets.write_config("oci", {"registries": {"r.example/team": section}}, secrets.base_scope)
    places = ("r.example/a/b", "r.example/a/c", "r.example/team/c", "r.exampl/a/b", "r.example/x/y/pr")
    urls = [*(f"oci://{place}" for place in places), "oci+http://r.example/a/b"]
    found = json.loads(secrets.script(ANONYMOUS % urls))
    assert [found[url] for url in urls] == ["url", "host", "section", None, "near", None]


def test_a_mirror_that_is_only_an_entry_has_the_credentials_of_the_entry(secrets):
    """`spack ci rebuild-index` makes one of the first entry of a `spack.yaml`."""
    entry = {"url": "oci://r.example/a/b", "access_pair": {"id": "entry", "secret_variable": "SECRET"}}
    script = ANONYMOUS.replace("spack.mirrors.mirror.Mirror(url)", f"spack.mirrors.mirror.Mirror({entry!r})")
    assert json.loads(secrets.script(script % [entry["url"]])) == {entry["url"]: "entry"}


def test_a_secret_in_the_place_of_a_variables_name_is_not_shown(secrets):
    """Spack 1.1 takes `--oci-password SECRET` for the name of a variable."""
    secrets.run(
        "mirror", "add", "--oci-username", "me", "--oci-password-variable", "hunter2!x", "trap", "oci://r.example/a"
    )
    for command in (["oci", "doctor", "trap"], ["oci", "list", "trap"]):
        done = secrets.run(*command, check=False)
        said = done.stdout + done.stderr
        assert done.returncode != 0 and "hunter2" not in said, said
        assert "should name environment variables" in said and "--oci-password" in said
