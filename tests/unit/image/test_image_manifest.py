# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Config and manifest of images: Spack's format, reproducible, valid, never of two vocabularies."""

import json

import jsonschema
import pytest
from spack_oci import descriptor as d
from spack_oci.errors import ImageError
from spack_oci.image import manifest as m
from spack_oci.package.record import Package
from support.images import image_spec


def layer(content: bytes, media_type: str = d.OCI_LAYER_GZIP, label: str = "") -> m.Layer:
    return m.Layer(d.Descriptor.of(content, media_type), d.sha256_digest(b"tar of " + content), label)


def package(**changes) -> Package:
    values = {
        "name": "app",
        "version": "1.0",
        "dag_hash": "a" * 32,
        "prefix": "/store/app-1.0-aaaaaaa",
        "spec_document": {"spec": {"_meta": {"version": 5}, "nodes": [{"name": "app", "hash": "a" * 32}]}},
        "description": "app@=1.0 build_system=generic",
        "platform": ("linux", "amd64"),
        "runtime": [("b" * 32, "lib@2/bbbbbbb"), ("a" * 32, "app@1.0/aaaaaaa")],
        "build_info": {"hash_to_prefix": {}, "sbang_install_path": "/store/bin/sbang", "buildpath": "/store"},
        "layout_version": 2,
        "environment": lambda env: {**env, "PATH": "/store/app/bin:" + env["PATH"], "APP_HOME": "/store/app"},
    }
    values.update(changes)
    return Package(**values)


def base(docker: bool = False, **config) -> m.Base:
    kind = d.DOCKER_LAYER_GZIP if docker else d.OCI_LAYER_GZIP
    document = {
        "architecture": "amd64",
        "os": "linux",
        "variant": "v2",
        "created": "2024-01-02T03:04:05Z",
        "config": {
            "Env": ["PATH=/usr/local/bin:/usr/bin", "LANG=C.UTF-8"],
            "Labels": {"maintainer": "somebody", "org.opencontainers.image.url": "https://debian.example"},
            "User": "nobody",
            "Volumes": {"/data": {}},
            "StopSignal": "SIGINT",
            "Cmd": ["bash"],
        },
        "rootfs": {"type": "layers", "diff_ids": [d.sha256_digest(b"base")]},
        "history": [{"created_by": "debootstrap"}, {"created_by": "CMD bash", "empty_layer": True}],
    }
    document.update(config)
    document = {k: v for k, v in document.items() if v is not None}
    manifest = {
        "schemaVersion": 2,
        "mediaType": d.DOCKER_MANIFEST if docker else d.OCI_MANIFEST,
        "config": {"mediaType": "x/y", "digest": d.sha256_digest(b"c"), "size": 1},
        "layers": [d.Descriptor.of(b"base", kind).to_dict()],
    }
    return m.Base(manifest, document, "debian:12", d.sha256_digest(b"manifest"))


LAYERS = [layer(b"lib", label="lib@2/bbbbbbb"), layer(b"app", label="app@1.0/aaaaaaa")]


def documents(image: m.BuiltImage):
    manifest, config = json.loads(image.manifest), json.loads(image.config)
    assert d.sha256_digest(image.config) == manifest["config"]["digest"] == image.config_descriptor.digest
    assert manifest["config"]["size"] == len(image.config)
    assert d.sha256_digest(image.manifest) == image.manifest_descriptor.digest
    assert image.media_type == manifest["mediaType"]
    image_spec.check_config(config)
    image_spec.check_history(config)
    image_spec.check_one_vocabulary(manifest)
    if image.media_type == d.OCI_MANIFEST:
        image_spec.check_manifest(manifest)
    return manifest, config


def test_package_without_base_is_what_spack_reads():
    manifest, config = documents(m.build_package_image(package=package(), layers=LAYERS))
    assert [x["digest"] for x in manifest["layers"]] == [x.descriptor.digest for x in LAYERS]
    about = {
        "org.opencontainers.image.description": "app@=1.0 build_system=generic",
        "org.opencontainers.image.title": "app",
        "org.opencontainers.image.version": "1.0",
    }
    assert manifest["annotations"] == config["config"]["Labels"] == about
    assert config["rootfs"]["diff_ids"] == [x.diff_id for x in LAYERS]
    assert (config["os"], config["architecture"]) == ("linux", "amd64")
    assert config["config"]["Env"] == ["PATH=/store/app/bin:/bin:/usr/bin", "APP_HOME=/store/app"]
    assert config["spec"]["nodes"][0]["name"] == "app"
    assert config["buildcache_layout_version"] == 2
    assert config["binary_cache_checksum"] == {
        "hash_algorithm": "sha256",
        "hash": LAYERS[-1].descriptor.digest[len("sha256:") :],
    }
    assert config["archive_size"] == LAYERS[-1].descriptor.size
    assert config["archive_compression"] == "gzip"
    assert config["archive_timestamp"] == m.EPOCH
    assert [x["comment"] for x in config["history"]] == ["lib@2/bbbbbbb", "app@1.0/aaaaaaa"]


