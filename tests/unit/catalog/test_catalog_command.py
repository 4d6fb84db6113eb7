# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack-oci catalog`, as a user calls it."""

import json

import jsonschema
import pytest
from spack_oci.cli.main import main
from spack_oci.layout import LayoutStore
from spack_oci.reference import LayoutDirectory
from spack_oci.util.resources import read_schema
from support.packages.cache_builder import push_image
from support.packages.showcase import Showcase


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SPACK_OCI_CACHE", str(tmp_path / "kept"))
    showcase = Showcase().fill()
    showcase.image("tools", ["htop", "vim"])
    return showcase.write(tmp_path / "cache")


def test_a_page_is_written_and_said_where(cache, tmp_path, capsys):
    page = tmp_path / "public"
    assert main(["catalog", str(tmp_path / "cache"), str(page), "--title", "Ours", "--url", "oci://ghcr.io/o/c"]) == 0
    assert f"Wrote {page}/index.html: 119 packages and 1 image of {cache.url}" in capsys.readouterr().err
    assert "<title>Ours</title>" in (page / "index.html").read_text()
    (summary,) = page.glob("*/summary.js")
    assert '"url":"oci://ghcr.io/o/c"' in summary.read_text()


def test_the_document_of_a_page(cache, tmp_path, capsys):
    push_image(cache, "odd")
    assert main(["catalog", str(tmp_path / "cache"), str(tmp_path / "public"), "--json"]) == 1
    output = capsys.readouterr()
    made = json.loads(output.out)
    jsonschema.Draft202012Validator(read_schema("commands/catalog")).validate(made)
    assert (made["packages"], made["images"], made["unreadable"]) == (119, 2, ["odd"])
    assert "the image odd is shown without its content" in output.err


@pytest.mark.parametrize("words, says", [(["--url", "https://x"], "https"), ([], "notes.txt")])
def test_what_makes_no_sense_is_refused_before_anything_is_read(cache, tmp_path, capsys, words, says):
    (tmp_path / "public").mkdir()
    (tmp_path / "public" / "notes.txt").write_text("mine")
    assert main(["catalog", str(tmp_path / "cache"), str(tmp_path / "public"), *words]) == 2
    assert says in capsys.readouterr().err


def test_of_a_cache_that_is_empty_nothing_is_written(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("SPACK_OCI_CACHE", str(tmp_path / "kept"))
    cache = LayoutStore(LayoutDirectory(str(tmp_path / "cache")), durable=False)
    cache.create()
    assert main(["catalog", str(tmp_path / "cache"), str(tmp_path / "public")]) == 1
    assert "a push fills it" in capsys.readouterr().err and not (tmp_path / "public").exists()
