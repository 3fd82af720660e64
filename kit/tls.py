"""TLS contexts from files. In: paths of PEM files. Out: `ssl.SSLContext`s, TLS 1.2 at least, or a `ConfigError` that
says which file of which setting is wrong, and what belongs there."""

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from kit.config import ConfigError, ConfigUnreadable

NO_PASSPHRASE = ""
"""Given to OpenSSL, which would ask for one at the terminal otherwise."""


class TlsNames(NamedTuple):
    """The settings that name the files, for errors."""

    ca: str
    certificate: str = ""
    key: str = ""


class TlsFileUnfit(ConfigError):
    """A certificate, key or CA file holds something else, or the two of a pair don't belong together."""

    todo = "Put the right file, in PEM form, at the named path, or correct the setting, and start the service again."


def server_context(certificate: Path, key: Path, client_ca: Path | None, *, named: TlsNames) -> ssl.SSLContext:
    """For a listening socket. With `client_ca` a client may show a certificate, which must be signed by it; whether one
    is needed is decided per request (/health needs none)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _show(context, certificate, key, named)
    if client_ca is not None:
        _read(client_ca, named.ca)
        try:
            context.load_verify_locations(client_ca)
        except (OSError, ssl.SSLError):
            raise _no_ca(named.ca, client_ca) from None
        context.verify_mode = ssl.CERT_OPTIONAL
    return context


def client_context(
    ca: Path | None, certificate: Path | None = None, key: Path | None = None, *, named: TlsNames
) -> ssl.SSLContext:
    """For connections to a server whose name and certificate are checked, against `ca` alone when it is given; else
    against what this machine trusts. Without a `key` it is in the certificate's file."""
    if ca is None:
        context = ssl.create_default_context()
    else:
        _read(ca, named.ca)
        try:
            context = ssl.create_default_context(cafile=str(ca))
        except (OSError, ssl.SSLError):
            raise _no_ca(named.ca, ca) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if certificate is not None:
        _show(context, certificate, key, named)
    return context


def _show(context: ssl.SSLContext, certificate: Path, key: Path | None, named: TlsNames) -> None:
    chain = _read(certificate, named.certificate)
    secret, of_key, key_path = chain, named.certificate, certificate
    if key is not None:
        secret, of_key, key_path = _read(key, named.key), named.key, key
    try:
        context.load_cert_chain(certificate, key, NO_PASSPHRASE)
    except (OSError, ssl.SSLError) as error:
        if not _holds(x509.load_pem_x509_certificates, chain):
            raise _unfit(named.certificate, certificate, "holds no certificate in PEM form") from None
        try:
            load_pem_private_key(secret, None)
        except TypeError:
            why = "holds a key with a passphrase, which nobody is there to type; openssl pkey takes it off"
            raise _unfit(of_key, key_path, why) from None
        except (ValueError, UnsupportedAlgorithm):
            where = "" if key is not None else f"; «{named.key}» names the file of one apart"
            raise _unfit(of_key, key_path, f"holds no private key in PEM form{where}") from None
        if "MISMATCH" in (getattr(error, "reason", None) or ""):
            why = f"isn't the key of the certificate {certificate}, which «{named.certificate}» names"
            raise _unfit(of_key, key_path, why) from None
        raise _unfit(named.certificate, certificate, f"can't be used with the key {key_path}: {error}") from None


def _holds(load: Callable[[bytes], object], content: bytes) -> bool:
    try:
        load(content)
    except ValueError:
        return False
    return True


def _read(path: Path, setting: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigUnreadable(
            f"«{setting}»: the file {path} can't be read: {error.strerror}", setting=setting, file=str(path)
        ) from None


def _no_ca(setting: str, path: Path) -> TlsFileUnfit:
    return _unfit(setting, path, "holds no CA certificate in PEM form")


def _unfit(setting: str, path: Path, why: str) -> TlsFileUnfit:
    return TlsFileUnfit(f"«{setting}»: the file {path} {why}", setting=setting, file=str(path))
