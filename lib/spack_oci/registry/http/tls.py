# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Which certificates are trusted, and which one is shown."""

import os
import ssl

from ...errors import ConfigurationError
from ..settings import RegistrySettings


def tls_context(settings: RegistrySettings) -> ssl.SSLContext:
    """``ca_bundle``, else $REQUESTS_CA_BUNDLE or $CURL_CA_BUNDLE, else what OpenSSL knows (also $SSL_CERT_FILE).

    The variables are read here, as ``requests`` gives them precedence over ``Session.verify``.
    """
    bundle = settings.ca_bundle or os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if bundle else ssl.create_default_context()
    try:
        if bundle:
            if os.path.isdir(bundle):
                context.load_verify_locations(capath=bundle)
            else:
                context.load_verify_locations(cafile=bundle)
        elif not context.cert_store_stats()["x509_ca"] and not ssl.get_default_verify_paths().capath:
            import certifi  # comes with requests

            context.load_verify_locations(cafile=certifi.where())
    except (OSError, ssl.SSLError) as e:
        raise ConfigurationError(f"cannot read the CA certificates in {bundle}: {e}") from e
    if settings.client_cert:
        try:
            context.load_cert_chain(settings.client_cert, settings.client_key)
        except (OSError, ssl.SSLError) as e:
            raise ConfigurationError(f"cannot use the client certificate {settings.client_cert}: {e}") from e
    context.set_alpn_protocols(["http/1.1"])
    if not settings.verify_tls:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
