# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What somebody meant who writes a mirror as other tools take it."""

import pytest
from spack_oci.reference import suggested_url


@pytest.mark.parametrize(
    "word, meant",
    [
        ("ghcr.io/foo/bar", "oci://ghcr.io/foo/bar"),
        ("ghcr.io/foo", "oci://ghcr.io/foo"),
        ("localhost:5000/x", "oci+http://localhost:5000/x"),
        ("127.0.0.1:5000/x/y", "oci+http://127.0.0.1:5000/x/y"),
        ("registry:5000/x", "oci://registry:5000/x"),
        ("oci:/ghcr.io/x", "oci://ghcr.io/x"),
        ("oci:ghcr.io/x", "oci://ghcr.io/x"),
        ("oci+file:/data/cache", "oci+file:///data/cache"),
        ("docker://ghcr.io/x", "oci://ghcr.io/x"),
        ("https://ghcr.io/x", "oci://ghcr.io/x"),
        ("http://host/x", "oci+http://host/x"),
        ("OCI://ghcr.io/x", "oci://ghcr.io/x"),
        ("Oci+Http://host/x", "oci+http://host/x"),
        ("oci+https://ghcr.io/x", "oci://ghcr.io/x"),
        ("oci+https://localhost:5000/x", "oci://localhost:5000/x"),
        ("oci+files:///data/cache", "oci+file:///data/cache"),
        ("https://me:secret@ghcr.io/x", "oci://ghcr.io/x"),
        ("cache/", "./cache"),
        ("a/b/", "./a/b"),
    ],
)
def test_a_word_that_is_nearly_a_mirror(word, meant):
    assert suggested_url(word) == meant


@pytest.mark.parametrize(
    "word",
    [
        "oci://ghcr.io/x",
        "oci+file:///a",
        "zlib",
        "zlib@1.3",
        "zlib/abcdefg",
        "hdf5+mpi",
        "/abcdefg",
        "file:///a",
        "s3://b/c",
    ],
)
def test_a_word_that_is_a_mirror_or_nothing_like_it(word):
    assert suggested_url(word) == ""
