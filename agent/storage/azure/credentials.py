"""What authorises the requests. In: a destination's settings, the directories credentials may come from, environment.
Out: the account's key or a shared access signature, or None where the machine's own identity shall be asked.

A connection string names its account and endpoint too: the destination's own settings say those, so that nobody's key
goes to another store; one of another account is refused.
"""

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from agent.storage.allowed_files import credentials_text
from agent.storage.protocol import BadSettings
from agent.wire.destinations import AzureSettings
from kit.secret import Secret


class AccountKey(msgspec.Struct, frozen=True):
    """Signs everything in the account."""

    key: Secret


class Sas(msgspec.Struct, frozen=True):
    """A shared access signature: the query of a URL, without its question mark."""

    token: Secret


Credential = AccountKey | Sas


def credential_of(settings: AzureSettings, roots: Sequence[Path], environment: Mapping[str, str]) -> Credential | None:
    """From the settings, else their file, else the environment, else None. Raises `BadSettings`."""
    if settings.account_key or settings.sas_token:
        return _one_of(settings.account_key, settings.sas_token, "account_key")
    if settings.credentials_file:
        text = credentials_text(settings.credentials_file, roots).strip()
        return _from_text(text, settings.account, "credentials_file")
    if environment.get("AZURE_STORAGE_CONNECTION_STRING"):
        return _from_connection_string(environment["AZURE_STORAGE_CONNECTION_STRING"], settings.account, "account")
    key, sas = environment.get("AZURE_STORAGE_KEY", ""), environment.get("AZURE_STORAGE_SAS_TOKEN", "")
    return _one_of(key, sas, "account_key") if key or sas else None


def _from_text(text: str, account: str, setting: str) -> Credential:
    if not text.startswith("{"):
        return _from_connection_string(text, account, setting)
    try:
        found = json.loads(text)
    except ValueError:
        raise BadSettings("the credentials file is no valid JSON", setting=setting) from None
    return _one_of(str(found.get("account_key") or ""), str(found.get("sas_token") or ""), setting)


def _from_connection_string(text: str, account: str, setting: str) -> Credential:
    parts = dict(part.strip().partition("=")[::2] for part in text.split(";") if "=" in part)
    named = parts.get("AccountName", account)
    if named != account:
        raise BadSettings(f"the connection string is of another account than {account!r}", setting=setting)
    return _one_of(parts.get("AccountKey", ""), parts.get("SharedAccessSignature", ""), setting)


def _one_of(key: str, sas: str, setting: str) -> Credential:
    if bool(key) == bool(sas):
        raise BadSettings("there must be an account key or a shared access signature, one of them", setting=setting)
    if key:
        try:
            base64.b64decode(key, validate=True)
        except (binascii.Error, ValueError):
            raise BadSettings("the account key is not base64, as Azure shows it", setting=setting) from None
        return AccountKey(Secret(key))
    token = sas.removeprefix("?")
    if "sig=" not in token or not token.isascii() or not token.isprintable() or " " in token:
        raise BadSettings("the shared access signature has no «sig=», or is no query of a URL", setting=setting)
    return Sas(Secret(token))
