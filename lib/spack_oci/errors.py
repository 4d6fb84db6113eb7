# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Every exception that the library raises on purpose.

::

    SpackOciError
    ├── InvalidReference            a URL, repository name, tag or digest that cannot be parsed
    ├── InvalidSpec                 a version or a spec of a package that cannot be parsed
    ├── SelectionError              a spec that does not name one package
    │   ├── NothingFits             nothing matches, or nothing that matches runs on this machine
    │   └── Ambiguous               several match, and nothing says which
    ├── ConfigurationError          a setting that is missing or wrong
    │   ├── CredentialsNotSet       a variable that holds credentials is not set, as in the pipeline of a fork
    │   └── CredentialsUnavailable  the user's credential files name some that cannot be had: anonymous requests go on
    ├── ContentError                content is not there, or is not what it should be
    │   ├── NotFound                the only "miss": a 404, or no such file in a layout
    │   ├── DigestMismatch          the bytes are not the ones that the descriptor names (digest or size)
    │   ├── InvalidContent          not JSON, too large, not of the expected kind
    │   └── NotAPackage             readable, but not a Spack package
    ├── TransportError              no complete answer came back
    │   ├── Unreachable             no such host, connection refused, no route
    │   ├── TLSFailure              the certificate or the handshake
    │   ├── TimedOut
    │   └── ConnectionLost          reset or closed in the middle of a message
    ├── ResponseError               the server answered, and said no (``status``, ``codes``)
    │   ├── Unauthorized            401: no credentials, or not accepted
    │   ├── Forbidden               403: known, but not allowed
    │   ├── RateLimited             429 (``retry_after``: seconds, or None)
    │   ├── ServerFailure           5xx
    │   └── UnexpectedResponse      any other status, or an answer that breaks the protocol
    ├── ArchiveError                a package's tarball
    │   ├── UnsafeArchive           a member outside the prefix, a device, a link that leaves the prefix
    │   ├── CorruptArchive          not a tar, not compressed as declared, cut short
    │   └── PrefixChanged           files of the prefix changed or vanished while they were read
    ├── RelocationError             a prefix that cannot be rewritten
    │   └── PrefixTooLong           a C string that would have to grow
    ├── ImageError                  base images, libc compatibility, layers, tags
    ├── IndexUpdateError            an index that cannot be read, merged or written
    ├── StoreError                  an install tree of Spack's
    │   ├── NotAStore               no such directory, or none that Spack has made
    │   ├── UnknownDatabase         its database is of a version that is not known here
    │   ├── CorruptDatabase         its database cannot be read
    │   └── StoreLocked             another process holds a lock on it for too long
    ├── TrustError                  what a policy of ``oci:trust`` asks for is not there
    │   ├── NotSigned               no signature, or none by a key of the policy
    │   ├── BadSignature            a signature that does not fit: altered, of another package, of another repository
    │   └── StaleIndex              an index older than one seen before, too old, or not signed any more
    ├── SigningError                no signature could be made
    ├── StorageError                the local disk: full, read-only, not permitted
    └── OutOfMemory                 of this process, or of this machine

The message of an error is one line: what was being done, to what, and what came back. ``remedy`` is one more sentence:
what to do next. ``str(error)`` has both. Neither ever holds a secret.
"""

import errno
from typing import Optional, Sequence

_MORE_MEMORY = "allow more memory (`ulimit -v`, the limit of the job or container), or use fewer jobs (oci:jobs)"
_LOCKS = "this file system may lack what is needed (locks: Lustre's mount option is `flock`); choose another directory"


class SpackOciError(Exception):
    """Base class. ``message``: what happened; ``remedy``: what to do next (may be empty)."""

    #: remedy for raisers that know nothing better
    default_remedy = ""

    def __init__(self, message: str, *, remedy: Optional[str] = None) -> None:
        self.message = message
        self.remedy = self.default_remedy if remedy is None else remedy
        super().__init__(message)

    def __str__(self) -> str:
        return f"{self.message}: {self.remedy}" if self.remedy else self.message


def unforeseen(action: str, error: BaseException) -> SpackOciError:
    """What becomes of one of many (a package, an image) that fails as nobody foresaw: the others go on, and this says
    which it was. ``action``: e.g. ``"pushing zlib@1.3.1/abcdefg"``."""
    if isinstance(error, UnicodeEncodeError):  # half of a surrogate pair, which Python's strings can hold
        around = error.object[max(0, error.start - 40) : error.end + 10]
        return InvalidContent(
            f"{action}: this cannot be written as UTF-8: {around!a}",
            remedy="correct what it comes from (a recipe, a variant, a path), and install that again",
        )
    said = f"{action}: {type(error).__name__}: {error}".encode("utf-8", "backslashreplace").decode("utf-8")
    result = SpackOciError(said, remedy="this is a defect: please report it")
    result.__cause__ = error
    return result


class InvalidReference(SpackOciError):
    pass


class InvalidSpec(SpackOciError):
    pass


class SelectionError(SpackOciError):
    pass


class NothingFits(SelectionError):
    pass


class Ambiguous(SelectionError):
    pass


class ConfigurationError(SpackOciError):
    pass


class CredentialsNotSet(ConfigurationError):
    pass


class CredentialsUnavailable(ConfigurationError):
    pass


class ContentError(SpackOciError):
    pass


class NotFound(ContentError):
    pass


class DigestMismatch(ContentError):
    default_remedy = "the content was damaged on its way or in its store; try again, then push it anew with --force"


class InvalidContent(ContentError):
    pass


class NotAPackage(ContentError):
    pass


class TransportError(SpackOciError):
    pass


class Unreachable(TransportError):
    default_remedy = "check the host name, the network and the proxy settings"


class TLSFailure(TransportError):
    default_remedy = (
        "name the CA with oci:registries:HOST:ca_bundle, or use oci+http:// if the registry speaks plain http"
    )


class TimedOut(TransportError):
    default_remedy = "try again, or raise config:connect_timeout"


class ConnectionLost(TransportError):
    default_remedy = "try again; what was transferred is not sent twice"


class HostAway(ConnectionLost):
    """A host that has answered before takes no connection. ``host``: HOST[:PORT]."""

    host = ""


class ResponseError(SpackOciError):
    """The server's answer. ``status``: HTTP status; ``codes``: the error codes of its JSON body, e.g. ``DENIED``;
    ``retry_after``: seconds that it asks to wait, or None."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 0,
        codes: Sequence[str] = (),
        retry_after: Optional[float] = None,
        remedy: Optional[str] = None,
    ) -> None:
        super().__init__(message, remedy=remedy)
        self.status = status
        self.codes = tuple(codes)
        self.retry_after = retry_after


