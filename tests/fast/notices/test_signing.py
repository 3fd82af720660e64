"""What is sent: the documented shape, and a signature that the documented code verifies."""

import base64
import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from coordinator.model.notices import TYPES
from coordinator.notices.happenings import of_request
from coordinator.notices.signing import body_of, headers_of, key_of
from kit.secret import Secret
from tests.fast.notices.given import SECRET, ended, notice

DOCUMENT = (Path(__file__).resolve().parents[3] / "docs" / "webhooks.md").read_text()
CANARY = "canary-secret-of-a-store"


def documented() -> Callable[..., bool]:
    """The function that the document gives to receivers."""
    [code] = re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    found: Callable[..., bool] = names["is_ours"]
    return found


def plain(text: str) -> str:
    """What knows no secret."""
    return text


def test_the_documented_code_verifies_what_is_sent_and_nothing_else() -> None:
    """Promise: whoever copies it takes a notice, and refuses another body, id, time or secret, and an old one."""
    is_ours, secret = documented(), Secret(SECRET)
    body = body_of(notice(), plain)
    headers = headers_of(notice(), body, secret, time.time())
    assert is_ours(headers, body, SECRET + "\n")
    assert is_ours({**headers, "webhook-signature": f"v1,abc {headers['webhook-signature']}"}, body, SECRET)
    assert not is_ours(headers, body + b" ", SECRET)
    assert not is_ours({**headers, "webhook-id": "n2"}, body, SECRET)
    assert not is_ours({**headers, "webhook-timestamp": str(int(time.time()) + 1)}, body, SECRET)
    assert not is_ours(headers, body, base64.b64encode(b"x" * 32).decode())
    assert not is_ours(headers_of(notice(), body, secret, time.time() - 900), body, SECRET)


def test_the_signature_is_that_of_the_specification() -> None:
    """Promise: the key is the base64 after whsec_, signed is id.timestamp.body, and the header begins with v1."""
    # The example of the specification's own libraries.
    secret = Secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    headers = headers_of(notice("msg_p5jXN8AQM9LWM0D4loKWxJek"), b'{"test": 2432232314}', secret, 1_614_265_330.9)
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert headers["webhook-timestamp"] == "1614265330"
    assert (headers["webhook-id"], headers["helenus-type"]) == ("msg_p5jXN8AQM9LWM0D4loKWxJek", "backup.succeeded")


@pytest.mark.parametrize("text", ["", "short", "whsec_", "no base64 at all, as one sees!", "QUJD" * 30, "QUJD" * 7])
def test_a_secret_that_is_none_is_refused(text: str) -> None:
    """Promise: too short, too long, or not base64: never silently signed with something else."""
    with pytest.raises(ValueError, match=r"base64|bytes"):
        key_of(Secret(text))


def test_the_body_has_the_documented_shape() -> None:
    """Promise: the keys of the example in the document, in all notices; times in ISO 8601."""
    _, end = of_request(ended(keyspaces={"shop": []}, destinations=["d1"], message="done"))
    told = json.loads(body_of(end, plain))
    [example] = re.findall(r"^    (\{\"version\".*?\}\})$", DOCUMENT, re.DOTALL | re.MULTILINE)
    shown = json.loads(example)
    assert {*told} == {*shown}
    assert {*told["data"]} == {*shown["data"]}
    assert (told["version"], told["id"], told["type"]) == (1, end.id, "backup.succeeded")
    assert told["timestamp"] == "2017-03-17T15:07:09.000Z"
    assert told["data"]["request"] == "r1"
    assert told["data"]["error"] is None
    bare = json.loads(body_of(notice(request="", tag=None, type="retention.done"), plain))["data"]
    assert (bare["request"], bare["tag"]) == (None, None)


def test_every_type_stands_in_the_document() -> None:
    """Promise: nobody is told of a type that can't be looked up."""
    table = DOCUMENT.partition("## What is told")[2].partition("## The shape")[0]
    for type in TYPES:
        subject, _, how = type.partition(".")
        assert f"`{type}`" in table or (f"`{subject}.started`" in table and f"`.{how}`" in table), type


def test_no_known_secret_is_sent() -> None:
    """Promise: what a store or an agent said is cleaned in the message, the error and the warnings."""

    def clean(text: str) -> str:
        return text.replace(CANARY, "***")

    told = notice(
        message=f"denied to {CANARY}",
        error={"code": "c", "message": CANARY, "todo": CANARY},
        fields={"warnings": [CANARY], "why": CANARY, "count": 3},
    )
    body = body_of(told, clean)
    assert CANARY.encode() not in body
    assert json.loads(body)["data"]["count"] == 3
