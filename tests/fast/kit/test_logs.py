"""I9: no secret in logs, whoever logs it and however it is spelled; and the libraries' lines come out the same way."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from kit.logs import Form, Redactor, configure
from kit.secret import Secret

CANARY = 'can"ary/+ä-1234'


@pytest.fixture
def logging_kept() -> Iterator[None]:
    root = logging.getLogger()
    before = (root.handlers, root.level)
    of_structlog = structlog.get_config()
    yield
    root.handlers, level = before
    root.setLevel(level)
    logging.captureWarnings(False)
    structlog.configure(**of_structlog)


def lines_of(form: Form, level: Any = "info") -> io.StringIO:
    redactor = Redactor()
    redactor.add(Secret(CANARY))
    stream = io.StringIO()
    configure(level, form, redactor, stream=stream)
    return stream


@pytest.mark.parametrize("form", ["json", "console"])
@pytest.mark.usefixtures("logging_kept")
def test_a_secret_shows_in_no_field_and_no_traceback(form: Form) -> None:
    """Promise: I9: a known secret is cut out everywhere, also percent-encoded, escaped or in a traceback."""
    stream = lines_of(form)
    log = structlog.get_logger("x")
    log.info("put " + CANARY, key=CANARY, url="http://h/?k=can%22ary%2F%2B%C3%A4-1234", nested={"a": [CANARY]})
    log.info("whole", secret=Secret("otherwise-unknown"))
    try:
        raise ValueError(CANARY)
    except ValueError:
        log.exception("failed")
    logging.getLogger("library").warning("library says %s", CANARY)
    text = stream.getvalue()
    assert text.count("\n") >= 4
    assert "ary" not in text.replace("library", "")
    assert "otherwise-unknown" not in text


@pytest.mark.usefixtures("logging_kept")
def test_the_libraries_own_lines_are_json_with_level_and_logger() -> None:
    """Promise: a library's line looks like ours."""
    stream = lines_of("json")
    logging.getLogger("some.library").error("it broke")
    line = json.loads(stream.getvalue())
    assert (line["event"], line["level"], line["logger"]) == ("it broke", "error", "some.library")


@pytest.mark.usefixtures("logging_kept")
def test_botocore_never_prints_its_headers_even_at_debug() -> None:
    """Promise: I9: signed headers are not logged at any level."""
    stream = lines_of("json", "debug")
    logging.getLogger("botocore.endpoint").debug("headers: Authorization: AWS4 …")
    structlog.get_logger("agent").debug("mine")
    assert "Authorization" not in stream.getvalue()
    assert "mine" in stream.getvalue()


def test_a_text_too_short_to_be_a_secret_is_left_alone() -> None:
    """Promise: a short text taken for a secret doesn't make logs unreadable."""
    redactor = Redactor()
    redactor.add("a")
    assert redactor.clean("a table") == "a table"
