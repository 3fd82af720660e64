"""TLS contexts from files. In: paths of PEM files. Out: `ssl.SSLContext`s, TLS 1.2 at least, or a `ConfigError`."""

import ssl
from pathlib import Path

from kit.config import ConfigError


def server_context(certificate: Path, key: Path, client_ca: Path | None, *, setting: str) -> ssl.SSLContext:
    """For a listening socket. With `client_ca` a client may show a certificate, which must be signed by it; whether one
    is needed is decided per request (/health needs none)."""
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(certificate, key)
        if client_ca is not None:
            context.load_verify_locations(client_ca)
            context.verify_mode = ssl.CERT_OPTIONAL
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"the TLS files of «{setting}» can't be used: {error}", setting=setting) from None
    return context


def client_context(
    ca: Path | None, certificate: Path | None = None, key: Path | None = None, *, setting: str
) -> ssl.SSLContext:
    """For connections to a server whose name and certificate are checked, against `ca` alone when it is given."""
    try:
        context = ssl.create_default_context(cafile=None if ca is None else str(ca))
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if certificate is not None:
            context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"the TLS files of «{setting}» can't be used: {error}", setting=setting) from None
    return context
