# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack oci show`: all that a mirror has of one package, or of one image."""

import json
import sys
from typing import Any, List, Optional, Sequence

import spack.llnl.util.tty as tty
import spack.mirrors.mirror
import spack.spec

from ...content import ContentStore
from ...errors import ConfigurationError, NotFound
from ...operations import catalog
from ...operations.catalog import CatalogRecord, PackageDescription
from ...operations.images.described import PlatformImage, describe_image
from ...package.record import is_package_tag
from ...util.sizes import format_size
from .. import mirror_arguments, mirrors
from ..output import counted, image_name, print_json, table
from .list import format_known, indexes, matching, word_for

#: packages named when a spec matches several
_SHOWN = 10


def show(mirror_name: Optional[str], word: str, as_json: bool) -> int:
    """``word``: a tag, or a spec that one package of the mirror matches."""
    mirror, note = mirror_arguments.find(mirror_name, mirrors.FETCH)
    if note and sys.stdout.isatty():
        tty.info(note)
    store = mirrors.open_store(mirror, mirrors.FETCH)
    if not is_package_tag(word) and _is_tag(store, word):
        return _show_image(store, word, as_json)
    tag = word if is_package_tag(word) else _tag_of(mirror, word)
    found = catalog.describe(store, tag)
    if as_json:
        print_json({**found.to_dict(), "mirror": found.url, "image": image_name(store.url, tag)})
    else:
        print("\n".join(_described(found)))
    return 0


def _is_tag(store: ContentStore, word: str) -> bool:
    if any(c in word for c in "@+~^%/ ="):  # a spec, which is no tag
        return False
    try:
        store.resolve(word)
    except NotFound:
        return False
    return True


def _show_image(store: ContentStore, tag: str, as_json: bool) -> int:
    found = describe_image(store, tag)
    if as_json:
        print_json(
            {
                "mirror": store.url,
                "tag": tag,
                "image": image_name(store.url, tag),
                "platforms": [one.to_dict() for one in found],
            }
        )
        return 0
    print(image_name(store.url, tag))
    for one in found:
        print("\n".join(_image_lines(one)))
    return 0


def _image_lines(image: PlatformImage) -> List[str]:
    settings = image.settings
    rows = [
        ("manifest", image.manifest.digest),
        ("size", f"{format_size(image.size)} in {counted(len(image.layers), 'layer')}"),
        ("entrypoint", _words(settings.get("Entrypoint"))),
        ("cmd", _words(settings.get("Cmd"))),
        ("user", settings.get("User") or ""),
        ("workdir", settings.get("WorkingDir") or ""),
        *(("env", value) for value in settings.get("Env") or ()),
        *(("package", label) for label in image.packages),
    ]
    lines = [f"  {line}" for line in table([row for row in rows if row[1]])]
    layers = [
        (str(number), format_size(layer.descriptor.size), layer.descriptor.digest, layer.label)
        for number, layer in enumerate(image.layers, 1)
    ]
    return [image.platform, *lines, "  layers", *(f"    {line}" for line in table(layers))]


def _words(value: Any) -> str:
    return json.dumps(value) if value else ""


def _tag_of(mirror: "spack.mirrors.mirror.Mirror", constraint: str) -> str:
    ((_, index),) = indexes([mirror])
    found = matching(mirror, index, [spack.spec.Spec(constraint)], all_architectures=True)
    if len(found) == 1:
        return found[0].record.tag
    if not found:
        raise NotFound(
            f"the index of {mirror.fetch_url} has no package that matches {constraint}",
            remedy=f"see `spack oci list --allarch {word_for(mirror)}`, or name a tag",
        )
    shown = [p.spec.format("{name}{@version}{/hash:7}") for p in found[:_SHOWN]]
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    raise ConfigurationError(
        f"{counted(len(found), 'package')} of {mirror.fetch_url} match {constraint}: {', '.join(shown)}{more}",
        remedy="name one of them by its hash",
    )


def _described(found: PackageDescription) -> List[str]:
    record = found.record
    lines = [f"{record.name}@{record.version} /{record.hash}", *table(_facts(found))]
    rows = [
        (str(number), format_size(layer.descriptor.size), layer.descriptor.digest, layer.label)
        for number, layer in enumerate(found.layers, 1)
    ]
    return [*lines, "layers", *(f"  {line}" for line in table(rows))]


def _facts(found: PackageDescription) -> List[Sequence[str]]:
    record = found.record
    base = found.base + (f"@{found.base_digest}" if found.base_digest else "")
    rows = [
        ("spec", found.description or _spec_line(record)),
        ("architecture", record.arch),
        ("mirror", found.url),
        ("image", image_name(found.url, record.tag)),
        ("image", image_name(found.url, record.tag)),
        ("manifest", f"{found.manifest.digest} ({found.manifest.media_type})"),
        ("config", f"{found.config.digest} ({format_size(found.config.size)})"),
        ("package", f"{record.layer} ({format_known(record.size)}, {found.layers[-1].descriptor.media_type})"),
        ("size", f"{format_size(found.total_size)} in {counted(len(found.layers), 'layer')}"),
        ("base image", base or "none recorded"),
        ("pushed by", record.pusher or "not recorded"),
        ("signature", "yes" if record.signed else "none found"),
        ("built for", _relocation(record)),
    ]
    others = [f"{kind} {digest}" for kind, digest in found.referrers]
    return [(f"  {name}", value) for name, value in [*rows, *(("referrer", other) for other in others)]]


def _spec_line(record: CatalogRecord) -> str:
    return f"{record.name}@{record.version}"


def _relocation(record: CatalogRecord) -> str:
    if record.prefix_length is None:
        return "a prefix of unknown length"
    facts = record.relocation
    text = f"a prefix of {record.prefix_length} characters"
    if "strings" in facts:
        text += f"; {counted(facts['strings'], 'string')} in {counted(facts.get('binaries', 0), 'binary file')}"
    if "fixed_strings" in facts:
        text += f", {facts['fixed_strings'] or 'none'} of which cannot grow"
    if facts.get("unknown_files"):
        text += f"; {counted(facts['unknown_files'], 'other file')} with it"
    return text
