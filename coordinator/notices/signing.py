"""What is sent. In: a notice, a secret, the time. Out: body and headers, signed as Standard Webhooks 1.0 says, for
which receivers have libraries (docs/webhooks.md)."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec

from coordinator.model.notices import VERSION, Notice
from kit.secret import Secret

PREFIX = "whsec_"
LEAST_KEY, MOST_KEY = 24, 64
"""Bytes of a secret, as the specification has them."""


def key_of(secret: Secret) -> bytes:
    """The bytes to sign with: the secret is their base64, with or without `whsec_` before it. Raises `ValueError`."""
    try:
        key = base64.b64decode(secret.reveal().removeprefix(PREFIX), validate=True)
    except binascii.Error:
        raise ValueError("it is no base64") from None
    if not LEAST_KEY <= len(key) <= MOST_KEY:
        raise ValueError(f"it has {len(key)} bytes; allowed: {LEAST_KEY} to {MOST_KEY}")
    return key


def body_of(notice: Notice, clean: Callable[[str], str]) -> bytes:
    """The notice as JSON; `clean` takes known secrets out of the texts that services and stores said."""
    error = notice.error and {name: clean(text) for name, text in notice.error.items()}
    shape: dict[str, Any] = {
        "version": VERSION,
        "id": notice.id,
        "type": notice.type,
        "timestamp": _iso(notice.at),
        "data": {
            "cluster": notice.cluster,
            "request": notice.request or None,
            "tag": notice.tag,
            "destinations": notice.destinations,
            "message": clean(notice.message),
            "error": error,
            **_cleaned(notice.fields, clean),
        },
    }
    return msgspec.json.encode(shape)


def headers_of(notice: Notice, body: bytes, secret: Secret, now: float) -> dict[str, str]:
    """The headers of one try at `now` (unix seconds)."""
    timestamp = str(int(now))
    signed = b".".join((notice.id.encode(), timestamp.encode(), body))
    digest = hmac.new(key_of(secret), signed, hashlib.sha256).digest()
    return {
        "Content-Type": "application/json",
        "webhook-id": notice.id,
        "webhook-timestamp": timestamp,
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
        "helenus-type": notice.type,
    }


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _cleaned(fields: dict[str, Any], clean: Callable[[str], str]) -> dict[str, Any]:
    """Texts and lists of texts, cleaned; what else there is, as it is."""
    cleaned: dict[str, Any] = {}
    for name, value in fields.items():
        if isinstance(value, list):
            cleaned[name] = [clean(one) if isinstance(one, str) else one for one in value]
        else:
            cleaned[name] = clean(value) if isinstance(value, str) else value
    return cleaned
