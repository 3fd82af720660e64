"""Orders of a coordinator of a later minor version, as this agent takes them."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.fast.http.served import served
from tests.recording.messages import SUFFIX, Message, Recording

RECORDED = Path(__file__).parent / "recorded" / f"0.1-with-scripts{SUFFIX}"
SENT = msgspec.json.decode(RECORDED.read_bytes(), type=Recording).agents[0].messages


def _with_more(sent: Any, path: tuple[str, ...]) -> Any:
    if not path:
        return {**sent, "of_later": 1}
    inner = sent[path[0]]
    return {
        **sent,
        path[0]: [_with_more(inner[0], path[1:])] if isinstance(inner, list) else _with_more(inner, path[1:]),
    }


def _places(sent: Any) -> list[tuple[str, ...]]:
    """Where an order has objects of named fields."""
    found: list[tuple[str, ...]] = [()]
    for name in ("settings", "arguments", "nodes"):
        if isinstance(sent.get(name), (dict, list)) and sent[name]:
            found.append((name,))
            if isinstance(sent[name], dict):
                found += [(name, "targets")] if sent[name].get("targets") else []
                found += [(name, "target")] if sent[name].get("target") else []
    return found


def _orders() -> list[tuple[Message, tuple[str, ...]]]:
    taken: dict[str, Message] = {}
    for message in SENT:
        if message.sent is not None and message.status < 300:
            taken.setdefault(f"{message.pattern} {message.sent.get('kind', '')}", message)
    return [(message, place) for message in taken.values() for place in _places(message.sent)]


@pytest.mark.parametrize(
    ("order", "place"),
    [
        pytest.param(*each, id=f"{each[0].pattern} {each[0].sent.get('kind', '')} {'.'.join(each[1])}")
        for each in _orders()
    ],
)
async def test_an_unknown_field_of_an_order_is_refused_by_its_name(
    order: Message, place: tuple[str, ...], tmp_path: Path
) -> None:
    """Promise: whatever a later coordinator adds to an order, wherever, the agent says which field it doesn't know, and
    does nothing: half of an order is another order."""
    method = order.pattern.partition(" ")[0]
    async with served(tmp_path, {}) as site:
        answer = await site.client.send(method, order.path, json=_with_more(order.sent, place), wrong=True)
        assert (answer.status, answer.code) == (400, "invalid_input"), answer
        assert "of_later" in answer.json["message"]


@pytest.mark.parametrize("path", ["/v1/node?of_later=1", "/v1/backups?of_later=1", "/v1/jobs?of_later=1"])
async def test_an_unknown_parameter_is_refused_by_its_name(path: str, tmp_path: Path) -> None:
    """Promise: a parameter that only later agents know is refused, not overlooked."""
    async with served(tmp_path, {}) as site:
        answer = await site.client.send("GET", path, wrong=True)
        assert (answer.status, answer.json["fields"]["field"]) == (400, "of_later")
