# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""References as people write them."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st
from spack_oci.errors import InvalidReference
from spack_oci.reference import (
    ImageReference,
    LayoutDirectory,
    Repository,
    check_tag,
    parse_image_reference,
    parse_repository,
    parse_url,
    valid_tag,
)

D = "sha256:" + "0123456789abcdef" * 4

#: image reference: (scheme, host, name, tag, digest)
IMAGES = {
    "debian": ("https", "index.docker.io", "library/debian", "latest", None),
    "debian:12": ("https", "index.docker.io", "library/debian", "12", None),
    "library/debian:12": ("https", "index.docker.io", "library/debian", "12", None),
    "user/image": ("https", "index.docker.io", "user/image", "latest", None),
    "docker.io/library/alpine:3.20": ("https", "docker.io", "library/alpine", "3.20", None),
    "ghcr.io/spack/ubuntu24.04:v1.0": ("https", "ghcr.io", "spack/ubuntu24.04", "v1.0", None),
    "ghcr.io/Org/Name:Tag": ("https", "ghcr.io", "org/name", "Tag", None),
    "localhost/x": ("https", "localhost", "x", "latest", None),
    "localhost:5000/x/y:z": ("https", "localhost:5000", "x/y", "z", None),
    "registry:5000/x": ("https", "registry:5000", "x", "latest", None),
    "[::1]:5000/x:y": ("https", "[::1]:5000", "x", "y", None),
    "quay.io/a/b/c/d__e:f": ("https", "quay.io", "a/b/c/d__e", "f", None),
    f"quay.io/a/b@{D}": ("https", "quay.io", "a/b", None, D),
    f"quay.io/a/b:t@{D}": ("https", "quay.io", "a/b", "t", D),
    "oci://ghcr.io/a/b:c": ("https", "ghcr.io", "a/b", "c", None),
    "oci+http://127.0.0.1:5000/a:b": ("http", "127.0.0.1:5000", "a", "b", None),
    "docker://quay.io/a/b": ("https", "quay.io", "a/b", "latest", None),
    "123456789012.dkr.ecr.eu-west-1.amazonaws.com/team/app:1": (
        "https",
        "123456789012.dkr.ecr.eu-west-1.amazonaws.com",
        "team/app",
        "1",
        None,
    ),
    "europe-west1-docker.pkg.dev/project/repo/app": (
        "https",
        "europe-west1-docker.pkg.dev",
        "project/repo/app",
        "latest",
        None,
    ),
}

NO_IMAGES = [
    "",
    ":tag",
    "a:b:c",
    "a@sha256:123",
    f"a@md5:{'0' * 32}",
    "a/b:.tag",
    "a/b:" + "x" * 129,
    "-a/b",
    "a//b",
    "a/b/",
    "a/../b",
    "gh cr.io/a",
    "ghcr.io/a_.b",
    "http://ghcr.io/a",
    "docker:debian",
    "ghcr.io:port/a",
    "ghcr.io/" + "a" * 256,
    "ghcr.io/a\nb",
    "ghcr.io/ä",
    "user@ghcr.io/a",
]

URLS = {
    "oci://ghcr.io/org/cache": Repository("ghcr.io", "org/cache"),
    "oci://ghcr.io/org/cache/": Repository("ghcr.io", "org/cache"),
    "oci://cache": Repository("index.docker.io", "library/cache"),
    "oci://org/cache": Repository("index.docker.io", "org/cache"),
    "oci+http://localhost:5000/cache": Repository("localhost:5000", "cache", "http"),
    "oci+file:///tmp/a%20b": LayoutDirectory("/tmp/a b"),
    "oci+file://localhost/tmp/x/": LayoutDirectory("/tmp/x"),
    "oci+file:///a/../b": LayoutDirectory("/b"),
}

NO_URLS = [
    "oci://",
    "oci://ghcr.io",
    "oci://ghcr.io/",
    "oci://localhost:5000",
    f"oci://ghcr.io/a@{D}",
    "oci://user:s3cret@ghcr.io/a",
    "oci+file://relative",
    "https://ghcr.io/a",
    "ghcr.io/a",
    "",
]


@pytest.mark.parametrize("text", IMAGES)
def test_images(text):
    reference = parse_image_reference(text)
    where = reference.location
    assert (where.scheme, where.host, where.name, reference.tag, reference.digest) == IMAGES[text]


@pytest.mark.parametrize("text", NO_IMAGES)
def test_no_images(text):
    with pytest.raises(InvalidReference):
        parse_image_reference(text)


@pytest.mark.parametrize("url", URLS)
def test_urls(url):
    assert parse_url(url) == URLS[url]


@pytest.mark.parametrize("url", NO_URLS)
def test_no_urls(url):
    with pytest.raises(InvalidReference) as error:
        parse_url(url)
    assert "s3cret" not in str(error.value)


def test_hub_is_asked_under_its_other_name():
    assert parse_url("oci://org/x").endpoint == "https://registry-1.docker.io/v2/org/x"
    assert parse_image_reference("docker.io/library/x").location.api_host == "registry-1.docker.io"


part = st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=8)
component = st.builds(lambda a, s, b: a + s + b, part, st.sampled_from([".", "_", "__", "-", "---"]), part) | part
names = st.lists(component, min_size=1, max_size=4).map("/".join)
hosts = st.builds(
    lambda labels, port: ".".join(labels) + port,
    st.lists(part, min_size=2, max_size=4),
    st.sampled_from(["", ":5000", ":65535"]),
) | st.sampled_from(["localhost", "localhost:5000", "[::1]", "[fe80::1]:5000"])
tags = st.text(string.ascii_letters + string.digits + "_.-", min_size=1, max_size=128).filter(
    lambda t: t[0] not in ".-"
)
digests = st.text("0123456789abcdef", min_size=64, max_size=64).map("sha256:".__add__)


@given(hosts, names, tags | st.none(), digests | st.none(), st.sampled_from(["oci", "oci+http"]))
def test_what_is_written_is_read(host, name, tag, digest, scheme):
    text = f"{host}/{name}" + (f":{tag}" if tag else "") + (f"@{digest}" if digest else "")
    repository = Repository(host, name, "https" if scheme == "oci" else "http")
    expected = ImageReference(repository, tag or (None if digest else "latest"), digest)
    assert parse_image_reference(f"{scheme}://{text}") == expected
    assert parse_url(repository.url) == repository
    again = parse_image_reference(str(expected))
    assert (again.location, again.reference) == (expected.location, expected.reference)


@given(st.text(max_size=80))
def test_any_text_is_a_reference_or_an_error(text):
    for parse in (parse_image_reference, parse_url, parse_repository):
        try:
            parse(text)
        except InvalidReference as e:
            assert "\n" not in e.message


@given(st.text(min_size=1, max_size=300))
def test_any_text_can_be_made_a_tag(text):
    tag = valid_tag(text)
    if tag[0] not in ".-":
        assert check_tag(tag) == tag
