"""Which keys sign the requests. In: a destination's settings, the directories credentials may come from, environment.
Out: static keys, or None where the SDK shall look for the machine's own role.

A settings' file is named by whoever may call the API, so it gives plain keys only: a profile that runs a program,
assumes a role or asks a server is refused.
"""

import configparser
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from agent.storage.allowed_files import credentials_text
from agent.storage.protocol import BadSettings
from agent.wire.destinations import S3Settings
from kit.secret import Secret

PLAIN = frozenset({"aws_access_key_id", "aws_secret_access_key", "aws_session_token", "region", "output"})
JSON_NAMES = (
    ("access_key", "access_secret", "session_token"),
    ("AccessKeyId", "SecretAccessKey", "SessionToken"),
    ("aws_access_key_id", "aws_secret_access_key", "aws_session_token"),
)


class Keys(msgspec.Struct, frozen=True):
    """Static keys; an empty `token` means none."""

    access_key: str
    secret: Secret
    token: Secret


def keys_of(settings: S3Settings, roots: Sequence[Path], environment: Mapping[str, str]) -> Keys | None:
    """Keys from the settings, else their file, else the environment, else None. Raises `BadSettings`."""
    if settings.access_key or settings.access_secret:
        return _keys(settings.access_key, settings.access_secret, settings.session_token, "access_secret")
    if settings.credentials_file:
        text = credentials_text(settings.credentials_file, roots)
        return _from_json(text) if text.lstrip().startswith("{") else _from_ini(text, settings.profile)
    if environment.get("AWS_ACCESS_KEY_ID"):
        return _keys(
            environment["AWS_ACCESS_KEY_ID"],
            environment.get("AWS_SECRET_ACCESS_KEY", ""),
            environment.get("AWS_SESSION_TOKEN", ""),
            "access_secret",
        )
    return None


def _from_json(text: str) -> Keys:
    try:
        found = json.loads(text)
    except ValueError:
        raise BadSettings("the credentials file is no valid JSON", setting="credentials_file") from None
    for access, secret, token in JSON_NAMES:
        if isinstance(found, dict) and isinstance(found.get(access), str):
            return _keys(found[access], str(found.get(secret) or ""), str(found.get(token) or ""), "credentials_file")
    raise BadSettings("the credentials file holds no access_key and access_secret", setting="credentials_file")


def _from_ini(text: str, profile: str) -> Keys:
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(text)
    except configparser.Error:
        # The parser's own message would quote lines of the file.
        raise BadSettings("the credentials file is neither JSON nor ini", setting="credentials_file") from None
    if not parser.has_section(profile):
        raise BadSettings(f"the credentials file has no profile {profile!r}", setting="profile")
    found = dict(parser.items(profile))
    foreign = sorted(set(found) - PLAIN)
    if foreign:
        raise BadSettings(
            f"only plain keys are taken from a credentials file; the profile sets {', '.join(foreign)}",
            setting="credentials_file",
        )
    return _keys(
        found.get("aws_access_key_id", ""),
        found.get("aws_secret_access_key", ""),
        found.get("aws_session_token", ""),
        "credentials_file",
    )


def _keys(access: str, secret: str, token: str, setting: str) -> Keys:
    if not access or not secret:
        raise BadSettings("an access key needs its secret, and a secret its access key", setting=setting)
    return Keys(access, Secret(secret), Secret(token))
