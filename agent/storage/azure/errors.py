"""What Azure and its SDK raise, as the protocol's errors. In: a block of calls. Out: the block, or a `StorageError`.

A signature stands in the query of each address, and the SDK's own texts quote addresses: nothing of a query is told,
and no error of the SDK is kept as a cause.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    DecodeError,
    HttpResponseError,
    IncompleteReadError,
)
from requests.exceptions import RequestException
from requests.exceptions import SSLError as TlsError
from urllib3.exceptions import HTTPError, ProtocolError

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

THERE = frozenset({"BlobAlreadyExists", "ConditionNotMet"})
DAMAGED = frozenset({"Md5Mismatch", "InvalidOperation"})
"""Bytes that were damaged on their way are sent again. The second is azurite's name for it."""
PASSING_CONFLICTS = frozenset({"ContainerBeingDeleted", ""})
"""Codes of 409 that pass: a container that is made anew after it was deleted, and no code at all."""
REFUSED = frozenset({"InvalidAuthenticationInfo", "NoAuthenticationInformation", "PublicAccessNotPermitted"})
"""Refusals with another status than 401 and 403."""
_CODE = re.compile(r"<Code>([A-Za-z0-9]+)</Code>")
_QUERY = re.compile(r"\?[^\s'\"<>]*")


@contextmanager
def translated(verb: str, key: str) -> Iterator[None]:
    """Raise the protocol's errors where the SDK raises its own."""
    try:
        yield
    except IncompleteReadError:
        raise Truncated(f"{verb} of {key!r}: the answer was cut short", key=key) from None
    except DecodeError:
        raise Transient(f"{verb} of {key!r}: the answer could not be read", key=key, fault="DecodeError") from None
    except HttpResponseError as error:
        raise _of_sdk(verb, key, error) from None
    except (AzureError, RequestException, HTTPError, OSError) as error:
        raise _of_network(verb, key, error) from None


def _of_sdk(verb: str, key: str, error: HttpResponseError) -> StorageError:
    response: Any = error.response
    if response is None:
        if isinstance(error, ClientAuthenticationError):  # the identity gave no token
            return Denied(f"{verb} of {key!r}: this agent got no credentials for the store", key=key)
        return _of_network(verb, key, error)
    return _answered(verb, key, int(response.status_code), response.headers, _text(response))


def _of_network(verb: str, key: str, error: Exception) -> StorageError:
    cause = getattr(error, "inner_exception", None) or error
    text = f"{_short(cause)} ({verb} of {key!r})"
    if isinstance(cause, TlsError):
        if is_wrong_peer(cause):
            return BadSettings(f"TLS failed: {text}", key=key, setting="ca_file")
        return Transient(f"TLS failed: {text}", key=key, fault="SSLError")
    if "IncompleteRead" in str(cause) or isinstance(cause, ProtocolError):
        return Truncated(f"{verb} of {key!r}: the answer was cut short", key=key)
    return Transient(text, key=key, fault=type(cause).__name__)


def _answered(verb: str, key: str, status: int, headers: Mapping[str, str], text: str) -> StorageError:
    """The error that an answer means. `text`: its body, from which the code is taken where no header has it."""
    found = _CODE.search(text)
    code = headers.get("x-ms-error-code") or (found[1] if found else "")
    answer = f"{status} {code}".strip()
    told = f"{verb} of {key!r}: the store answered {answer}"
    fields: dict[str, object] = {"key": key, "http_status": status, "answer": code}
    if status == 507:
        return DestinationFull(told, **fields)
    if code == "ContainerNotFound":
        return BucketMissing(told, **fields)
    if code in THERE or status == 412:
        return Exists(told, **fields)
    if status in (401, 403) or code in REFUSED:
        why = f"the key or the signature is wrong, has ended, or lacks the right ({verb} of {key!r} answered {answer})"
        return Denied(why, **fields)
    passing = (status >= 500 and status != 501) or status in (408, 429)
    if passing or (status == 400 and code in DAMAGED) or (status == 409 and code in PASSING_CONFLICTS):
        wait = asked_wait(headers.get("Retry-After"))
        return Transient(told, **fields) if wait is None else Transient(told, retry_after=wait, **fields)
    if code == "BlobNotFound":  # a 404 without it says nothing of the blob: whoever answered may be no blob service
        return NotFound(told, **fields)
    if status == 416:  # the object ends where the range begins, or before: to try again is of no use
        return Truncated(told, size=told_size(headers.get("Content-Range")), **fields)
    return StorageError(told, **fields)


def _text(response: Any) -> str:
    try:
        return str(response.text())
    except (AzureError, RequestException, HTTPError, OSError, UnicodeDecodeError):
        return ""  # it only would have told the code


def _short(error: BaseException) -> str:
    """What went wrong, without the object's address: its key stands beside it."""
    for inner in (error, *error.args):
        reason = getattr(inner, "reason", None)
        if isinstance(reason, BaseException):
            error = reason
            break
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return _QUERY.sub("?…", text)[:300]
