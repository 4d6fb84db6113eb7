# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""A package that is pushed again with other content reaches those who have an index, whoever pushes and installs."""

import pytest

PUSH = {
    "ours": ("oci", "push", "--force", "--update-index", "cache", "oci-leaf@1.0"),
    "vanilla": ("buildcache", "push", "--force", "--unsigned", "--update-index", "cache", "oci-leaf@1.0"),
}


def install(consumer, way):
    if way == "oci install":
        consumer.run("oci", "install", "oci-leaf@1.0")
    else:
        consumer.install_from_cache("oci-leaf@1.0")


@pytest.mark.one_spack
@pytest.mark.parametrize("way", ["spack install", "oci install"])
@pytest.mark.parametrize("who", ["ours", "vanilla"])
def test_content_pushed_again_is_installed(who, way, new_cache, source, destination):
    cache = new_cache("tls")
    origin = source()
    origin.use(cache)
    origin.run("oci", "push", "--update-index", "cache", "oci-leaf@1.0")
    pusher = destination(ours=who == "ours", name="pusher")
    pusher.use(cache)
    pusher.install_from_cache("oci-leaf@1.0")
    consumer = destination(name="consumer")
    consumer.use(cache)
    install(consumer, way)
    assert not (consumer.prefix("oci-leaf") / "added").exists()

    (pusher.prefix("oci-leaf") / "added").write_text("since the first push\n")
    pusher.run(*PUSH[who])

    consumer.run("uninstall", "--yes-to-all", "--force", "oci-leaf")
    install(consumer, way)
    assert (consumer.prefix("oci-leaf") / "added").read_text() == "since the first push\n"
