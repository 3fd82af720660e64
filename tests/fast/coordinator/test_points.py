"""pit_check and pit/run as clients send them: the point exact to the microsecond, what is refused by name, and answers
in OpsCenter's form."""

import json
from decimal import Decimal
from typing import Any

import pytest

from coordinator.model.errors import InvalidArguments
from coordinator.model.orders import PointInTimeOrder, is_same_point
from coordinator.model.requests import RESUMABLE, Request, RequestKind, RequestState, spec_of
from coordinator.opscenter.points import read_point
from coordinator.orchestrate.point_in_time.half_way import last_half_way, unfinished
from tests.fast.coordinator.cluster_in_memory import ClusterInMemory
from tests.fast.coordinator.conftest import NOW, Client

CHECK = "/Test_Cluster/backups/pit_check"
RUN = "/Test_Cluster/backups/pit/run"


def ordered(cluster: ClusterInMemory) -> PointInTimeOrder:
    """The last order."""
    order = cluster.orders[-1]
    assert isinstance(order, PointInTimeOrder)
    return order


@pytest.mark.parametrize(
    ("written", "micros"),
    [
        ("1450143120", 1_450_143_120_000_000),
        ("1450143120.000001", 1_450_143_120_000_001),
        ("1450143120.123457", 1_450_143_120_123_457),
        ("1450143120.1", 1_450_143_120_100_000),
        ("1.450143120000001e9", 1_450_143_120_000_001),
        ("1450143120.0000000000000000000000000000000000000", 1_450_143_120_000_000),
    ],
)
@pytest.mark.parametrize("quoted", [False, True], ids=["number", "text"])
async def test_a_point_is_exact_to_the_microsecond(
    client: Client, cluster: ClusterInMemory, written: str, micros: int, quoted: bool
) -> None:
    """Promise: the digits that stand in the body, as a number or a text, are the point: none passes through a float,
    in which 1450143120.123457 is another microsecond in every third case."""
    body = f'{{"pit": "{written}"}}' if quoted else f'{{"pit": {written}}}'
    for path in (RUN, f"{RUN}/"):
        status, told = await client.ask("POST", path, data=body)
        assert status == 200, told
        assert ordered(cluster).pit_micros == micros
        assert not ordered(cluster).check


@pytest.mark.parametrize(
    "order",
    [
        PointInTimeOrder(1_450_143_120_000_001, None, "there", "logs", force=True, restart_pause=3.0),
        PointInTimeOrder(1_450_143_120_500_000, {"shop": ["orders", "other"], "many": []}, "there"),
    ],
)
async def test_a_restore_that_stopped_is_told_as_it_can_be_sent_again(
    client: Client, cluster: ClusterInMemory, order: PointInTimeOrder
) -> None:
    """Promise: who is refused because of it needs nothing that its coordinator kept: the error's `order`, which stands
    in the message too, is taken as the body of the same restore."""
    request = Request(
        "first", RequestKind.POINT_IN_TIME, "c", RequestState.ERROR, NOW, spec_of(order), result={RESUMABLE: "first"}
    )
    half = last_half_way([request], {})
    assert half is not None
    error = unfinished(half)
    body = json.dumps(error.fields["order"], separators=(",", ":"))
    assert body in error.message
    status, told = await client.ask("POST", RUN, data=body)
    assert status == 200, told
    assert is_same_point(ordered(cluster), order)


