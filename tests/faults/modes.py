# SPDX-License-Identifier: (Apache-2.0 OR MIT)
# ruff: noqa: E501  (a table)
"""Registries and proxies that are not like others, and every sub-command: the table of docs/registries.md, played.

Whoever meets another one adds a ``Mode`` here, a row in docs/registries.md, and a field of
:class:`support.registries.fault_state.Behaviour` or a :class:`support.registries.fault_state.Fault` where there is none yet that plays it.
"""

import json
from dataclasses import dataclass, field
from typing import Any, Callable, FrozenSet, List, Mapping, Sequence

from support.registries.fault_state import Behaviour
from support.registries.fault_state import Fault as HttpFault

from faults import operations, walks
from faults.operations import OPERATIONS, Operation
from faults.worlds import NAME, World

FOREVER = 1 << 30


def _image_there(world: World) -> List[str]:
    return [] if "tools" in world.registry.repositories[NAME].tags else ["there is no image"]


def _pruned(world: World) -> List[str]:
    left = walks.packages_of(world.registry.repositories[NAME].tags)
    return [] if left == 1 else [f"{left} packages are left"]


def _nothing(world: World) -> List[str]:
    return []


#: with other arguments below, or with nothing of their own on the wire
_OTHERWISE = frozenset({"copy", "prune", "repair", "verify", "sign", "snapshot"})

#: what a user calls, on a registry
COMMANDS: Sequence[Operation] = (
    *(o for o in OPERATIONS if o.network and o.name not in _OTHERWISE),
    Operation("copy", "copy", lambda w: ("!copy", w.url, w.layout), operations.in_layout, repository="indexed"),
    Operation("show", "show", lambda w: ("show", w.url, "oci-codegen"), _nothing, repository="indexed"),
    Operation("verify", "verify", lambda w: ("!verify", w.url), _nothing, repository="indexed"),
    Operation("prune", "prune", lambda w: ("!prune", w.url, "oci-leaf"), _pruned, repository="indexed"),
    Operation("doctor", "doctor", lambda w: ("doctor", w.url), _nothing, repository="indexed"),
    Operation("export", "export to a file", lambda w: ("export", w.url, f"{w.root}/image.tar", "oci-codegen"), _nothing, repository="indexed"),
    Operation("image", "export to a tag", lambda w: ("export", w.url, "tag:tools", "oci-codegen"), _image_there, repository="indexed"),
)  # fmt: skip

_WRITERS = frozenset({"push", "update-index", "copy-up", "image", "prune"})
_PRUNE = frozenset({"prune"})
#: those that upload layers
_UPLOADERS = frozenset({"push", "copy-up"})
#: those that read the manifest of a package whatever the index says
_OPENERS = frozenset({"copy", "show", "verify", "export", "image"})
_UPDATE = frozenset({"update-index"})
_ALL = frozenset(command.name for command in COMMANDS)


@dataclass(frozen=True)
class Mode:
    """``who``: whose it is; ``behaviour``: fields of :class:`Behaviour`; ``fails``: commands that cannot succeed then.

    ``prepare`` changes the world: what a user has in the home, what the registry holds.
    """

    name: str
    who: str
    behaviour: Mapping[str, Any] = field(default_factory=dict)
    faults: Sequence[Mapping[str, Any]] = ()
    fails: FrozenSet[str] = frozenset()
    #: commands that do what they can, warn, and succeed
    partial: FrozenSet[str] = frozenset()
    prepare: Callable[[World], None] = lambda world: None

    def begin(self, world: World) -> None:
        world.registry.behaviour = Behaviour(**self.behaviour)
        world.registry.faults[:] = [HttpFault(**{"times": FOREVER, **settings}) for settings in self.faults]
        self.prepare(world)


def _fault(method: str, path: str, **more: Any) -> Mapping[str, Any]:
    return {"method": method, "path": path, **more}


def _errors(code: str, message: str) -> bytes:
    return json.dumps({"errors": [{"code": code, "message": message}]}).encode()


def _docker_config(document: Any) -> Callable[[World], None]:
    def write(world: World) -> None:
        path = world.home / ".docker" / "config.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            document if isinstance(document, str) else json.dumps(document).replace("HOST", world.registry.host)
        )

    return write


_LOGIN = _docker_config({"auths": {"HOST": {"auth": "YWxpY2U6Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5"}}})
_STRANGER = _docker_config({"auths": {"HOST": {"auth": "bWFsbG9yeTp3cm9uZw=="}}})
_PUBLIC = {"auth": "bearer", "anonymous_actions": "pull"}
_PROXY_PAGE = b"<html><head><title>413 Request Entity Too Large</title></head><center>nginx/1.25.3</center></html>"


