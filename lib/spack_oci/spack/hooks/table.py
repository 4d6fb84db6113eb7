# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The one table of everything that spack-oci replaces inside Spack.

``apply`` installs it. Nothing else assigns to an attribute of Spack: a test reads the source. ``docs/hooks.md``
says of each entry why it is needed and what happens without it; another test compares the two.
"""

from typing import NamedTuple, Optional, Sequence, Tuple

#: kinds of entries: a function or method that is wrapped; a property whose getter is wrapped; a tuple or dictionary
#: that gets more elements; an attribute that a module of Spack gets in addition
FUNCTION, PROPERTY, EXTENSION, ADDITION = "function", "property", "constant extended", "attribute added"


class Hook(NamedTuple):
    """One thing of Spack and its replacement.

    ``targets``: ``module:path`` where Spack looks it up, a path of attributes and keys; the first that exists is taken
    (classes were renamed between releases). ``replacement``: ``module:function`` below ``spack_oci.spack``; it is
    called with the original function first, or without arguments for what is added to a constant or module.
    ``signatures``: accepted tuples of parameter names of a function. ``since``, ``until``: the first and the last Spack
    release (major, minor) that needs it. ``later``: the module is not imported for the sake of the hook, which is
    installed when a command imports it. ``always``: also in force with ``oci:hooks:enabled:false``; such a replacement
    decides by itself, without reading the configuration. ``required``: without it, nothing of the table is installed.
    ``verifies``: where a policy requires signatures, Spack's own function is not called in its place, see
    :mod:`.unverified`.
    """

    purpose: str
    targets: Sequence[str]
    replacement: str
    signatures: Sequence[Tuple[str, ...]] = ()
    kind: str = FUNCTION
    since: Tuple[int, int] = (1, 0)
    until: Optional[Tuple[int, int]] = None
    later: bool = False
    always: bool = False
    required: bool = False
    verifies: bool = False

    def is_for(self, version: Tuple[int, int]) -> bool:
        """Whether this release of Spack needs the hook."""
        return self.since <= version and (self.until is None or version <= self.until)


def _command(name: str, function: str, since: Tuple[int, int] = (1, 0)) -> Hook:
    return Hook(
        f"name the command for OCI mirrors in spack buildcache {name}",
        [f"spack.cmd.buildcache:{function}_fn"],
        f"hooks.buildcache_commands:{function}",
        [("args",)],
        since=since,
        later=True,
    )


def _section(purpose: str, *targets: str, kind: str = EXTENSION, replacement: str = "section:schema_entry") -> Hook:
    return Hook(purpose, targets, replacement, kind=kind, always=True, required=True)


_BINARY = "spack.binary_distribution"
_SCHEMAS = "spack.config:_ALL_SCHEMAS"

HOOKS: Sequence[Hook] = (
    # the `oci` section of the configuration
    _section("know the oci section", "spack.config:SECTION_SCHEMAS"),
    _section("know the oci section in every schema", _SCHEMAS),
    _section(
        "allow oci: in spack.yaml",
        "spack.schema.env:properties.spack.properties",
        replacement="section:property_entry",
    ),
    _section(
        "allow oci: in spack.yaml when its file is read",
        f"{_SCHEMAS}.spack.properties.spack.properties",
        replacement="section:property_entry",
    ),
    _section(
        "allow oci: where sections are merged",
        "spack.schema.merged:properties",  # until 1.1
        "spack.schema.merged:schema.properties",
        replacement="section:property_entry",
    ),
    _section("have a module spack.schema.oci", "spack.schema:oci", kind=ADDITION, replacement="section:schema_module"),
    Hook(
        "have the defaults of the oci section as the lowest scope",
        ["spack.config:Configuration.push_scope"],
        "section:push_defaults_first",
        [("self", "scope", "priority", "_depth")],
        until=(1, 0),  # later ones let a plugin see the configuration that is being made
        always=True,
    ),
    Hook(
        "read the oci.yaml beside a spack.yaml",
        ["spack.config:ConfigScope.included_scopes"],
        "section:included_scopes",
        [("self",)],
        kind=PROPERTY,
        always=True,
    ),
    # mirrors
    Hook(
        "take the URL schemes of OCI mirrors",
        ["spack.mirrors.mirror:supported_url_schemes"],
        "hooks.urls:schemes",
        kind=EXTENSION,
        always=True,
    ),
    Hook(
        "know which URLs are those of OCI mirrors",
        ["spack.oci.image:is_oci_url"],
        "hooks.urls:is_oci_url",
        [("url",)],
        since=(1, 1),
        always=True,
    ),
    Hook(
        "know in mirrors which URLs are those of OCI mirrors",
        ["spack.mirrors.mirror:is_oci_url"],
        "hooks.urls:is_oci_url",
        [("url",)],
        since=(1, 2),
        always=True,
    ),
    Hook(
        "expand variables in the URLs of OCI mirrors",
        ["spack.mirrors.mirror:Mirror.get_url"],
        "hooks.urls:get_url",
        [("self", "direction")],
        always=True,
    ),
    Hook(
        "ask for no GPG key to push to an OCI mirror",
        ["spack.mirrors.mirror:Mirror.signed"],
        "hooks.urls:is_signed",
        [("self",)],
        kind=PROPERTY,
        until=(1, 1),  # later ones say so themselves
        always=True,
    ),
    Hook(
        "know the image of a mirror",
        ["spack.oci.oci:image_from_mirror"],
        "configuration.mirrors:image_from_mirror",
        [("mirror",)],
    ),
    Hook(
        "not look for the layout of a mirror of files",
        ["spack.cmd.buildcache:check_mirror_for_layout"],
        "configuration.mirrors:check_mirror_for_layout",
        [("mirror",)],
        later=True,
    ),
    Hook(
        "sign what spack buildcache push pushes",
        ["spack.cmd.buildcache:push_fn"],
        "hooks.uploader:buildcache_push",
        [("args",)],
        later=True,
    ),
    # indexes
    Hook(
        "fetch an index",
        [f"{_BINARY}:BinaryIndexCache._fetch_and_cache_index", f"{_BINARY}:BinaryCacheIndex._fetch_and_cache_index"],
        "index_reading:fetch_and_cache_index",
        [("self", "mirror_metadata", "cache_entry"), ("self", "url_and_version", "cache_entry")],
    ),
    Hook(
        "update an index",
        [f"{_BINARY}:_oci_update_index"],
        "indexes:oci_update_index",
        [("image_ref", "tmpdir", "pool")],
    ),
    Hook(
        "update an index with spack buildcache update-index and spack ci rebuild-index",
        ["spack.cmd.buildcache:update_index"],
        "indexes:buildcache_update_index",
        [("mirror", "update_keys"), ("mirror", "update_keys", "timer")],
        later=True,
    ),
    Hook(
        "look for a package that no index has",
        [f"{_BINARY}:try_direct_fetch"],
        "hooks.install:try_direct_fetch",
        [("spec",), ("spec", "mirrors")],
    ),
    Hook(
        "look a hash up when it is asked for",
        [f"{_BINARY}:BinaryCacheQuery.__init__"],
        "specs.hash_lookup:query_init",
        [("self", "all_architectures")],
    ),
    Hook(
        "look a hash up in the indexes of OCI mirrors",
        [f"{_BINARY}:BinaryCacheQuery.__call__"],
        "specs.hash_lookup:query",
        [("self", "spec", "kwargs")],
    ),
    # pushes
    Hook(
        "push (spack buildcache push, autopush, spack ci)",
        [f"{_BINARY}:make_uploader"],
        "hooks.uploader:make_uploader",
        [("mirror", "force", "update_index", "signing_key", "base_image")],
    ),
    Hook(
        "push what was built to the mirrors with autopush",
        ["spack.hooks.autopush:post_install"],
        "hooks.autopush:post_install",
        [("spec", "explicit")],
        later=True,
    ),
    # installs
    Hook(
        "fetch a package",
        [f"{_BINARY}:download_tarball"],
        "hooks.install:download_tarball",
        [("spec", "unsigned", "mirrors_for_spec")],
        verifies=True,
    ),
    Hook(
        "extract and relocate a package",
        [f"{_BINARY}:extract_tarball"],
        "hooks.install:extract_tarball",
        [("spec", "tarball_stage", "force", "timer")],
    ),
    Hook(
        "collect garbage less often in spack install",
        ["spack.cmd.install:install"],
        "hooks.installers:run_command",
        [("parser", "args")],
        later=True,
    ),
    Hook(
        "know what the classic installer is called for",
        ["spack.installer:PackageInstaller.install"],
        "hooks.installers:run_installer",
        [("self",)],
        later=True,
    ),
    Hook(
        "install in bulk before the classic installer, and fetch ahead of it",
        ["spack.installer:PackageInstaller._init_queue"],
        "hooks.installers:init_queue",
        [("self",)],
        later=True,
    ),
    Hook(
        "install in bulk before the new installer, and fetch ahead of it",
        ["spack.new_installer:PackageInstaller.install"],
        "hooks.installers:run_installer",
        [("self",)],
        since=(1, 1),
        later=True,
    ),
    Hook(
        "tell what children of the new installer have to tell",
        ["spack.new_installer:install_from_buildcache"],
        "hooks.notices:install_from_buildcache",
        [("mirrors", "spec", "unsigned", "state_stream")],
        since=(1, 1),
        later=True,
    ),
    Hook(
        "print what they have told",
        ["spack.new_installer:BuildStatus.update_state"],
        "hooks.notices:update_state",
        [("self", "build_id", "state")],
        since=(1, 1),
        later=True,
    ),
    Hook(
        "set the permissions of a package from an OCI mirror",
        ["spack.hooks.permissions_setters:post_install"],
        "hooks.permissions:post_install",
        [("spec", "explicit")],
        later=True,
        always=True,
    ),
    Hook(
        "bring the install manifest of a package from an OCI mirror up to date",
        ["spack.hooks.write_install_manifest:post_install"],
        "hooks.install_manifest:post_install",
        [("spec", "explicit")],
        later=True,
        always=True,
    ),
    Hook(
        "write the database after a package from an OCI mirror",
        ["spack.util.spack_json:dump"],
        "hooks.database:dump",
        [("data", "stream"), ("data", "stream", "pretty")],
        always=True,
    ),
    Hook(
        "not read again the spec files of packages that spack oci install has installed",
        ["spack.directory_layout:DirectoryLayout.ensure_installed"],
        "hooks.database:ensure_installed",
        [("self", "spec")],
        always=True,
    ),
    Hook(
        "remove the short names of an uninstalled package",
        ["spack.hooks.module_file_generation:post_uninstall"],
        "hooks.install:after_uninstall",
        [("spec",)],
        later=True,
    ),
    # commands
    _command("check", "check"),
    _command("download", "download"),
    _command("sync", "sync"),
    _command("prune", "prune"),
    _command("migrate", "migrate"),
    _command("check-index", "check_index", since=(1, 3)),
    Hook(
        "destroy an OCI mirror",
        ["spack.cmd.mirror:mirror_destroy"],
        "hooks.buildcache_commands:destroy",
        [("args",)],
        later=True,
    ),
    Hook(
        "clean what is cached of OCI mirrors",
        ["spack.cmd.clean:clean"],
        "hooks.buildcache_commands:clean",
        [("parser", "args")],
        later=True,
    ),
    Hook(
        "carry the hooks to child processes that are not forked",
        ["spack.subprocess_context:GlobalStateMarshaler.__init__"],
        "hooks.subprocess_hooks:remember_hooks",
        [("self",), ("self", "ctx", "serialize_env")],
        always=True,
    ),
)