def test_what_is_finer_than_a_microsecond_is_cut_and_said() -> None:
    """Promise: never rounded up, however many nines, for the write of the next microsecond must stay out."""
    point, warning = read_point(Decimal("1450143120.9999999999999999999999999999999999"), "pit", NOW)
    assert point == 1_450_143_120_999_999
    assert "1450143120.999999" in warning


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (None, "is missing"),
        ("", "is missing"),
        (True, "must be a time"),
        ("yesterday", "must be a time"),
        ("1_450_143_120", "must be a time"),
        ("1450143120.5 UTC", "must be a time"),
        ("2026-03-01 02:17:04", r"must be a time.* \+%s\.%6N` makes one of a date"),
        (-5, "must be a time"),
        (0, "is no time"),
        (Decimal("1e300"), "is no time"),
        ([1450143120], "must be a time"),
        (NOW + 1, "lies in the future"),
        (1_450_143_120_000, "looks like milliseconds"),
    ],
)
def test_what_is_no_point_is_refused_by_name(value: Any, why: str) -> None:
    """Promise: milliseconds, the future, and what is no number are said, and nothing is guessed."""
    with pytest.raises(InvalidArguments, match=f"«pit» .*{why}"):
        read_point(value, "pit", float(NOW))


async def test_the_options_of_the_reference_are_read(client: Client, cluster: ClusterInMemory) -> None:
    """Promise: keyspaces with their tables, both destinations, the pause between starts; truncate: false, as
    the reference has it, is told to be not followed, by a restore and by a check."""
    body = {
        "keyspaces": {"shop": {"column-families": ["orders", "users"], "truncate": True}, "Mixed": {}},
        "destination": "OPSC_ON_SERVER",
        "pit_destination": "OPSC_ON_SERVER",
        "pit": 1450144260,
        "restart_pause": "1.5",
        "force": True,
    }
    await client.post(RUN, body)
    known = PointInTimeOrder(
        pit_micros=1_450_144_260_000_000,
        keyspaces={"shop": ["orders", "users"], "Mixed": []},
        restart_pause=1.5,
        force=True,
    )
    assert ordered(cluster) == known
    merging = {**body, "keyspaces": {"shop": {"truncate": False}}}
    assert cluster.warned == []
    await client.post(RUN, merging)
    assert ordered(cluster).keyspaces == {"shop": []}
    [warning] = cluster.warned
    assert warning.startswith("«truncate»: false is not followed for shop")
    assert (await client.post(CHECK, merging))["warnings"] == [warning]
    assert ordered(cluster).check


async def test_a_check_that_fails_is_an_error_as_its_cause_is(client: Client, cluster: ClusterInMemory) -> None:
    """Promise: what the request of a check kept comes out with type and status of the error that it was, with every
    refusal, and the id to look it up by."""
    fields = {"refusals": [{"code": "log_gap", "message": "127.0.70.1: a gap"}], "windows": [[1.0, 2.0]]}
    error = {"code": "point_refused", "message": "it can't be", "todo": "Choose.", "fields": fields}
    cluster.checked = {"state": RequestState.ERROR, "error": error}
    status, told = await client.ask("POST", CHECK, json={"pit": 1450143120})
    assert (status, told["brief"], told["type"], told["code"]) == (409, "error", "Conflict", "point_refused")
    assert told["fields"]["refusals"] == fields["refusals"]
    assert told["fields"]["request"]
    text = "No snapshots found before date and time: 12-15-2015 01:32:00 UTC"
    cluster.checked["error"] = {"code": "no_snapshot", "message": text, "todo": "", "fields": {}}
    status, told = await client.ask("POST", CHECK, json={"pit": 1450143120})
    assert (status, told["message"], told["type"]) == (400, text, "InvalidArguments")


async def test_a_check_that_goes_well_tells_what_it_found(client: Client, cluster: ClusterInMemory) -> None:
    """Promise: brief success, the sentence, the snapshot and the nodes."""
    found = {"tag": "tag", "windows": [[1.0, 2.0]], "nodes": {"127.0.70.1": {"segments": 3}}}
    cluster.checked = {"state": RequestState.SUCCESS, "message": "it can be", "result": found}
    told = await client.post(CHECK, {"pit": "1450143120.1234567"})
    assert (told["brief"], told["message"], told["tag"]) == ("success", "it can be", "tag")
    assert told["nodes"] == found["nodes"]
    assert any("finer than a microsecond" in warning for warning in told["warnings"])
