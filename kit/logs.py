"""Log lines on standard error. In: events of structlog and of the standard library's logging. Out: JSON or plain text,
with every registered secret replaced by `***`."""

import json
import logging
import sys
from collections.abc import MutableMapping
from typing import Any, Literal, TextIO
from urllib.parse import quote

import structlog
from structlog.typing import Processor

from kit.secret import Secret

Level = Literal["debug", "info", "warning", "error"]
Form = Literal["json", "console"]

LEAST_SECRET = 4
"""Shorter texts are not replaced: they stand in innocent words too."""

NOISY = {
    # At DEBUG these print request headers, which hold credentials; at INFO they tell of every connection.
    "boto3": logging.WARNING,
    "botocore": logging.WARNING,
    "s3transfer": logging.WARNING,
    "urllib3": logging.WARNING,
    "google": logging.WARNING,
    "azure": logging.WARNING,
    "cassandra": logging.CRITICAL,  # what the driver raises is told by its caller; its own lines repeat it with stacks
    "aiohttp": logging.WARNING,
    "asyncio": logging.WARNING,
}


class Redactor:
    """Knows the secrets of this process and takes them out of a text."""

    def __init__(self) -> None:
        self._forms: tuple[str, ...] = ()

    def add(self, secret: Secret | str) -> None:
        """From now on the secret is replaced, also as JSON and URLs spell it."""
        text = secret.reveal() if isinstance(secret, Secret) else secret
        if len(text) < LEAST_SECRET:
            return
        spelled = {text, json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1], quote(text, safe="")}
        # Long ones first: a secret may contain another.
        self._forms = tuple(sorted({*self._forms, *spelled}, key=len, reverse=True))

    def clean(self, text: str) -> str:
        """The text without the secrets."""
        for form in self._forms:
            if form in text:
                text = text.replace(form, "***")
        return text


def configure(level: Level, form: Form, redactor: Redactor, *, stream: TextIO | None = None) -> None:
    """Send all logging of this process through one place. Called once, by `main`."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: Processor = (
        structlog.processors.JSONRenderer(sort_keys=False, default=str)
        if form == "json"
        else structlog.dev.ConsoleRenderer(colors=False)
    )

    def redact(_: Any, __: str, rendered: Any) -> str:
        return redactor.clean(str(rendered))

    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _plain, renderer, redact],
    )
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for name, least in NOISY.items():
        logging.getLogger(name).setLevel(max(least, root.level))
    logging.captureWarnings(True)
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def _plain(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A bare secret in a field shows as `***`, whoever logged it."""
    return {name: str(value) if isinstance(value, Secret) else value for name, value in event.items()}