#: a code of a :class:`ResponseError`: it concerns what was to be deleted alone, and not the next
CANNOT_BE_DELETED = "CANNOT_BE_DELETED"

#: the end of :func:`how_to_log_in`, which programs without Spack leave out
WITH_SPACK_MIRROR_SET = ", or give the mirror credentials with `spack mirror set`"


def how_to_log_in(host: str = "HOST") -> str:
    """What whoever has shown no credentials can do."""
    return f"log in with `spack oci login {host}`{WITH_SPACK_MIRROR_SET}"


class Unauthorized(ResponseError):
    default_remedy = how_to_log_in()


class Forbidden(ResponseError):
    default_remedy = "the credentials are known but lack this permission; ask the registry's owner, or use others"


class RateLimited(ResponseError):
    default_remedy = "wait, use credentials with a higher limit, or add another mirror"


class ServerFailure(ResponseError):
    default_remedy = "the registry is in trouble; try again later"


class UnexpectedResponse(ResponseError):
    pass


class ArchiveError(SpackOciError):
    pass


class UnsafeArchive(ArchiveError):
    default_remedy = "do not install from this cache until its owner has explained this package"


class CorruptArchive(ArchiveError):
    default_remedy = "push the package again with --force"


class PrefixChanged(ArchiveError):
    default_remedy = "let the program that writes there finish, then push again"


class RelocationError(SpackOciError):
    pass


class PrefixTooLong(RelocationError):
    default_remedy = "install into a shorter tree, or build with more padding (config:install_tree:padded_length)"


class ImageError(SpackOciError):
    pass


class IndexUpdateError(SpackOciError):
    pass


class StoreError(SpackOciError):
    pass


class NotAStore(StoreError):
    pass


class UnknownDatabase(StoreError):
    pass


class CorruptDatabase(StoreError):
    default_remedy = "run `spack reindex` with the Spack that it belongs to"


class StoreLocked(StoreError):
    default_remedy = "wait until the other command is done, then try again"


class TrustError(SpackOciError):
    pass


class NotSigned(TrustError):
    pass


class BadSignature(TrustError):
    pass


class StaleIndex(TrustError):
    pass


class SigningError(SpackOciError):
    pass


class StorageError(SpackOciError):
    #: of the system's error, if it was made of one; it survives the way from another process
    errno: Optional[int] = None

    @classmethod
    def from_os_error(cls, action: str, error: OSError) -> "StorageError":
        """``action``: e.g. ``"extracting zlib@1.3.1 to /opt/..."``."""
        remedy = {
            errno.ENOSPC: "free some space on that file system and run the command again",
            errno.EDQUOT: "your disk quota is used up; free some space and run the command again",
            errno.EROFS: "the file system is read-only; choose another directory",
            errno.ENOMEM: _MORE_MEMORY,
            errno.EMFILE: "allow more open files (`ulimit -n`), or use fewer jobs (oci:jobs)",
            errno.ENFILE: "this machine has too many open files; try again later",
            errno.ENOLCK: _LOCKS,
            errno.ENOSYS: _LOCKS,
            errno.EACCES: "this user may not do that there; check the permissions or choose another directory",
            errno.EPERM: "this user may not do that there; check the permissions or choose another directory",
        }.get(error.errno or 0, "")
        where = f" ({error.filename})" if error.filename else ""
        result = cls(f"{action}: {error.strerror or error}{where}", remedy=remedy)
        result.errno = error.errno
        return result


class OutOfMemory(SpackOciError):
    default_remedy = _MORE_MEMORY
