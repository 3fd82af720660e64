"""What S3 and its SDK raise, as the protocol's errors. In: a block of calls. Out: the block, or a `StorageError`."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from botocore import exceptions as sdk
from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError

from agent.storage.bucket_storage import Exists, NotImplementedThere
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

FULL = frozenset({"XMinioStorageFull", "QuotaExceeded", "InsufficientStorage", "InsufficientCapacity", "DiskFull"})
PASSING = frozenset(
    {
        "ConditionalRequestConflict",
        "OperationAborted",
        "RequestTimeout",
        "RequestTimeoutException",
        "SlowDown",
        "SlowDownRead",
        "SlowDownWrite",
        "Throttling",
        "ThrottlingException",
        "TooManyRequests",
        "BadDigest",
        "XAmzContentSHA256Mismatch",
        "IncompleteBody",
    }
)
"""Codes of 4xx answers that pass: conflicts, throttling, and bytes that were damaged on their way (sent again)."""
REFUSED = frozenset(
    {
        "AccessDenied",
        "ExpiredToken",
        "InvalidAccessKeyId",
        "InvalidToken",
        "SignatureDoesNotMatch",
        "TokenRefreshRequired",
        "XAdminUserNotFound",  # versitygw's 404 for an unknown access key
    }
)
CUT = (sdk.IncompleteReadError, sdk.ResponseStreamingError)
BROKEN = (sdk.HTTPClientError, sdk.ConnectionError, sdk.FlexibleChecksumError, ResponseParserError)


@contextmanager
def translated(verb: str, key: str) -> Iterator[None]:
    """Raise the protocol's errors where the SDK raises its own."""
    try:
        yield
    except ClientError as error:
        raise _answered(verb, key, error) from error
    except (sdk.NoCredentialsError, sdk.PartialCredentialsError, sdk.CredentialRetrievalError) as error:
        raise Denied(f"{verb} of {key!r}: this agent has no credentials for the store", key=key) from error
    except CUT as error:
        raise Truncated(f"{verb} of {key!r}: the answer was cut short", key=key) from error
    except sdk.SSLError as error:
        text = f"TLS failed: {_short(error)} ({verb} of {key!r})"
        if is_wrong_peer(error):
            raise BadSettings(text, key=key, setting="ca_file") from error
        raise Transient(text, key=key, fault="SSLError") from error
    except (*BROKEN, HTTPError, OSError) as error:
        refusal = error.kwargs.get("error") if isinstance(error, sdk.HTTPClientError) else None
        if isinstance(refusal, BadSettings):  # of agent.storage.s3.peer
            raise refusal from None
        raise Transient(f"{_short(error)} ({verb} of {key!r})", key=key, fault=type(error).__name__) from error
    except sdk.BotoCoreError as error:
        raise StorageError(f"{verb} of {key!r}: {_short(error)}", key=key, fault=type(error).__name__) from error


def _answered(verb: str, key: str, error: ClientError) -> Exception:
    response: Any = error.response
    code = str(response.get("Error", {}).get("Code", ""))
    about = response.get("ResponseMetadata", {})
    status = int(about.get("HTTPStatusCode", 0))
    answer = _told(status, code, str(response.get("Error", {}).get("Message", "")))
    text = f"{verb} of {key!r}: the store answered {answer}"
    fields: dict[str, object] = {"key": key, "http_status": status, "answer": code}
    if code in FULL or status == 507:
        return DestinationFull(text, **fields)
    if code == "NoSuchBucket":
        return BucketMissing(text, **fields)
    if status == 412:
        return Exists(text, **fields)
    if status == 501 or code == "NotImplemented":
        return NotImplementedThere(text, **fields)
    if code in PASSING or status >= 500 or status in (408, 409, 429):
        wait = asked_wait(about.get("HTTPHeaders", {}).get("retry-after"))
        return Transient(text, **fields) if wait is None else Transient(text, retry_after=wait, **fields)
    if code in REFUSED or status in (401, 403):
        why = f"the access key or secret is wrong, or lacks the right ({verb} of {key!r} answered {answer})"
        return Denied(why, **fields)
    if status == 404:
        return NotFound(text, **fields)
    if status == 416:  # the object ends where the range begins, or before: to try again is of no use
        return Truncated(text, size=_whole_size(response), **fields)
    return StorageError(text, **fields)


def _whole_size(response: Any) -> int | None:
    """The size that an unsatisfiable range was told, in bytes; None when it wasn't."""
    header = told_size(response.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("content-range"))
    return told_size(response.get("Error", {}).get("ActualObjectSize")) if header is None else header


def _told(status: int, code: str, message: str) -> str:
    """The answer in words, each said once: the answer to a HEAD has no body, and its code is the status again."""
    said = [part for part in (code, message) if part and part != str(status)]
    return f"{status} {': '.join(dict.fromkeys(said))}".strip()


def _short(error: BaseException) -> str:
    """What went wrong, without the object's address: its key stands beside it, and the host is what matters."""
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    address = str(getattr(error, "kwargs", {}).get("endpoint_url", ""))
    if address:
        parts = urlsplit(address)
        text = text.replace(address, f"{parts.scheme}://{parts.netloc}")
    return text[:300]
