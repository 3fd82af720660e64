"""How a service listens: the settings of an `[http]` table, and the rule of what may be reached from elsewhere."""

import ipaddress
import ssl
from pathlib import Path

import msgspec

from kit.bounds import BodyBytes, Connections, ListeningPort, Seconds
from kit.config import ConfigError, absolute_path, read_secret, secret_path
from kit.secret import Secret
from kit.tls import TlsNames, server_context


class HttpSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An `[http]` table. Paths are absolute; `token_file` and `tls_key` may be `credential:<name>`. Port 0 takes a free
    one. Sizes in bytes, times in seconds."""

    host: str = "127.0.0.1"
    port: ListeningPort = 0
    token_file: str = ""
    tls_certificate: str = ""
    tls_key: str = ""
    client_ca: str = ""
    max_body_bytes: BodyBytes = 4_000_000
    body_seconds: Seconds = 30.0
    keepalive_seconds: Seconds = 75.0
    max_connections: Connections = 256


class Access(msgspec.Struct, frozen=True):
    """What `HttpSettings` come to: the TLS context and what a request must show. No token, no client certificate and no
    login asked = everybody on this machine."""

    tls: ssl.SSLContext | None
    token: Secret | None
    client_certificate: bool
    login: bool = False


def access_of(settings: HttpSettings, *, login: bool = False, setting: str = "http") -> Access:
    """Read the files that the settings name. `login`: the service asks for users' logins itself. Raises `ConfigError`,
    also when another address than loopback would be served without TLS or to everybody."""
    if bool(settings.tls_certificate) != bool(settings.tls_key):
        raise ConfigError(
            f"«{setting}.tls_certificate» and «{setting}.tls_key» go together", setting=f"{setting}.tls_key"
        )
    if settings.client_ca and not settings.tls_certificate:
        raise ConfigError(f"«{setting}.client_ca» needs «{setting}.tls_certificate»", setting=f"{setting}.client_ca")
    if not is_loopback(settings.host, setting=f"{setting}.host"):
        if not settings.tls_certificate:
            raise ConfigError(
                f"«{setting}.host» is {settings.host}: another address than loopback is served with TLS only",
                setting=f"{setting}.tls_certificate",
            )
        if not (settings.token_file or settings.client_ca or login):
            raise ConfigError(
                f"«{setting}.host» is {settings.host}: another address than loopback needs «{setting}.token_file» or "
                f"«{setting}.client_ca»",
                setting=f"{setting}.token_file",
            )
    token = read_secret(settings.token_file, setting=f"{setting}.token_file") if settings.token_file else None
    tls = None
    if settings.tls_certificate:
        tls = server_context(
            absolute_path(settings.tls_certificate, setting=f"{setting}.tls_certificate"),
            secret_path(settings.tls_key, setting=f"{setting}.tls_key"),
            _optional_path(settings.client_ca, f"{setting}.client_ca"),
            named=TlsNames(f"{setting}.client_ca", f"{setting}.tls_certificate", f"{setting}.tls_key"),
        )
    return Access(tls, token, bool(settings.client_ca), login)


def url_at(host: str, port: int, *, tls: bool) -> str:
    """Where a service that listens there is reached from this machine."""
    return f"{'https' if tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"


def _optional_path(place: str, setting: str) -> Path | None:
    return absolute_path(place, setting=setting) if place else None


def is_loopback(host: str, *, setting: str) -> bool:
    """Whether only this machine reaches the address. `host` is an IP address or `localhost`; other names could mean
    anything tomorrow and are refused."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        raise ConfigError(f"«{setting}» must be an IP address or localhost, not «{host}»", setting=setting) from None