def test_licenses_and_source_of_a_package():
    """As annotations and as labels; asked for after the environment, which has loaded what both need."""
    asked = []
    record = package(
        environment=lambda env: asked.append("environment") or env,
        provenance=lambda: asked.append("provenance") or {"licenses": "MIT", "source": "https://example.org/app.git"},
    )
    manifest, config = documents(m.build_package_image(package=record, layers=LAYERS))
    for about in (manifest["annotations"], config["config"]["Labels"]):
        assert about["org.opencontainers.image.licenses"] == "MIT"
        assert about["org.opencontainers.image.source"] == "https://example.org/app.git"
    assert asked == ["environment", "provenance"]


def test_same_input_same_bytes_whatever_the_order_of_the_environment():
    def environment(names):
        return lambda env: {**env, **dict.fromkeys(names, "1")}

    first = m.build_package_image(package=package(environment=environment(["B", "A", "C"])), layers=LAYERS)
    second = m.build_package_image(package=package(environment=environment(["C", "B", "A"])), layers=LAYERS)
    assert first == second
    assert first.config == second.config and first.manifest == second.manifest


def test_created_is_the_time_of_config_history_and_archive():
    _, config = documents(m.build_package_image(package=package(), layers=LAYERS, created="2026-01-01T00:00:00+00:00"))
    assert {config["created"], config["archive_timestamp"], config["history"][0]["created"]} == {
        "2026-01-01T00:00:00+00:00"
    }


def test_an_unknown_time_is_not_said():
    with_epoch = m.build_package_image(package=package(), layers=LAYERS, base=base(), created=m.EPOCH)
    manifest, config = documents(with_epoch)
    assert config["created"] == "2024-01-02T03:04:05Z", "the base's"
    assert "created" not in str(manifest["annotations"]) and "created" not in config["history"][-1]


def test_the_base_is_carried_on():
    manifest, config = documents(m.build_package_image(package=package(), layers=LAYERS, base=base()))
    assert len(manifest["layers"]) == 3 and manifest["layers"][0] == base().layers[0]
    assert config["rootfs"]["diff_ids"][0] == base().diff_ids[0]
    assert config["variant"] == "v2"
    assert config["config"]["Env"] == [
        "PATH=/store/app/bin:/usr/local/bin:/usr/bin",
        "LANG=C.UTF-8",
        "APP_HOME=/store/app",
    ]
    assert config["config"]["User"] == "nobody" and config["config"]["Volumes"] == {"/data": {}}
    assert config["config"]["StopSignal"] == "SIGINT" and config["config"]["Labels"]["maintainer"] == "somebody"
    assert config["config"]["Labels"]["org.opencontainers.image.title"] == "app"
    assert [x["created_by"] for x in config["history"]] == [
        "debootstrap",
        "CMD bash",
        "spack oci push",
        "spack oci push",
    ]
    assert "org.opencontainers.image.url" not in config["config"]["Labels"]
    assert manifest["annotations"]["org.opencontainers.image.base.name"] == "debian:12"
    assert manifest["annotations"]["org.opencontainers.image.base.digest"] == d.sha256_digest(b"manifest")


def test_a_base_without_history_gets_one_entry_a_layer():
    _, config = documents(m.build_package_image(package=package(), layers=LAYERS, base=base(history=None)))
    assert [x.get("comment") for x in config["history"]] == ["layer of debian:12", "lib@2/bbbbbbb", "app@1.0/aaaaaaa"]


def test_a_history_that_is_longer_than_the_layers_is_replaced():
    crooked = base(history=[{"created_by": "one"}, {"created_by": "two"}])
    _, config = documents(m.build_package_image(package=package(), layers=LAYERS, base=crooked))
    assert len(config["history"]) == 3


