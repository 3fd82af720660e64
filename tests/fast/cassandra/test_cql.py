"""The CQL door without a Cassandra behind it: what is said of a statement that nobody answered for, and that no
question is left behind. Real nodes: tests/real/cassandra."""

import asyncio
import errno
import threading
from typing import Any

import pytest
from cassandra import OperationTimedOut
from cassandra.cluster import NoHostAvailable

from agent.cassandra import cql as cql_module
from agent.cassandra.cql import Cql, Row
from agent.cassandra.errors import CassandraUnavailable
from agent.cassandra.node_view import NodeView
from agent.cassandra.schema_capture import capture_schema
from agent.cassandra.settings import CqlSettings, CqlTlsSettings
from kit.config import ConfigError


class HangingCql(Cql):
    """Its driver stands still, in `hang`, until `go`; then it goes on as if nothing had been."""

    def __init__(self, hang: str) -> None:
        super().__init__(CqlSettings(connect_seconds=0.0))
        self._hang = hang
        self.go = threading.Event()
        self.sent: list[str] = []

    async def rows(self, statement: str, *, deadline: float | None = None) -> list[Row]:
        return []

    def _connected(self) -> Any:
        if self._hang == "connecting":
            self.go.wait()
        return None

    def _fetch(self, session: Any, statement: str, seconds: float) -> list[Row]:
        self.sent.append(statement)
        if self._hang == "sending":
            self.go.wait()
        return []

    def join(self) -> None:
        self.go.set()
        self._threads.shutdown(wait=True)


class FailingCql(Cql):
    """Its driver raises."""

    def __init__(self, error: Exception) -> None:
        super().__init__(CqlSettings(host="127.0.1.3"))
        self._error = error

    def _connected(self) -> Any:
        raise self._error


_TRIED = "Tried connecting to [('127.0.1.3', 9042)]. Last error: "


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            OperationTimedOut({"127.0.1.3:9042": "Client request timeout. See Session.execute[_async](timeout)"}, "x"),
            "no answer in time",
        ),
        (OSError(errno.ECONNREFUSED, _TRIED + "Connection refused"), "Connection refused"),
        (OSError(None, _TRIED + "timed out"), "timed out"),
        (
            NoHostAvailable("Unable to connect", {"x": OSError(errno.ECONNREFUSED, _TRIED + "Connection refused")}),
            "Connection refused",
        ),
        (NoHostAvailable("Unable to connect", {}), "Unable to connect"),
    ],
)
async def test_what_the_driver_says_is_told_in_words(error: Exception, said: str) -> None:
    """Promise: a person reads which Cassandra does not answer and why, without the driver's numbers and call names."""
    cql = FailingCql(error)
    with pytest.raises(CassandraUnavailable) as caught:
        await cql.rows("SELECT key FROM system.local")
    assert caught.value.message == f"Cassandra at 127.0.1.3:9042 does not answer: {said}"
    assert caught.value.fields["reason"] == said
    await cql.close()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cql_module, "_SLACK_SECONDS", 0.01)


@pytest.mark.parametrize(("hang", "sent"), [("sending", ["TRUNCATE a.b"]), ("connecting", [])])
async def test_a_change_that_nobody_waits_for_any_more_may_have_run_and_is_not_sent_later(
    hang: str, sent: list[str]
) -> None:
    """Promise: a TRUNCATE whose answer never came is told as of unknown outcome, and a driver that comes back late
    does not send one that the caller has given up."""
    cql = HangingCql(hang)
    try:
        with pytest.raises(CassandraUnavailable) as caught:
            await cql.change("TRUNCATE a.b", deadline=0.01)
    finally:
        cql.join()
    assert caught.value.code == "cassandra_unavailable"
    assert caught.value.fields["outcome_unknown"] is True
    assert cql.sent == sent


class HalfDeafCql(Cql):
    """The question that `deaf` is part of never ends; every other one fails when that one was asked."""

    def __init__(self, deaf: str) -> None:
        super().__init__(CqlSettings())
        self._deaf = deaf
        self._asked = asyncio.Event()
        self.running = 0

    async def rows(self, statement: str, *, deadline: float | None = None) -> list[Row]:
        self.running += 1
        try:
            if self._deaf in statement:
                self._asked.set()
                await asyncio.Event().wait()
            await self._asked.wait()
            raise CassandraUnavailable("down")
        finally:
            self.running -= 1


@pytest.mark.parametrize("deaf", ["system_schema.views", "system.peers_v2"])
async def test_no_question_is_left_running_when_another_has_failed(deaf: str) -> None:
    """Promise: what is told of the node's trouble is all that comes of it: a question left behind would end with an
    error that nobody reads, and be reported when the agent stops."""
    cql = HalfDeafCql(deaf)
    view = NodeView(cql)
    with pytest.raises(CassandraUnavailable, match="down"):
        await (view.ring() if "peers" in deaf else view.keyspaces())
    assert cql.running == 0
    if "peers" not in deaf:
        with pytest.raises(CassandraUnavailable, match="down"):
            await capture_schema(cql, ["ks"])
        assert cql.running == 0


async def test_the_key_of_a_certificate_may_be_a_credential(monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: like every file of a secret; without systemd's credentials it is their absence that is told."""
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    tls = CqlTlsSettings(certificate_file="/nowhere/agent.pem", key_file="credential:cql-key")
    cql = Cql(CqlSettings(tls=tls))
    with pytest.raises(ConfigError, match=r"credential «cql-key».*CREDENTIALS_DIRECTORY is not set"):
        await cql.rows("SELECT key FROM system.local")
    await cql.close()
