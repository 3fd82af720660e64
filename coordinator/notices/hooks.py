"""Webhooks as configured, their files read. In: the tables `[webhooks.<name>]`. Out: `Hook`s, or a `ConfigError`."""

import ipaddress
import re
import ssl
from collections.abc import Mapping
from urllib.parse import SplitResult, urlsplit

import msgspec

from coordinator.model.notices import TYPES, wants
from coordinator.model.settings import WebhookSettings
from coordinator.notices.addresses import why_no_literal
from coordinator.notices.signing import key_of
from kit.config import ConfigError, absolute_path, read_secret
from kit.secret import Secret
from kit.tls import TlsNames, client_context

LOCALHOST = "localhost"
HOST = re.compile(r"[a-z0-9._-]+")
"""No two readers of a URL differ in what of it is such a host."""


class Hook(msgspec.Struct, frozen=True):
    """A receiver of notices. `url` may hold a secret in its path and is shown to nobody; `host` is for people. `local`:
    its host is localhost. `tls` None: plain HTTP, which only this machine's own addresses are told by."""

    name: str
    url: Secret
    host: str
    local: bool
    secret: Secret
    events: list[str]
    tls: ssl.SSLContext | None


def hooks_of(settings: Mapping[str, WebhookSettings]) -> list[Hook]:
    """The hooks of the configuration. Raises `ConfigError`, which names the setting and not the URL."""
    return [_hook(name, of) for name, of in settings.items()]


def _hook(name: str, of: WebhookSettings) -> Hook:
    at = f"webhooks.{name}"
    parts = _parts(of.url, f"{at}.url")
    host = parts.hostname or ""
    for number, pattern in enumerate(of.events):
        if not any(wants([pattern], type) for type in TYPES):
            setting = f"{at}.events[{number}]"
            raise ConfigError(
                f"«{setting}»: no event is named «{pattern}»; there are {', '.join(sorted(TYPES))}", setting=setting
            )
    secret = read_secret(of.secret_file, setting=f"{at}.secret_file")
    try:
        key_of(secret)
    except ValueError as error:
        raise ConfigError(
            f"the secret in the file of «{at}.secret_file» can't be used: {error}; `openssl rand -base64 32` makes one",
            setting=f"{at}.secret_file",
        ) from None
    if of.ca_file and parts.scheme == "http":
        raise ConfigError(f"«{at}.ca_file» goes with an https URL", setting=f"{at}.ca_file")
    tls = None
    if parts.scheme == "https":
        ca = absolute_path(of.ca_file, setting=f"{at}.ca_file") if of.ca_file else None
        tls = client_context(ca, named=TlsNames(f"{at}.ca_file"))
    return Hook(name, Secret(of.url), host, host == LOCALHOST, secret, of.events, tls)


def _parts(url: str, setting: str) -> SplitResult:
    def refuse(why: str) -> ConfigError:
        return ConfigError(f"«{setting}» {why}", setting=setting)

    if not url.isascii() or any(character.isspace() or not character.isprintable() for character in url):
        raise refuse("must be of printable ASCII characters without spaces")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise refuse("is no URL") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise refuse("must be an https URL with a host")
    if "@" in parts.netloc:
        raise refuse("holds a user or password: a receiver knows us by the signature")
    if parts.fragment:
        raise refuse("has a fragment (#), which is never sent")
    loopback = parts.hostname == LOCALHOST
    try:
        address = ipaddress.ip_address(parts.hostname)
    except ValueError:
        if not HOST.fullmatch(parts.hostname):
            raise refuse("has a host that is neither a name nor an IP address") from None
        if parts.hostname.rstrip(".").rpartition(".")[2][:1].isdigit():
            raise refuse("has an IP address that isn't spelled as it should be") from None
    else:
        loopback = address.is_loopback
        why = why_no_literal(address)
        if why is not None:
            raise refuse(f"names {address}, which {why}")
    if parts.scheme == "http" and not loopback:
        raise refuse("needs https: without it notices would travel in clear to another machine")
    return parts
