"""What Google's store and its SDK raise, as the protocol's errors. In: a block of calls, or an answer. Out: the block,
or a `StorageError`."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import requests
from google.api_core.exceptions import GoogleAPICallError
from google.auth import exceptions as auth
from urllib3.exceptions import HTTPError, IncompleteRead

from agent.storage.bucket_storage import Exists
from agent.storage.peers import is_wrong_peer
from agent.storage.protocol import (
    BadSettings,
    BucketMissing,
    Denied,
    DestinationFull,
    NotFound,
    StorageError,
    Transient,
    Truncated,
)
from agent.storage.ranges import told_size
from agent.storage.timeouts import asked_wait

LIMITED = frozenset({"rateLimitExceeded", "userRateLimitExceeded"})
"""Reasons of a 403 that pass."""
HELD = frozenset({"retentionPolicyNotMet", "objectUnderActiveHold"})
"""Reasons of a 403 that no other credentials change."""
NO_BUCKET = "bucket does not exist"
DAMAGED = "doesn't match calculated"
"""Of a 400: the bytes were damaged on their way, and are sent again."""


@contextmanager
def translated(verb: str, key: str) -> Iterator[None]:
    """Raise the protocol's errors where the SDK, or what carries it, raises its own."""
    try:
        yield
    except GoogleAPICallError as error:
        raise _answered(verb, key, error) from error
    except auth.TransportError as error:
        raise _broken(f"the token's server failed: {_short(error)} ({verb} of {key!r})", key, error) from error
    except auth.RefreshError as error:
        if error.retryable:
            raise Transient(
                f"the token's server gave none ({verb} of {key!r})", key=key, fault="RefreshError"
            ) from error
        why = f"Google refuses the service account's key{_reason(error)} ({verb} of {key!r})"
        raise Denied(why, key=key) from error
    except auth.GoogleAuthError as error:
        raise Denied(f"{verb} of {key!r}: this agent has no credentials that the store takes", key=key) from error
    except (requests.exceptions.ChunkedEncodingError, IncompleteRead) as error:
        raise Truncated(f"{verb} of {key!r}: the answer was cut short", key=key) from error
    except (requests.exceptions.RequestException, HTTPError, OSError) as error:
        raise _broken(f"{_short(error)} ({verb} of {key!r})", key, error) from error


def failure(verb: str, key: str, answer: requests.Response) -> StorageError:
    """The error that an answer of the store is, which was asked without the SDK."""
    return _named(verb, key, answer.status_code, _told(answer), answer.headers)


def _answered(verb: str, key: str, error: GoogleAPICallError) -> StorageError:
    answer: Any = error.response
    headers = {} if answer is None else answer.headers
    reasons = [str(entry.get("reason", "")) for entry in error.errors if isinstance(entry, dict)]
    told = ("".join(reasons[:1]), str(error.message).partition(": ")[2] or str(error.message))
    return _named(verb, key, int(error.code or 0), _told(answer) if answer is not None else told, headers)


def _told(answer: requests.Response) -> tuple[str, str]:
    """The reason and the message of an answer, whatever form it has."""
    try:
        found = answer.json()["error"]
        entries = found.get("errors") or [{}]
        return str(entries[0].get("reason", "")), str(found.get("message", ""))
    except (ValueError, LookupError, TypeError, AttributeError):
        return "", str(answer.reason or "")


def _named(verb: str, key: str, status: int, told: tuple[str, str], headers: Any) -> StorageError:
    reason, message = told
    words = ": ".join(dict.fromkeys(part for part in (reason, message[:300]) if part))
    answer = f"{status} {words}".strip()
    text = f"{verb} of {key!r}: the store answered {answer}"
    fields: dict[str, object] = {"key": key, "http_status": status, "answer": reason}
    if status == 412:
        return Exists(text, **fields)
    if status == 507:
        return DestinationFull(text, **fields)
    if status in (408, 409, 429) or status >= 500 or reason in LIMITED or (status == 400 and DAMAGED in message):
        wait = asked_wait(headers.get("retry-after"))
        return Transient(text, **fields) if wait is None else Transient(text, retry_after=wait, **fields)
    if reason in HELD:
        return StorageError(text, **fields)
    if status in (401, 403):
        return Denied(f"the credentials are wrong, or lack the right ({verb} of {key!r} answered {answer})", **fields)
    if status == 404:
        missing = NO_BUCKET in message or verb in ("list", "put")
        return (BucketMissing if missing else NotFound)(text, **fields)
    if status == 416:  # the object ends where the range begins, or before: to try again is of no use
        return Truncated(text, size=told_size(headers.get("content-range")), **fields)
    return StorageError(text, **fields)


def _broken(text: str, key: str, error: Exception) -> StorageError:
    if is_wrong_peer(error):
        return BadSettings(f"TLS failed: {text}", key=key, setting="ca_file")
    return Transient(text, key=key, fault=type(error).__name__)


def _reason(error: auth.RefreshError) -> str:
    """Google's word for it («invalid_grant»); the rest of the answer is nobody's business."""
    found = re.match(r"[a-z_]{1,40}\b", str(error.args[0]) if error.args else "")
    return f": {found.group()}" if found else ""


def _short(error: BaseException) -> str:
    """What went wrong, without the object's address: its key stands beside it."""
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return re.sub(r"( with url: )\S+", "", text)[:300]
