"""The SDK's client for one destination. In: checked settings and keys. Out: a client that does nothing unasked.

What is switched off, and why: retries (ours are the only ones), parameter validation (keys are checked by us),
`Expect: 100-continue` (a round trip for each put, a second where a store ignores it), checksums nobody asked for (many
stores refuse their headers), the user agent's survey of the machine, endpoints and profiles from the environment.
"""

import base64
import functools
import hashlib
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
from botocore import handlers
from botocore.config import Config
from botocore.exceptions import BotoCoreError, IncompleteReadError
from botocore.loaders import Loader, create_loader
from botocore.session import Session
from botocore.utils import parse_timestamp

from agent.storage.bodies import PutBody
from agent.storage.protocol import BadSettings
from agent.storage.s3.credentials import Keys
from agent.storage.timeouts import Timeouts
from agent.wire.destinations import S3Settings

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

AGENT = "helenus/1"


def make_client(
    settings: S3Settings,
    keys: Keys | None,
    ca_file: Path | None,
    patience: Timeouts,
    on_request: Callable[[str], None],
) -> "S3Client":
    """The client; `on_request` is called with the operation's name (`PutObject`) for each request that is sent.

    The first one reads files of the SDK for about 0.1 s: call it in a thread. Raises `BadSettings`.
    """
    path_style = bool(settings.endpoint) if settings.path_style is None else settings.path_style
    signed = settings.payload_signing == "always" or (
        settings.payload_signing == "auto" and settings.endpoint.startswith("http:")
    )
    config = Config(
        connect_timeout=patience.connect,
        read_timeout=patience.read,
        max_pool_connections=settings.connections,
        retries={"total_max_attempts": 1, "mode": "standard"},
        parameter_validation=False,
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        ignore_configured_endpoint_urls=True,  # type: ignore[call-arg] # the stubs lack it
        signature_version="s3v4",
        tcp_keepalive=True,
        user_agent=AGENT,
        s3={"addressing_style": "path" if path_style else "auto", "payload_signing_enabled": signed},
    )
    try:
        session = Session(session_vars={"profile": (None, None, None, None)})
        models = _models()
        session.register_component("data_loader", models)
        session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=instant_of)
        paths = list(models.search_paths)
        client: S3Client = boto3.session.Session(**_signing(keys), botocore_session=session).client(
            "s3",
            region_name=settings.region,
            endpoint_url=settings.endpoint or None,
            verify=str(ca_file) if ca_file else True,
            config=config,
        )
    except (BotoCoreError, ValueError) as error:
        raise BadSettings(f"the S3 client refuses these settings: {error}") from None
    models.search_paths[:] = paths  # each session of boto3 appends the place of its own files, for resources
    events = client.meta.events
    events.unregister("before-call.s3", handlers.add_expect_header)
    events.register("before-send.s3", _Sender(on_request, patience))
    for operation in ("DeleteObjects", "PutObjectRetention"):
        events.register(f"before-sign.s3.{operation}", _add_md5)
    events.register("before-parse.s3", _refuse_cut_answer)
    return client


@functools.cache
def _models() -> Loader:
    """The SDK's descriptions of services, read once for all clients: they are most of what making one costs."""
    return create_loader()


def instant_of(text: str) -> datetime:
    """A time as it stands in a listing or a header. Listings have the one form that Python itself reads: the SDK's
    parser of all forms takes two thirds of the time that a page of 1,000 keys takes."""
    try:
        found = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return parse_timestamp(text)
    return found if found.tzinfo is not None else parse_timestamp(text)


def _signing(keys: Keys | None) -> dict[str, Any]:
    if keys is None:
        return {}
    return {
        "aws_access_key_id": keys.access_key,
        "aws_secret_access_key": keys.secret.reveal(),
        "aws_session_token": keys.token.reveal() or None,
    }


class _Sender:
    """Called with the signed request: from here on the body's bytes are traffic. The body itself carries the gate of
    its call, so calls in other threads never meet it."""

    def __init__(self, on_request: Callable[[str], None], patience: Timeouts) -> None:
        self._on_request = on_request
        self._patience = patience

    def __call__(self, *, request: Any, event_name: str, **_: object) -> None:
        self._on_request(event_name.rpartition(".")[2])
        if isinstance(request.body, PutBody):
            patience = self._patience.for_answer(len(request.body))
            request.context = {**request.context, "read_timeout": patience}
            request.body = request.body.sending()


def _refuse_cut_answer(*, operation_model: Any, response_dict: Any, **_: object) -> None:
    """The transport doesn't compare, and the parser takes an answer cut down to nothing for an empty one: a listing
    without keys, a deletion without errors. Streamed bodies are counted by whoever reads them."""
    body = response_dict["body"]
    announced = response_dict["headers"].get("content-length")
    if operation_model.http["method"] == "HEAD" or not isinstance(body, bytes) or announced is None:
        return
    if len(body) != int(announced):
        raise IncompleteReadError(actual_bytes=len(body), expected_bytes=announced)


def _add_md5(*, request: Any, **_: object) -> None:
    """Older stores ask for it where the SDK now sends a CRC-32; S3 itself takes both."""
    digest = hashlib.md5(request.data, usedforsecurity=False).digest()
    request.headers["Content-MD5"] = base64.b64encode(digest).decode("ascii")