MODES: Sequence[Mode] = (
    Mode("plain", "docker-registry"),
    # limits of requests
    Mode("rate", "ghcr, Docker Hub, ECR: 429", {"rate": 30.0, "burst": 5}),
    Mode("rate-retry-after", "the same, with `Retry-After: 0`", {"rate": 30.0, "burst": 5, "retry_after": "0"}),
    Mode("rate-duration", "ghcr: `Retry-After` as a duration", faults=[_fault("*", "/v2/", times=3, status=429, headers={"Retry-After": "33.939671ms"})]),
    Mode("rate-message", "ghcr: a wait that only the message tells", faults=[_fault("*", "/v2/", times=3, status=429, body=_errors("TOOMANYREQUESTS", "retry-after: 10.305464ms, allowed: 2000/minute"))]),
    Mode("rate-403", "ghcr: 403 for a secondary rate limit", faults=[_fault("*", "/v2/", status=403, body=_errors("DENIED", "You have exceeded a secondary rate limit"))], fails=_ALL),
    Mode("rate-hours", "Docker Hub: 429 for six hours", faults=[_fault("*", "/manifests/", status=429, headers={"Retry-After": "21600"})], fails=_ALL),
    Mode("rate-page", "GitHub's cache service: 429 with a byte order mark", faults=[_fault("*", "/v2/", status=429, headers={"Retry-After": "600"}, body=b'\xef\xbb\xbf{"message":"secondary rate limit","typeKey":"x"}')], fails=_ALL),
    # proxies
    Mode("proxy-413", "nginx, Cloudflare: 413 above some size", {"max_body": 3000}, fails=_UPLOADERS),
    Mode("proxy-413-all", "nginx: 413 to every upload, with a page", faults=[_fault("PUT", "/blobs/uploads/", status=413, body=_PROXY_PAGE), _fault("PATCH", "/blobs/uploads/", status=413, body=_PROXY_PAGE)], fails=_WRITERS),
    Mode("no-head", "proxies: 405 to HEAD", faults=[_fault("HEAD", "/v2/", status=405)]),
    Mode("no-head-501", "object stores: 501 to HEAD", faults=[_fault("HEAD", "/blobs/", status=501)]),
    Mode("compressing", "proxies that compress manifests", {"compresses": True}),
    Mode("cut-idle", "connections that are closed now and then", faults=[_fault("GET", "", truncate=10, times=2)]),
    Mode("gateway-502", "a gateway that is restarted", faults=[_fault("*", "/v2/", status=502, times=4, body=b"<html>502 Bad Gateway</html>")]),
    Mode("captive-portal", "a page to sign in, with 200", faults=[_fault("*", "/v2/", status=200, headers={"Content-Type": "text/html"}, body=b"<html>Sign in</html>")], fails=_ALL),
    Mode("https-location", "no `X-Forwarded-Proto`: `Location` on https", faults=[_fault("POST", "/blobs/uploads/", status=202, headers={"Location": "https://registry.example/v2/team/cache/blobs/uploads/1", "Docker-Upload-UUID": "1"})], fails=_WRITERS | {"doctor"}),
    # registries
    Mode("ecr-no-repository", "ECR: repositories are not created by a push", faults=[_fault("*", "/v2/team/", status=404, body=_errors("NAME_UNKNOWN", "The repository does not exist"))], fails=_ALL),
    Mode("ecr-immutable", "ECR: tags are immutable", faults=[_fault("PUT", "/manifests/index.spack", status=400, body=_errors("TAG_INVALID", "The image tag already exists"))], fails=frozenset({"prune", "push", "update-index", "copy-up"})),
    Mode("no-referrers", "ghcr, GitLab: no referrers API", {"referrers": False}),
    Mode("no-delete", "ghcr: 405 to DELETE", faults=[_fault("DELETE", "/v2/", status=405, body=_errors("UNSUPPORTED", "not allowed"))], fails=_PRUNE),
    Mode("delete-404", "ECR before it could delete: 404 to DELETE of what is there", faults=[_fault("DELETE", "/manifests/", status=404, body=b"404 page not found")], fails=_PRUNE),
    Mode("delete-google", "Google: no manifest is deleted that has a tag", {"delete_tags": True, "keeps_tagged": True}),
    Mode("delete-tags", "zot: tags can be deleted", {"delete_tags": True}),
    Mode("pages", "Quay: pages of tags, `Link`", {"page_size": 1}),
    Mode("pages-last", "pages of tags without `Link`", {"page_size": 1000, "page_style": "last"}),
    Mode("pages-max", "distribution 3.1: pages that its owner limits", {"max_page": 100}),
    Mode("quota", "Harbor: no room left", faults=[_fault("PUT", "/blobs/uploads/", status=403, body=_errors("DENIED", "adding 1.2 GiB of storage resource, which when updated to current usage of 9.9 GiB will exceed the configured upper limit of 10.0 GiB."))], fails=_WRITERS),
    Mode("null-tags", "GitLab: `tags` is null", faults=[_fault("GET", "/tags/", status=200, body=b'{"name": "team/cache", "tags": null}')], fails=frozenset({"prune", "push", "update-index", "copy", "verify"})),
    Mode("no-list", "a list of tags that is none", faults=[_fault("GET", "/tags/", status=200, body=b'{"message": "ok"}')], fails=frozenset({"prune", "push", "update-index", "copy-up", "copy", "verify", "doctor"})),
    Mode("no-mounts", "docker-registry: mounts are refused", {"mounts": False}),
    Mode("relative", "go-containerregistry: relative `Location`", {"location": "relative"}),
    Mode("query", "Artifactory: `Location` with a query", {"location": "query"}),
    Mode("no-digest", "registries that send no `Docker-Content-Digest`", {"digest_header": False}),
    Mode("min-chunk", "`OCI-Chunk-Min-Length`", {"min_chunk": 1 << 20}),
    Mode("stores-once", "Oracle: 409 to a manifest that is there", {"stores_once": True}),
    Mode("upload-invalid", "Nexus: 400 to an upload that it has just opened", faults=[_fault("PUT", "/blobs/uploads/", times=1, status=400, body=_errors("BLOB_UPLOAD_INVALID", "blob upload invalid"))]),
    Mode("blob-unknown", "docker-registry: a blob that another client stores at the same time", faults=[_fault("PUT", "/manifests/", times=2, status=400, body=_errors("MANIFEST_BLOB_UNKNOWN", "blob unknown to registry"))]),
    Mode("listed-404", "a tag that is listed, and 404", faults=[_fault(method, "/manifests/oci-codegen", status=404, body=_errors("MANIFEST_UNKNOWN", "manifest unknown")) for method in ("HEAD", "GET")], fails=_OPENERS, partial=_UPDATE),
    Mode("500-manifest", "a registry that fails for one manifest", faults=[_fault("GET", "/manifests/oci-codegen", status=500)], fails=_OPENERS, partial=_UPDATE),
    Mode("storage-403", "Harbor: blobs are forbidden, manifests are not", faults=[_fault("*", "/blobs/", status=403)], fails=_ALL),
    # credentials
    Mode("early-hints", "CDNs: 102 and 103 before each answer", {"interim": b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>; rel=preload\r\n\r\n"}),
    Mode("private", "a private registry, no credentials", {"auth": "bearer"}, fails=_ALL),
    Mode("private-basic", "the same, with basic authentication", {"auth": "basic"}, fails=_ALL),
    Mode("wrong-password", "a private registry, wrong password", {"auth": "bearer"}, prepare=_STRANGER, fails=_ALL),
    Mode("login", "a private registry, and who may", {"auth": "bearer"}, prepare=_LOGIN),
    Mode("login-basic", "the same, with basic authentication", {"auth": "basic"}, prepare=_LOGIN),
    Mode("login-403", "403 to who is anonymous, where only `/v2/` asks for credentials", {"auth": "basic", "asks_at_base": True}, prepare=_LOGIN),
    Mode("login-401", "401 without a word of how, but at `/v2/`", {"auth": "bearer", "tells_at_base": True}, prepare=_LOGIN),
    Mode("login-kerberos", "a proxy that asks for Kerberos or a password", {"auth": "basic", "challenge": 'Negotiate\nBASIC realm="x"'}, prepare=_LOGIN),
    Mode("access-token", "Azure, Harbor: `access_token`", {"auth": "bearer", "token_field": "access_token"}, prepare=_LOGIN),
    Mode("no-expiry", "tokens without `expires_in`", {"auth": "bearer", "expires_in": False}, prepare=_LOGIN),
    Mode("short-tokens", "tokens that live for a moment", {"auth": "bearer", "token_uses": 8}, prepare=_LOGIN),
    Mode("no-oauth", "token servers that know GET only", {"auth": "bearer", "oauth_post": False}, prepare=_LOGIN),
    Mode("public", "a public registry", _PUBLIC, fails=_WRITERS),
    Mode("no-helper", "`credsStore` of another machine, public registry", _PUBLIC, prepare=_docker_config({"credsStore": "desktop"}), fails=_WRITERS),
    Mode("bad-auth", "an `auth` that is no base64, public registry", _PUBLIC, prepare=_docker_config({"auths": {"HOST": {"auth": "?"}}}), fails=_WRITERS),
    Mode("bad-config", "a config.json that is none, public registry", _PUBLIC, prepare=_docker_config("{"), fails=_WRITERS),
    Mode("realm-no-url", "a realm that is no address", {"auth": "bearer", "challenge": 'Bearer realm="nowhere",service="x"'}, fails=_ALL),
    Mode("realm-gone", "a token server that is not there", {"auth": "bearer", "challenge": 'Bearer realm="http://127.0.0.1:9/token",service="x"'}, fails=_ALL),
)  # fmt: skip