def test_docker_base_gives_docker_types_throughout_and_no_annotations():
    manifest, config = documents(
        m.build_package_image(package=package(), layers=LAYERS, base=base(docker=True, container="deadbeef"))
    )
    assert manifest["mediaType"] == d.DOCKER_MANIFEST and manifest["config"]["mediaType"] == d.DOCKER_CONFIG
    assert {x["mediaType"] for x in manifest["layers"]} == {d.DOCKER_LAYER_GZIP}
    assert "annotations" not in manifest and "container" not in config


def test_zstd_on_a_docker_base_turns_everything_to_oci():
    layers = [LAYERS[0], layer(b"app", d.OCI_LAYER_ZSTD)]
    manifest, config = documents(m.build_package_image(package=package(), layers=layers, base=base(docker=True)))
    assert manifest["mediaType"] == d.OCI_MANIFEST
    assert [x["mediaType"] for x in manifest["layers"]] == [d.OCI_LAYER_GZIP, d.OCI_LAYER_GZIP, d.OCI_LAYER_ZSTD]
    assert config["archive_compression"] == "zstd"


def test_layers_that_were_pushed_with_the_other_vocabulary_are_renamed():
    docker_layer = layer(b"lib", d.DOCKER_LAYER_GZIP)
    manifest, _ = documents(m.build_package_image(package=package(), layers=[docker_layer, LAYERS[1]]))
    assert {x["mediaType"] for x in manifest["layers"]} == {d.OCI_LAYER_GZIP}


def test_foreign_layers_keep_their_urls():
    b = base(docker=True)
    foreign = {**b.layers[0], "mediaType": m.DOCKER_FOREIGN_GZIP, "urls": ["https://example.org/layer"]}
    b = m.Base({**b.manifest, "layers": [foreign]}, b.config)
    manifest, _ = documents(m.build_package_image(package=package(), layers=[layer(b"x", d.OCI_LAYER_ZSTD)], base=b))
    assert manifest["layers"][0]["mediaType"] == m.OCI_FOREIGN + "+gzip"
    assert manifest["layers"][0]["urls"] == ["https://example.org/layer"]


def test_docker_build_triggers_are_not_inherited():
    b = base(docker=True)
    config = {**b.config, "config": {**b.config["config"], "OnBuild": ["RUN boom"], "Healthcheck": {"Test": ["CMD"]}}}
    settings = m.inherited_settings(m.Base(b.manifest, config))
    assert "OnBuild" not in settings and settings["Healthcheck"] == {"Test": ["CMD"]}


def test_base_of_another_platform_is_refused():
    with pytest.raises(ImageError, match="debian:12 is for linux/arm64, the packages are for linux/amd64"):
        m.build_package_image(package=package(), layers=LAYERS, base=base(architecture="arm64"))


@pytest.mark.parametrize("diff_ids", [[], ["sha256:short"], [d.sha256_digest(b"1"), d.sha256_digest(b"2")]])
def test_damaged_base_is_refused(diff_ids):
    damaged = base(rootfs={"type": "layers", "diff_ids": diff_ids})
    with pytest.raises(ImageError, match="debian:12 is damaged"):
        m.build_package_image(package=package(), layers=LAYERS, base=damaged)


def test_an_artifact_is_no_base():
    odd = {"mediaType": "application/vnd.cncf.helm", "digest": d.sha256_digest(b""), "size": 0}
    b = m.Base({"mediaType": d.OCI_MANIFEST, "layers": [odd]}, base().config, "helm:1")
    with pytest.raises(ImageError, match="application/vnd.cncf.helm"):
        m.build_package_image(package=package(), layers=LAYERS, base=b)


def test_a_package_needs_its_layer():
    with pytest.raises(ImageError, match="no layer"):
        m.build_package_image(package=package(), layers=[])


def test_environment_entries():
    assert m.parse_environment(["A=1=2", "broken", "=x"]) == {"PATH": m.DEFAULT_PATH, "A": "1=2"}
    assert m.environment_entries({"Z": "1", "A": "2", "B": "3"}, ["Z", "gone"]) == ["Z=1", "A=2", "B=3"]


def test_the_schemas_reject():
    with pytest.raises(jsonschema.ValidationError):
        image_spec.check_manifest({"schemaVersion": 2, "mediaType": d.OCI_MANIFEST, "layers": []})
    with pytest.raises(jsonschema.ValidationError):
        image_spec.check_config({"architecture": "amd64", "os": "linux", "rootfs": {"type": "x", "diff_ids": []}})
