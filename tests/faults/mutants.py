#!/usr/bin/env python3
# SPDX-License-Identifier: (Apache-2.0 OR MIT)
# ruff: noqa: E501  (a table)
"""`make mutants`: every guard is removed in turn, and some test has to fail without it.

    mutants.py [PART-OF-A-NAME...]

A guard is a line of ``GUARDS``: what it guards, the file, the code, the code without the guard, and the tests that have
to notice. The code has to be there once, so that the table follows the source. Works on a copy; exit code 1 if a mutant
survives.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple, Sequence

ROOT = Path(__file__).resolve().parents[2]


class Guard(NamedTuple):
    name: str
    path: str
    code: str
    without: str
    tests: str


_UNPACK = "lib/spack_oci/archive/unpack"
_RELOCATE = "lib/spack_oci/relocate"
_SAFETY = "tests/unit/archive/test_unpack_safety.py"
_INSTALL = "tests/unit/archive/test_unpack_install.py"
_TAR = "tests/unit/archive/test_unpack_tar_reader.py"
_CORPORA = "tests/unit/archive/test_tar_corpora.py"
_ELF = "tests/unit/relocate/test_relocate_elf.py"
_STRINGS = "tests/unit/relocate/test_relocate_strings.py"
_MAPPING = "tests/unit/relocate/test_relocate_mapping.py"
_ALIASES = "tests/unit/relocate/test_relocate_aliases.py"
_ARRIVING = "tests/unit/operations/test_install_arriving.py"
_TEXT = "tests/unit/relocate/test_relocate_text.py"
_EXTRACTION = f"{_UNPACK}/extraction.py"
_MIXED = "tests/spack/interop/test_mixed_mirrors.py"
_SPLICES = "tests/spack/prefixes/test_install_splices.py"
_HOOKS = "lib/spack_oci/spack/hooks"
_LAYOUT = "tests/unit/layout/test_layout_guards.py"
_FIELDS = "tests/unit/registry/test_registry_fields.py"
_LIBC = "tests/unit/image/test_image_libc.py"
_GUARDS = "tests/registry/client/test_registry_guards.py"
_REPORTS = "tests/registry/client/test_registry_reports.py"
_LIMITER = "tests/unit/registry/test_registry_limiter.py"
_ODD = "tests/unit/index/test_index_odd_registries.py"
_TRUST = "lib/spack_oci/trust"
_TRUSTED = "lib/spack_oci/operations/trust"
_VERIFY = "tests/unit/trust/test_verify.py"
_PAYLOAD = "tests/unit/trust/test_payload.py"
_POLICY = "tests/unit/trust/test_policy.py"
_SIGNERS = "tests/unit/trust/test_signers.py"
_SIGNATURES = "tests/unit/trust/test_signatures.py"
_SIGNING = "tests/unit/operations/test_signing.py"
_OPERATIONS = "tests/unit/operations"
_INDEX_SIGNING = f"{_OPERATIONS}/test_index_signing.py {_OPERATIONS}/test_index_turned_back.py"
_TOGETHER = "tests/unit/operations/test_signers_interleaved.py"

GUARDS: Sequence[Guard] = (
    # names and kinds of members
    Guard("no .. in a name", _EXTRACTION, 'b".." in parts or ', "", _INSTALL),
    Guard("no absolute or empty component", _EXTRACTION, ' or b"" in parts', "", f"{_INSTALL} {_TAR}"),
    Guard("no long name", _EXTRACTION, " or len(name) > _MAX_PATH", "", _INSTALL),
    Guard("no deep name", _EXTRACTION, "len(parts) > _MAX_DEPTH", "False", _SAFETY),
    Guard("no setuid", _EXTRACTION, "if member.mode & _SETID and", "if False and", f"{_INSTALL} {_SAFETY}"),
    Guard("a hard link to a file of the package", _EXTRACTION, "if target not in self._files:", "if False:", _INSTALL),
    Guard("names that are taken mean the same", _EXTRACTION, "        if not means_the_same:\n", "        if False:\n", "tests/unit/archive/test_unpack_twins.py"),
    Guard("no name comes twice", _EXTRACTION, "if member.name in self._directories or (member.kind != FILE and member.name in self._files):", "if False:", f"tests/unit/archive/test_unpack_twins.py {_INSTALL}"),
    Guard("files are new", _EXTRACTION, "os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW", "os.O_CREAT", _INSTALL),
    Guard(
        "no link where Spack writes",
        _EXTRACTION,
        "if os.path.dirname(member.name) in (self._prefix, metadata):",
        "if False:",
        _SAFETY,
    ),
    Guard(
        "no link out of .spack",
        _EXTRACTION,
        'if not os.path.normpath(target).startswith(metadata + b"/"):',
        "if False:",
        _SAFETY,
    ),
    # what is installed
    Guard(
        "the tarball is that of the hash",
        f"{_UNPACK}/metadata.py",
        "if found != dag_hash:",
        "if False:",
        _SAFETY,
    ),
    Guard("metadata not through a link", f"{_UNPACK}/metadata.py", "        _unlink(name, directory)\n        with open(os.open(name, flags", "        with open(os.open(name, os.O_WRONLY | os.O_CREAT", _SAFETY),
    Guard("not through a linked .spack", f"{_UNPACK}/metadata.py", "os.O_DIRECTORY | os.O_NOFOLLOW |", "os.O_DIRECTORY |", _SAFETY),
    Guard("mode of the prefix", _EXTRACTION, "mode if self._access.mode is None else self._access.mode", "mode", _SAFETY),
    Guard("group of the prefix", _EXTRACTION, "if self._access.group is not None:", "if False:", _SAFETY),
    Guard("the bomb limit", "lib/spack_oci/archive/tar_reader.py", "and self.size > self._max_size", "and False", f"{_INSTALL} {_SAFETY}"),
    Guard("space is asked for", f"{_UNPACK}/limits.py", "if needed > free:", "if False:", _SAFETY),
    Guard("the end of the archive", "lib/spack_oci/archive/tar_reader.py", 'if rest.strip(b"\\0"):', "if False:", _TAR),
    Guard("checksums of headers", "lib/spack_oci/archive/tar_reader.py", "if signed != expected:", "if False:", _TAR),
    Guard("one name for a member", "lib/spack_oci/archive/tar_reader.py", "if others and not self._lenient:", "if False:", _CORPORA),
    Guard("a name of its own for each member", "lib/spack_oci/archive/tar_reader.py", "if not records.keys().isdisjoint(", "if () and (", _CORPORA),
    Guard("no NUL in a pax header", "lib/spack_oci/archive/tar_reader.py", ' or b"\\0" in text:', ":", _CORPORA),
    # staging
    Guard("nothing above what is removed", f"{_UNPACK}/staging.py", "_let_owner_change(os.path.dirname(failed))", "os.chmod(os.path.dirname(failed), 0o700)", _SAFETY),
    Guard("no mode through a link", f"{_UNPACK}/staging.py", "mode = os.lstat(directory).st_mode", "mode = os.stat(directory).st_mode", _SAFETY),
    Guard("the old prefix comes back", f"{_UNPACK}/staging.py", "        os.rename(old, prefix)\n        raise", "        raise", _SAFETY),
    Guard("what runs is not stale", f"{_UNPACK}/staging.py", "            if _is_abandoned(path, age):", "            if True:", _INSTALL),
    Guard("what others have left is theirs", "lib/spack_oci/archive/unpack/staging.py", "status.st_uid != os.geteuid() or ", "", "tests/unit/archive/test_unpack_safety.py"),
    Guard("what was just made is not stale", "lib/spack_oci/archive/unpack/staging.py", " or status.st_mtime > time.time() - age", "", "tests/unit/archive/test_unpack_safety.py"),
    Guard("what was killed is removed", f"{_UNPACK}/layer.py", "        remove_stale(prefix)\n", "", _INSTALL),
    # relocation
    Guard("old prefixes are paths", f"{_RELOCATE}/mapping.py", 'not path.startswith("/") or ', "", _MAPPING),
    Guard("of two components", f"{_RELOCATE}/mapping.py", " < components or", " < 0 or", _MAPPING),
    Guard("of sane length", f"{_RELOCATE}/mapping.py", " or len(path) > _MAX_PATH:", ":", _MAPPING),
    Guard("text grows to a limit", f"{_RELOCATE}/text.py", "if self._left < 0:", "if False:", f"{_TEXT} {_SAFETY}"),
    Guard("the start of a path", f"{_RELOCATE}/text.py", " and not follows_slash(data, 0, at)", "", _TEXT),
    Guard("a string does not grow", f"{_RELOCATE}/cstring.py", "    if shorter < 0:\n        return None\n", "", _STRINGS),
    Guard("shared ends of strings", f"{_RELOCATE}/cstring.py", "or len(suffix) >= SUFFIX_SAFETY ", "or True ", _STRINGS),
    Guard("overlaps of strings", f"{_RELOCATE}/cstring.py", "        if at < go_on:\n            continue\n", "", _STRINGS),
    Guard("the end of a path component", f"{_RELOCATE}/cstring.py", "if not _continues(data, end):", "if True:", _STRINGS),
    Guard("room in a run path", f"{_RELOCATE}/binary.py", "    if len(value) <= room:\n", "    if True:\n", _ELF),
    Guard("room in a shortened run path", f"{_RELOCATE}/binary.py", "return value if len(value) <= room else None", "return value", _ELF),
    Guard("a run path leads somewhere", f"{_RELOCATE}/files.py", "not os.path.isdir(entry.became)", "False", _ELF),
    Guard("no directory of a stranger", f"{_RELOCATE}/aliases.py", "if not {os.stat(directory).st_uid, os.lstat(directory).st_uid} <= trusted:", "if False:", _ALIASES),
    Guard("no directory open to all", f"{_RELOCATE}/aliases.py", "    if mode & stat.S_IWOTH and", "    if False and", _ALIASES),
    # ELF
    Guard("a string in its table", "lib/spack_oci/formats/elf.py", "end - start - len(value))", "4096)", _ELF),
    Guard("a table in a segment", "lib/spack_oci/formats/elf.py", " and address + length <= start + size:", ":", _ELF),
    Guard("the end of a segment", "lib/spack_oci/formats/elf.py", "offset < self.loaded[before - 1][1]", "True", _ELF),
    Guard("the size of headers", "lib/spack_oci/formats/elf.py", "or entry_size != layout.program.size ", "", _ELF),
    # what is sent to whom
    Guard("tokens by user", "lib/spack_oci/registry/auth/tokens.py", "Optional[Credentials] = field(repr=False)", "Optional[Credentials] = field(repr=False, compare=False)", f"{_GUARDS} tests/registry/auth/test_registry_auth.py"),
    Guard("a host and one whose name it begins", "lib/spack_oci/registry/auth/credentials.py", "next((key for key in lookup_keys(host, repository) if key in known), None)", "next((key for key in known if f'{host}/{repository}'.startswith(key)), None)", f"tests/unit/registry/test_registry_credentials.py {_GUARDS}"),
    Guard("a 401 of another host", "lib/spack_oci/registry/client.py", " or not is_own or", " or", "tests/registry/client/test_registry_faults.py"),
    Guard("no upload away from https", "lib/spack_oci/registry/client.py", 'if parts.scheme == "http" and own.scheme == "https":', "if False:", f"{_GUARDS} tests/registry/client/test_registry_uploads.py"),
    Guard("an upload that gets no further", "lib/spack_oci/registry/uploads.py", "return failures if offset > before else failures + 1", "return 0 if offset > before else failures + 1", "tests/registry/client/test_uploads_growing.py -k loses"),
    Guard("nothing but files in a bundle", "lib/spack_oci/operations/lifecycle/bundle_reader.py", "member.kind != FILE or ", "", "tests/unit/lifecycle/test_bundles.py"),
    Guard("a kept index that is damaged", "lib/spack_oci/index/index_cache.py", 'if sha256_digest(data) != meta[f"{label}_digest"]:', "if False:", "tests/unit/index/test_index_cache.py"),
    Guard("files of the kept index alone", "lib/spack_oci/index/index_cache.py", "and all(_FILE.match(meta[key]) for key in _FILES)", "", "tests/unit/index/test_index_cache.py"),
    # what comes back
    Guard("a page is no document", "lib/spack_oci/registry/client.py", "        if is_page(body):\n            raise a_page_came(response, body, action)\n", "", "tests/registry/client/test_registry_odd.py -k page"),
    Guard("403 where nobody asked", "lib/spack_oci/registry/client.py", "        if told or self._asks_nobody:\n            return told", "        if True:\n            return told", f"{_REPORTS} -k forbids"),
    Guard("credentials follow no redirect to another token server", "lib/spack_oci/registry/auth/tokens.py", "    return not has_credentials or before == after or is_made_https\n", "    return True\n", "tests/registry/auth/test_registry_auth.py -k redirect"),
    Guard("a realm of another name or port is not made https", "lib/spack_oci/registry/auth/tokens.py", " and parts.hostname == own.hostname and parts.port in (None, 80)", "", "tests/registry/auth/test_registry_auth.py -k realm"),
    Guard("what is stored twice is the same", "lib/spack_oci/registry/manifests.py", "if e.status != 409 or not resolves_to(self, reference, descriptor.digest):", "if e.status != 409:", f"{_REPORTS} -k twice"),
    Guard("who waits for a turn waits anew", "lib/spack_oci/registry/http/limiter.py", "            if numbers[_EMPTY] <= now:\n                return\n", "            return\n", _LIMITER),
    Guard("an interval that was refused is too short", "lib/spack_oci/registry/http/limiter.py", "        numbers[_TOO_SHORT] = interval\n", "", _LIMITER),
    Guard("an empty cache and one without an index", "lib/spack_oci/index/read.py", "    if is_empty:\n        return NotFound(", "    if False:\n        return NotFound(", "tests/store/commands/test_odd_caches.py -k not_there"),
    Guard("the total in Content-Range", "lib/spack_oci/registry/http/fields.py", " and self.total in (None, size)", "", f"{_FIELDS} tests/registry/client/test_registry_downloads.py"),
    Guard("a strong ETag in If-Range", "lib/spack_oci/registry/http/fields.py", "value if value and value.startswith('\"') and", "value if value and", f"{_FIELDS} tests/registry/client/test_registry_downloads.py {_GUARDS}"),
    Guard("small blobs alone are read before", "lib/spack_oci/registry/downloads.py", "        if descriptor.size <= SMALL_BLOB:\n            return _VerifiedReader", "        if True:\n            return _VerifiedReader", f"tests/registry/client/test_registry_downloads.py {_GUARDS}"),
    Guard("a list of tags is one", "config_schema/documents/tag-list.json", '"required": ["tags"],', "", "tests/registry/client/test_registry_odd.py"),
    # caches
    Guard("blobs are removed under the lock", "lib/spack_oci/content/blob_cache.py", 'with locked_if_possible(self.open_lock(os.path.join(self.root, "lock"))):', "with contextlib.nullcontext():", "tests/unit/content/test_blob_cache.py"),
    Guard("a tag that the registry fails for is kept", "lib/spack_oci/index/update/loop.py", "if not isinstance(error, ContentError) and tag in index.tags:", "if False:", f"{_ODD} tests/unit/index/test_index_update.py"),
    Guard("a tag that is no package is given up", "lib/spack_oci/index/update/loop.py", "if not isinstance(error, ContentError) and tag in index.tags:", "if tag in index.tags:", f"{_ODD} tests/unit/index/test_index_update.py"),
    Guard("a copy of nothing", "lib/spack_oci/operations/lifecycle/copy.py", "    if not (found.packages or found.images):\n", "    if False:\n", "tests/unit/lifecycle/test_copy_caches.py"),
    # images
    Guard("another kind of C library", "lib/spack_oci/image/needs/libc.py", "if self.name != need.name:", "if False:", _LIBC),
    Guard("the newest symbol", "lib/spack_oci/image/needs/libc.py", "Libc(GLIBC, max(versions))", "Libc(GLIBC, min(versions))", _LIBC),
    # aliases
    Guard("an alias that ends like the hash", f"{_RELOCATE}/aliases.py", "return os.readlink(path) == target", "return bool(os.readlink(path))", _ALIASES),
    Guard("facts before the download", "lib/spack_oci/store/install.py", "if remote.relocation_summary:", "if False:", "tests/store/commands/test_install_without_spack.py -k short_name"),
    # what is registered
    Guard("what was asked for is explicit", "lib/spack_oci/store/install.py", "                    records.mark_explicit(dag_hash)", "                    pass", "tests/store/commands/test_install_without_spack.py -k explicit"),
    Guard("only what is finished is registered", "lib/spack_oci/operations/install/execute.py", "[item for item in self._order if self._states[item.dag_hash].complete]", "list(self._order)", "tests/unit/operations/test_install_all.py"),
    Guard("the hash that was asked for", "lib/spack_oci/package/documents.py", "if expected_hash is not None and dag_hash != expected_hash:", "if False:", "tests/unit/operations/test_fetch_package.py"),
    # inside Spack
    Guard("no OCI mirror is signed with GPG", f"{_HOOKS}/urls.py", "return not is_ours(self.fetch_url) and original(self)", "return original(self)", _MIXED),
    Guard("a plugin that fails breaks no command", "lib/spack_oci/spack/plugin.py", "        except Exception as e:  # a plugin", "        except ZeroDivisionError as e:  # a plugin", "tests/spack/plugin/test_hook_table.py -k fails"),
    Guard("the defaults are below what users write", "lib/spack_oci/spack/section.py", "unfinished.push_scope(_defaults_scope(mark), priority=_lowest_priority())", "unfinished.push_scope(_defaults_scope(mark))", "tests/spack/plugin/test_config_section.py"),
    Guard("the group of files", f"{_HOOKS}/permissions.py", "    if gid is not None and status.st_gid != gid:\n        return False\n", "", "tests/spack/plugin/test_database_writes.py -k modes"),
    Guard("special bits of files", f"{_HOOKS}/permissions.py", "    return mode == wanted\n", "    return mode & 0o777 == wanted & 0o777\n", "tests/spack/plugin/test_database_writes.py -k modes"),
    Guard("a spliced package describes itself", f"{_HOOKS}/install.py", "_write_spliced_metadata(spec, directory) if spec.spliced else None", "None", _SPLICES),
    Guard("prefixes of what was spliced in", f"{_HOOKS}/install.py", "_replaced_by_splice(node, spec) if spliced and id(node) not in built_with else node", "node", _SPLICES),
    Guard("prefixes of what was spliced before", f"{_HOOKS}/install.py", "new_prefixes = {**dict(earlier), **new_prefixes}", "pass", _SPLICES),
    Guard("filters of mirrors", "lib/spack_oci/spack/compat.py", "return filters(spec, direction=direction) if filters else True", "return True", f"{_MIXED} -k exclude"),
    Guard("other mirrors are asked by Spack alone", f"{_HOOKS}/install.py", "    if others:\n        with only(*others):\n", "    if True:\n        with contextlib.nullcontext():\n", f"{_MIXED} -k no_index"),
    Guard("other mirrors are pushed to by Spack", f"{_HOOKS}/uploader.py", "    if not is_oci_url(mirror.push_url):\n        return original(mirror, force", "    if False:\n        return original(mirror, force", _MIXED),
    Guard("a short name comes back with its package", f"{_HOOKS}/install.py", "    if os.path.isdir(alias_directory(relocation)):\n", "    if False:\n", "tests/spack/prefixes/test_install_aliases.py"),
    Guard("no setgid directory", _EXTRACTION, "member.kind in (FILE, DIRECTORY):", "member.kind == FILE:", _SAFETY),
    # layouts
    Guard("children again under the lock", "lib/spack_oci/layout/store.py", "collected since\n            self._check_children(children, tag)\n", "collected since\n", _LAYOUT),
    Guard("the manifest again under the lock", "lib/spack_oci/layout/store.py", "            self._write_blob(descriptor, _opener(data), None)\n            return put_entry", "            return put_entry", _LAYOUT),
    Guard("a blob is synced before its name", "lib/spack_oci/layout/store.py", "atomic_write(path, sync=self._durable,", "atomic_write(path, sync=False,", _LAYOUT),
    Guard("the directory of blobs is synced", "lib/spack_oci/layout/store.py", "    def _sync_blobs(self) -> None:\n", "    def _sync_blobs(self) -> None:\n        return\n", _LAYOUT),
    Guard("a replacement in the same tick", "lib/spack_oci/layout/table.py", "identity_of(status) if settled else None", "identity_of(status)", f"{_LAYOUT} tests/unit/layout/test_layout.py"),
    Guard("garbage is collected under the lock", "lib/spack_oci/layout/gc.py", ", store.table.lock():", ":", _LAYOUT),
    Guard("garbage that is used again", "lib/spack_oci/layout/gc.py", "if os.lstat(aside).st_mtime > before:", "if False:", f"{_LAYOUT} tests/unit/layout/test_layout.py"),
    Guard("a layout that was begun", "lib/spack_oci/layout/store.py", "            if self._is_begun():", "            if False:", _LAYOUT),
    # layers that are extracted while they arrive
    Guard("what arrives is verified by who reads it", "lib/spack_oci/content/cached_fetch.py", 'return VerifyingReader(stream, descriptor, "a download")', "return stream", _ARRIVING),
    Guard("a download that failed ends who follows it", "lib/spack_oci/operations/install/execute.py", "            self._watch.give_up(state.item.dag_hash)\n", "            pass\n", _ARRIVING),
    Guard("what is skipped is followed no more", "lib/spack_oci/operations/install/execute.py", "        self._watch.give_up_all()\n", "", _ARRIVING),
    Guard("who follows a download ends with its install", "lib/spack_oci/operations/install/arriving.py", " or os.getppid() != self._parent", "", _ARRIVING),
    Guard("what failed on the way is extracted again", "lib/spack_oci/operations/install/arriving.py", "return self.extraction.exception() is not None or self.extraction.result() is not None", "return True", _ARRIVING),
    Guard("what was not fetched is not installed", "lib/spack_oci/operations/install/arriving.py", "        if self.fetch.exception() is not None:\n            return False\n", "", _ARRIVING),
    Guard("a file with holes is not followed", "lib/spack_oci/content/cached_fetch.py", "if arrives is None or os.fstat(self.fileno()).st_size:", "if arrives is None:", _ARRIVING),
    Guard("a download that is over is not waited for", "lib/spack_oci/operations/install/execute.py", "            self._watch.give_up(state.item.dag_hash)\n", "", _ARRIVING),
    Guard("one process waits for nothing", "lib/spack_oci/operations/install/execute.py", "(self._arriving + 1 >= processes and len(self._open) > 1)", "False", _ARRIVING),
    Guard("the largest is followed", "lib/spack_oci/operations/install/execute.py", "        if any(other.item.size > state.item.size for other in self._expected.values()):\n            return None\n", "", _ARRIVING),
    # the moment between registering and knowing it
    Guard("no signal while it settles", "lib/spack_oci/operations/install/execute.py", "            with signals_wait():  # else", "            if True:  # else", "tests/faults/test_signals.py"),
    Guard("the database counts last", "lib/spack_oci/store/database.py", 'with atomic_write(os.path.join(self._directory, "index_verifier"), mode=mode, exact=True) as file:\n                file.write(str(uuid.uuid4()).encode())\n            with atomic_write(path, mode=mode, exact=True) as file:\n                file.write(json.dumps(document, separators=(",", ":")).encode())', 'with atomic_write(path, mode=mode, exact=True) as file:\n                file.write(json.dumps(document, separators=(",", ":")).encode())\n            with atomic_write(os.path.join(self._directory, "index_verifier"), mode=mode, exact=True) as file:\n                file.write(str(uuid.uuid4()).encode())', "tests/store/tree/test_store_database.py"),
    # trust; the checks of trust/verify.py have a test of their own, which removes each
    Guard("signatures are verified", f"{_TRUST}/keys.py", "        except InvalidSignature:\n            return False\n", "        except InvalidSignature:\n            return True\n", _VERIFY),
    Guard("no private key in a policy", f"{_TRUST}/keys.py", 'if b"PRIVATE KEY-----" in data:', "if False:", f"{_POLICY} {_SIGNERS}"),
    Guard("one key a file", f"{_TRUST}/keys.py", 'if data.count(b"-----BEGIN ") > 1:', "if False:", f"{_POLICY} {_SIGNERS}"),
    Guard("no short RSA key", f"{_TRUST}/keys.py", "if key.key_size < _SMALLEST_RSA:", "if False:", f"{_POLICY} {_SIGNERS}"),
    Guard("no curve that cosign lacks", f"{_TRUST}/keys.py", "if key.curve.name not in _CURVES:", "if False:", f"{_POLICY} {_SIGNERS}"),
    Guard("no name twice in a payload", f"{_TRUST}/payload.py", "if len(found) != len(pairs):", "if False:", _PAYLOAD),
    Guard("no NaN in a payload", f"{_TRUST}/payload.py", "parse_constant=_no_constant", "parse_constant=float", _PAYLOAD),
    Guard("no huge payload", f"{_TRUST}/payload.py", "if len(data) > MAX_PAYLOAD:", "if False:", _PAYLOAD),
    Guard("no further member of a payload", f"{_TRUST}/payload.py", " <= value.keys() <= set(names)", " <= value.keys()", _PAYLOAD),
    Guard("a payload of cosign's type", f"{_TRUST}/payload.py", "if kind != TYPE:", "if False:", _PAYLOAD),
    Guard("values of ours are text", f"{_TRUST}/payload.py", "if value is not None and not isinstance(value, str):", "if False:", f"{_PAYLOAD} {_VERIFY}"),
    Guard("the longest scope wins", f"{_TRUST}/policy.py", "key=lambda s: (s != ANYWHERE, len(s))", "key=lambda s: (s != ANYWHERE, -len(s))", _POLICY),
    Guard("a scope ends at a slash", f"{_TRUST}/policy.py", 'scope if scope == "/" else f"{scope}/"', "scope", _POLICY),
    Guard("a policy of no place", f"{_TRUST}/policy.py", "host, name = parse_namespace(place.rstrip(\"/\"))", "host, _, name = place.rstrip(\"/\").partition(\"/\")", _POLICY),
    Guard("a link to a directory", f"{_TRUST}/policy.py", "{scope, os.path.realpath(scope)}", "{scope}", _POLICY),
    Guard("a typo in a policy", f"{_TRUST}/policy.py", " or (names is not None and name not in names)", "", _POLICY),
    Guard("a mode that there is", f"{_TRUST}/policy.py", "if mode not in MODES:", "if False:", _POLICY),
    Guard("a threshold of so many keys", f"{_TRUST}/policy.py", "if mode == REQUIRE and threshold > different:", "if False:", _POLICY),
    Guard("one policy for a place", f"{_TRUST}/policy.py", "if compared in found:", "if False:", _POLICY),
    Guard("capitals in a host", f"{_TRUST}/policy.py", "host = host.lower()", "host = host", _POLICY),
    Guard("signed: true needs keys", f"{_TRUST}/policy.py", "            if not keys:\n", "            if False:\n", _POLICY),
    Guard("a full tag of signatures", f"{_TRUST}/signatures.py", "if len(layers) > MAX_LAYERS:", "if False:", f"{_SIGNATURES} {_SIGNING}"),
    Guard("no signature of another kind", f"{_TRUST}/signatures.py", "descriptor.media_type != PAYLOAD_TYPE or ", "", f"{_SIGNATURES} {_SIGNING}"),
    Guard("no huge payload is fetched", f"{_TRUST}/signatures.py", "descriptor.size > MAX_PAYLOAD or ", "", f"{_SIGNATURES} {_SIGNING}"),
    Guard("few payloads are fetched", f"{_TRUSTED}/stored.py", "[:MOST_PAYLOADS]", "", _SIGNING),
    Guard("few signatures of ours are looked at", f"{_TRUSTED}/stored.py", "[:MOST_OF_OURS]", "", _SIGNING),
    Guard("the index is signed by a key of the policy", f"{_TRUST}/statement.py", "if signed_by(text, signature, policy.keys) is None:", "if False:", _INDEX_SIGNING),
    Guard("the layers of the index", f"{_TRUST}/statement.py", "if (statement.document, statement.signatures) != (document, signatures):", "if False:", _INDEX_SIGNING),
    Guard("no snapshot for an index", f"{_TRUST}/statement.py", "if statement.snapshot != snapshot:", "if False:", "tests/unit/lifecycle/test_snapshots.py"),
    Guard("the repository of the index", f"{_TRUST}/statement.py", "if not policy.accepts_repository(statement.repository, here):", "if False:", _INDEX_SIGNING),
    Guard("no older index", f"{_TRUSTED}/trusted_index.py", "if newest is not None and statement.generation < newest:", "if False:", _INDEX_SIGNING),
    Guard("no index that is too old", f"{_TRUSTED}/trusted_index.py", "if self._policy.max_age is not None and age > self._policy.max_age:", "if False:", _INDEX_SIGNING),
    Guard("no index whose signature is gone", f"{_TRUSTED}/trusted_index.py", "if self._generations.newest(self._name) is not None:", "if False:", _INDEX_SIGNING),
    Guard("unsigned packages are not offered", f"{_TRUSTED}/trusted_index.py", 'if install.get("in_buildcache") and dag_hash not in offered:', "if False:", _INDEX_SIGNING),
    Guard("the newest index is remembered", f"{_TRUSTED}/trusted_index.py", "        self._generations.saw(self._name, statement.generation, statement.time)\n", "", _INDEX_SIGNING),
    Guard("an older index is not signed again", f"{_TRUSTED}/index_signing.py", "if found < seen:", "if False:", _INDEX_SIGNING),
    Guard("what the index proves is verified", f"{_TRUSTED}/guard.py", "            verify(self.policy, claim_of(remote, subject, read_from_manifest=False), signatures)\n", "", f"{_SIGNING} {_INDEX_SIGNING}"),
    Guard("no build under the name of another", f"{_TRUSTED}/guard.py", "        check_name(remote)\n", "", _INDEX_SIGNING),
    Guard("an index that nobody signed proves nothing", f"{_TRUSTED}/trusted_index.py", "_lines(table) if statement is not None else b\"\"", "_lines(table)", _INDEX_SIGNING),
    Guard("the SBOM is the one that was signed", f"{_TRUSTED}/sbom.py", "    if digest in signed_by:\n", "    if True:\n", "tests/unit/operations/test_signed_sbom.py"),
    Guard("a policy that requires an SBOM to be signed", f"{_TRUSTED}/sbom.py", "        if policy.required:\n", "        if False:\n", "tests/unit/operations/test_signed_sbom.py"),
    Guard("a policy that requires stops", f"{_TRUSTED}/guard.py", "            if self.policy.required:\n                raise\n", "", _SIGNING),
    Guard("a closure is refused as a whole", "lib/spack_oci/operations/install/closure.py", "        except TrustError as e:\n            return e\n", "        except TrustError:\n            return None\n", _SIGNING),
    Guard("what others overwrote comes back", f"{_TRUSTED}/index_signing.py", "if not others and (not own.is_new or own.is_fresh or tag_is(self._store, own.subject.manifest, own.digest)):", "if not others:", _TOGETHER),
    Guard("who signed with an SBOM", f"{_TRUSTED}/index_signing.py", "own.subject._replace(sbom=known.sbom)", "own.subject", f"{_TOGETHER} {_INDEX_SIGNING}"),
    Guard("a line of one SBOM", "lib/spack_oci/index/signature_table.py", "if self._makes_payloads and other._makes_payloads and self.sbom != other.sbom:", "if False:", f"{_TOGETHER} {_INDEX_SIGNING}"),
    Guard("an index that is held back", f"{_TRUSTED}/trusted_index.py", "            self._refuse_held_back(e)\n", "", _INDEX_SIGNING),
    Guard("a generation that nobody signed", f"{_TRUSTED}/index_signing.py", " and not self.is_signed(previous)", " and False", _INDEX_SIGNING),
    Guard("no digest in the index that is none", f"{_TRUSTED}/index_signing.py", "            check_digest(digest)\n", "            pass\n", _INDEX_SIGNING),
    Guard("no large signature in the index", f"{_TRUSTED}/index_signing.py", "if len(signature.payload) > _LONGEST_PAYLOAD:", "if False:", _INDEX_SIGNING),
    Guard("no half of a pair in a payload", f"{_TRUST}/payload.py", 'if b"\\\\u" in data:', "if False:", _INDEX_SIGNING),
    Guard("signatures of others are put back", f"{_TRUSTED}/index_signing.py", "others = [_signature(subject, s) for s in known.signatures if s.key != own.key_id]", "others = []", _TOGETHER),
    Guard("what others announced is put back", f"{_TRUSTED}/index_signing.py", "others += [s for s in self._announced.signatures_of(own.subject) if s.payload not in known_payloads]", "pass", _TOGETHER),
    Guard("who signs announces it", "lib/spack_oci/index/update/loop.py", "        self._signatures.announce()\n", "", _TOGETHER),
    Guard("no heap of announcements is read", f"{_TRUSTED}/announced.py", "[:MOST_KEYS]", "", _TOGETHER),
    Guard("nothing under the tag is replaced", f"{_TRUSTED}/write.py", "existing is None or not holds(existing, [s], label)", "True", _TOGETHER),
    Guard("the index learns of others", f"{_TRUSTED}/index_signing.py", "return was_lost or not set(keys_of(self.own[dag_hash])) <= set(keys_of(known))", "return was_lost", _TOGETHER),
)  # fmt: skip


#: the Python with this package in it is one with the copy
_ENVIRONMENT = {"SPACK_OCI_TEST_CACHE": str(ROOT / ".test" / "mutants")}


def survives(guard: Guard, copy: Path) -> bool:
    path = copy / guard.path
    source = path.read_text()
    if source.count(guard.code) != 1:
        raise SystemExit(f"{guard.name}: {guard.path} holds {guard.code!r} {source.count(guard.code)} times, not once")
    path.write_text(source.replace(guard.code, guard.without))
    try:
        argv = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *guard.tests.split()]
        env = {**os.environ, **_ENVIRONMENT, "PYTHONPATH": "lib:tests"}
        run = subprocess.run(argv, cwd=copy, capture_output=True, text=True, env=env)
        if run.returncode == 0 and " passed" not in run.stdout:
            raise SystemExit(f"{guard.name}: no test was run\n{run.stdout}")
        return run.returncode == 0
    finally:
        path.write_text(source)


def main() -> int:
    chosen = [guard for guard in GUARDS if not sys.argv[1:] or any(part in guard.name for part in sys.argv[1:])]
    survivors = 0
    with tempfile.TemporaryDirectory() as directory:
        copy = Path(directory)
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        for name in (n for n in listed.rstrip("\0").split("\0") if (ROOT / n).is_file()):
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, copy / name)
        for guard in chosen:
            survived = survives(guard, copy)
            survivors += survived
            print(f"{'SURVIVED' if survived else 'caught  '}  {guard.name} ({guard.path})", flush=True)
    print(f"{len(chosen)} guards removed, {survivors} not noticed")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
