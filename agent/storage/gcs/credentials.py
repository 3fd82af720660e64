"""Who signs the requests to Google. In: a destination's settings and the directories credentials may come from. Out:
the SDK's credentials, or None where it shall look at the environment and the machine's own role.

The key is named by whoever may call the API, so it is a service account's key and nothing else (other kinds run
programs, read files, ask servers), and it is shown to Google alone, or to the destination's own endpoint.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from google.auth.credentials import AnonymousCredentials, Credentials
from google.auth.exceptions import GoogleAuthError
from google.oauth2 import service_account

from agent.storage.allowed_files import credentials_text
from agent.storage.protocol import BadSettings
from agent.wire.destinations import GcsSettings

SCOPE = "https://www.googleapis.com/auth/devstorage.read_write"
GOOGLE = re.compile(r"https://[a-z0-9.-]+\.googleapis\.com(:443)?/[a-z0-9/._-]*", re.IGNORECASE)
"""Where Google gives out tokens: oauth2.googleapis.com, or the same behind a private endpoint."""


def credentials_of(settings: GcsSettings, roots: Sequence[Path]) -> Credentials | None:
    """Credentials from the settings, else from their file, else None. Raises `BadSettings`.

    A token is all that it takes to do what its owner may, so none is sent in the clear: over http (an emulator)
    requests are anonymous, and settings that hold a key are refused.
    """
    if settings.endpoint.lower().startswith("http:"):
        if settings.service_account_key or settings.credentials_file:
            raise BadSettings("credentials are sent over https only", setting="endpoint")
        return _anonymous()
    if settings.service_account_key:
        return _of_key(settings.service_account_key, settings.endpoint, "service_account_key")
    if settings.credentials_file:
        text = credentials_text(settings.credentials_file, roots)
        return _of_key(text, settings.endpoint, "credentials_file")
    return None


def _anonymous() -> Credentials:
    anonymous: Credentials = AnonymousCredentials()  # type: ignore[no-untyped-call]
    return anonymous


def _of_key(text: str, endpoint: str, setting: str) -> Credentials:
    try:
        key = json.loads(text)
    except ValueError:
        key = None
    if not isinstance(key, dict) or key.get("type") != "service_account":
        raise BadSettings(f"{setting} is no service account's key (JSON of type service_account)", setting=setting)
    _check_token_address(key, endpoint, setting)
    try:
        made: Credentials = service_account.Credentials.from_service_account_info(key, scopes=[SCOPE])  # type: ignore[no-untyped-call]
    except (ValueError, GoogleAuthError):
        # The SDK's own message may quote the key.
        raise BadSettings(f"{setting} is no service account's key that can be used", setting=setting) from None
    return made


def _check_token_address(key: dict[str, Any], endpoint: str, setting: str) -> None:
    address = key.get("token_uri")
    if isinstance(address, str) and (GOOGLE.fullmatch(address) or (endpoint and _origin(address) == _origin(endpoint))):
        return
    raise BadSettings(f"{setting} asks for its tokens elsewhere than at Google or at the endpoint", setting=setting)


def _origin(address: str) -> tuple[str, str]:
    try:
        parts = urlsplit(address.lower())
    except ValueError:
        return ("", address)
    return (parts.scheme, parts.netloc)
