"""A destination's attributes as people send them. In: a JSON object. Out: the agents' settings, or an error that names
the field."""

import re
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from agent.wire.destinations import (
    MASK,
    PHRASE,
    PROVIDERS,
    SECRET_FIELDS,
    AzureSettings,
    LocalSettings,
    S3Settings,
    Settings,
    encryption_of,
    object_lock_of,
    recipient_of,
    secrets_of,
)
from coordinator.opscenter import quirks
from coordinator.opscenter.copies import refuse_compression
from coordinator.opscenter.rules import NAMES
from kit.errors import HelenusError
from kit.logs import Redactor

_ALWAYS = frozenset({"id", "delete_this", "provider", "throttle", "compressed", *NAMES})
"""What may stand in a body, whatever the provider. `read_settings` gets it without the rule of retention."""
OPTIONS = _ALWAYS.union(*({field.name for field in msgspec.structs.fields(kind)} for kind in PROVIDERS.values()))
"""What may stand in a body of any provider."""
MOST_CONNECTIONS = 64


def read_settings(body: dict[str, Any], known: Settings | None) -> Settings:
    """The whole settings: those `known` with what the body changes. A masked secret means «unchanged», and is refused
    with another endpoint or bucket: it only goes to the store it was given for. `body` has no `id` and no `delete_this`
    any more."""
    before: dict[str, Any] = {} if known is None else msgspec.to_builtins(known)
    provider = body.get("provider", before.get("provider"))
    provider = quirks.as_one_of(provider, "provider", PROVIDERS)
    if before and provider != before["provider"]:
        raise quirks.refuse("provider", "can't be changed: add another destination")
    refuse_compression(body)
    given = {name: value for name, value in body.items() if value is not None and name != "compressed"}
    kind = PROVIDERS[provider]
    fields = [field.name for field in msgspec.structs.fields(kind)]
    quirks.allow_only(given, _ALWAYS.union(fields))
    if "throttle" in given:
        if "throttle_bytes_per_second" in given:
            raise quirks.refuse("throttle", "is given beside throttle_bytes_per_second")
        given["throttle_bytes_per_second"] = quirks.as_bytes_per_second(given.pop("throttle"), "throttle")
    _spell(given)
    for name in SECRET_FIELDS & given.keys():
        if given[name] == MASK:
            if known is None:
                raise quirks.refuse(name, "is only a mask: send the secret itself")
            del given[name]
    sent = {*given, *_unmask_passphrase(given, before)}
    settings = _convert({**before, **given, "provider": provider}, kind)
    _check(settings)
    if known is not None and recipient_of(settings) != recipient_of(known):
        for name, value in secrets_of(known).items():
            if value and name not in sent:
                raise quirks.refuse(name, "must be sent again with another endpoint or bucket")
    return settings


def _unmask_passphrase(given: dict[str, Any], before: dict[str, Any]) -> set[str]:
    """Put the known passphrase in the place of its mask; {"passphrase"} when another way to the keys was sent."""
    encryption = given.get("encryption")
    if not isinstance(encryption, dict):
        return set()
    if encryption.get(PHRASE) != MASK:
        return {PHRASE}
    kept = before.get("encryption", {}).get(PHRASE)
    if not kept:
        raise quirks.refuse(PHRASE, "is only a mask: send the secret itself")
    given["encryption"] = {**encryption, PHRASE: kept}
    return set()


def secrets_in(value: object, *, inside: bool = False) -> Iterator[str]:
    """Every text that stands where a secret belongs, whatever shape it was given in."""
    if isinstance(value, dict):
        for name, entry in value.items():
            yield from secrets_in(entry, inside=inside or name in SECRET_FIELDS)
    elif isinstance(value, list):
        for entry in value:
            yield from secrets_in(entry, inside=inside)
    elif inside and isinstance(value, str) and value != MASK:
        yield value


def conceal(error: HelenusError, secrets: Iterable[str]) -> None:
    """Take the secrets out of an error: somebody may have put one into another field too."""
    redactor = Redactor()
    for secret in secrets:
        redactor.add(secret)
    error.message = redactor.clean(error.message)
    error.fields = msgspec.json.decode(redactor.clean(msgspec.json.encode(error.fields, enc_hook=str).decode()))


def _spell(given: dict[str, Any]) -> None:
    """Texts for numbers and booleans, and OpsCenter's boolean for server-side encryption, put into the settings'
    types."""
    for name in ("shared", "path_style"):
        if name in given:
            given[name] = quirks.as_bool(given[name], name)
    for name, least in (("throttle_bytes_per_second", 0), ("connections", 1)):
        if name in given:
            given[name] = quirks.as_int(given[name], name, least=least)
            if given[name] is None:
                del given[name]
    key = given.get("service_account_key")
    if isinstance(key, str):  # files have it on many lines
        given["service_account_key"] = key.replace("\r", "").replace("\n", "")
    encryption = given.get("server_side_encryption")
    if isinstance(encryption, bool) or (isinstance(encryption, str) and encryption.lower() in ("true", "false")):
        given["server_side_encryption"] = "AES256" if quirks.as_bool(encryption, "server_side_encryption") else ""


def _convert(data: dict[str, Any], kind: type[Settings]) -> Settings:
    try:
        return msgspec.convert(data, kind)
    except msgspec.ValidationError as error:
        told, _, where = str(error).partition(" - at `$")
        field = where.rstrip("`").removeprefix(".")
        missing = re.fullmatch(r"Object missing required field `(.*)`", told)
        if missing:
            raise quirks.refuse(f"{field}.{missing.group(1)}".lstrip("."), "is missing") from None
        field = field or "destination"
        raise quirks.refuse(field, f"is not as it must be: {told[:1].lower()}{told[1:]}") from None


def _check(settings: Settings) -> None:
    for name, value in msgspec.structs.asdict(settings).items():
        if isinstance(value, str):
            quirks.as_text(value, name, most=4096 if name in SECRET_FIELDS else 1024)
    encryption = encryption_of(settings)
    if encryption is not None:
        for name, value in msgspec.structs.asdict(encryption).items():
            quirks.as_text(value, name, most=4096)
    lock = object_lock_of(settings)
    if lock is not None:
        quirks.as_text(lock.control, "object_lock.control", most=1024)
    if not settings.path.strip("/ "):
        raise quirks.refuse("path", "is empty")
    if ".." in settings.path.split("/"):
        raise quirks.refuse("path", "must not climb with «..»")
    if isinstance(settings, AzureSettings):
        if not re.fullmatch(r"[a-z0-9]{3,24}", settings.account):
            raise quirks.refuse("account", "must have 3 to 24 lower-case letters and digits")
        if settings.account_key and settings.sas_token:
            raise quirks.refuse("sas_token", "is given beside account_key: send one of them")
    if not isinstance(settings, LocalSettings):
        if settings.path.startswith("/"):
            raise quirks.refuse("path", "must be a bucket (or container), or bucket/prefix")
        if settings.connections > MOST_CONNECTIONS:
            raise quirks.refuse("connections", f"must be at most {MOST_CONNECTIONS}")
        below = rf"(/{settings.account})?" if isinstance(settings, AzureSettings) else ""
        if settings.endpoint and not re.fullmatch(rf"https?://[^/?#\s@]+{below}/?", settings.endpoint):
            more = "the account's name at most" if below else "no more"
            raise quirks.refuse("endpoint", f"must be http:// or https:// with host and port, and {more}")
    if isinstance(settings, S3Settings) and bool(settings.access_key) != bool(settings.access_secret):
        raise quirks.refuse("access_secret", "and access_key go together")
