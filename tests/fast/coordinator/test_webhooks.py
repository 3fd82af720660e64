"""How webhooks stand, for people and for Prometheus: at the coordinator's own API."""

from pathlib import Path
from typing import Any

from aiohttp.test_utils import make_mocked_request

from coordinator.model.notices import HookState
from coordinator.opscenter.measures import Measures
from coordinator.opscenter.webhooks import Webhooks
from coordinator.store.sqlite import SqliteStore
from kit.metrics import ProcessMetrics
from tests.fast.coordinator.cluster_in_memory import ClusterInMemory
from tests.fast.coordinator.conftest import api_of
from tests.fast.coordinator.test_service import configuration, free_port, running
from tests.fast.notices.given import SECRET, secret_file

STATES = [
    HookState(
        "ops", "hooks.example.com", ["*.failed"], told=3, failed=2, dropped=1, last_error="it answered 500", waiting=7
    ),
    HookState("chat", "10.0.0.7", [], gone=True),
]


async def test_prometheus_sees_what_waits_and_what_was_lost(store: SqliteStore, cluster: ClusterInMemory) -> None:
    """Promise: by webhook: told, failed, dropped, waiting, gone; without one there is nothing to alert on."""
    metrics = ProcessMetrics("coordinator", "0")
    states: list[HookState] = []

    async def now() -> list[HookState]:
        return states

    webhooks = Webhooks(now, metrics.registry)
    measures = Measures(api_of(store, cluster), metrics, "0", webhooks.measure)

    async def seen(name: str, webhook: str) -> float | None:
        shown = await measures.metrics(make_mocked_request("GET", "/metrics"))
        assert isinstance(shown.body, bytes)
        assert b"hooks.example.com" not in shown.body
        return metrics.registry.get_sample_value(f"helenus_notices_{name}", {"webhook": webhook})

    assert await seen("told_total", "ops") is None
    states += STATES
    names = ("told_total", "failed_total", "dropped_total", "waiting", "webhook_gone")
    assert [await seen(name, "ops") for name in names] == [3, 2, 1, 7, 0]
    assert [await seen(name, "chat") for name in names] == [0, 0, 0, 0, 1]


async def test_people_see_how_each_webhook_stands_and_no_secret(tmp_path: Path) -> None:
    """Promise: GET /webhooks answers whoever has the token, by name, without the URL's path and without the secret."""
    port = free_port()
    url = "https://hooks.example.com/a-path-like-a-secret"
    table = f'[webhooks.ops]\nurl = "{url}"\nsecret_file = "{secret_file(tmp_path)}"\nevents = ["*.failed"]\n'
    async with running(configuration(tmp_path, port, more=table), port, tmp_path / "log") as started:
        assert (await started.ask("GET", "/webhooks", token="wrong"))[0] == 401
        status, told = await started.ask("GET", "/webhooks")
        assert (await started.ask("GET", "/metrics"))[1].count('webhook="ops"') == 5
    assert status == 200
    expected: dict[str, Any] = {
        "host": "hooks.example.com",
        "events": ["*.failed"],
        "told": 0,
        "failed": 0,
        "dropped": 0,
        "last_told": None,
        "last_error": "",
        "gone": False,
        "waiting": 0,
    }
    assert told == {"ops": expected}
    for secret in (SECRET, SECRET.removeprefix("whsec_"), "a-path-like-a-secret"):
        assert secret not in (tmp_path / "log").read_text() + str(told)
