"""Statuses of requests with several destinations: when the tables of their nodes are summed up."""

import json
from array import array
from typing import Any

import pytest

from coordinator.model.requests import NodePart, Request, RequestKind, RequestState
from coordinator.model.table_counts import NUMBERS, Layouts, TableCounts
from coordinator.opscenter.shapes import request_status, shown_parts
from coordinator.opscenter.streamed import status_pieces

NODES, TABLES, PLACES = 20, 30, 3


def request() -> Request:
    return Request("1", RequestKind.BACKUP, "C", RequestState.RUNNING, 1.0, {})


def parts() -> list[NodePart]:
    """Of nodes that copy to several places, where the same tables count."""
    layout = Layouts().of(tuple(("shop", f"t{number:02}") for number in range(TABLES)))
    return [
        NodePart(
            f"10.0.0.{node}",
            f"host-{node}",
            f"id-{node}",
            RequestState.RUNNING,
            phase="upload",
            progress={
                f"place-{place}": TableCounts(layout, array("q", [place + 1, 4] * (NUMBERS // 2) * TABLES), {})
                for place in range(PLACES)
            },
        )
        for node in range(NODES)
    ]


@pytest.fixture
def sums(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows with each sum over the tables of a node and place."""
    made: list[int] = []
    plus = TableCounts.plus

    def counted(self: TableCounts, other: TableCounts) -> TableCounts:
        made.append(len(self.layout.names))
        return plus(self, other)

    monkeypatch.setattr(TableCounts, "plus", counted)
    return made


def test_a_status_without_its_nodes_sums_up_no_tables(sums: list[int]) -> None:
    """Promise: what many ask for every second adds up no table of any node, however many destinations there are, and
    still tells of the files of all of them."""
    shown = shown_parts(parts())
    [head, end] = status_pieces(request(), shown, None)
    done = NODES * TABLES * sum(range(1, PLACES + 1))
    message = json.loads(head + end)["details"]["message"]
    assert message == f"uploading, {done} of {NODES * TABLES * PLACES * 4} files"
    assert sums == []


def test_a_whole_status_sums_up_one_node_a_piece(sums: list[int]) -> None:
    """Promise: between two pieces of an answer, where the event loop turns, no more than one node's tables are added
    up; together they are the same as at once."""
    every = parts()
    whole: Any = json.loads(json.dumps(request_status(request(), every)))
    sums.clear()
    shown, told = shown_parts(every), b""
    for piece in status_pieces(request(), shown, shown):
        assert len(sums) <= PLACES
        sums.clear()
        told += piece
    assert json.loads(told) == whole
    table = whole["details"]["subrequests"]["10.0.0.3"]["details"]["sstables"]["shop"]["t03"]
    assert (table["done_files"], table["total_files"]) == (1 + 2 + 3, 4 * PLACES)


def test_one_destination_is_shown_alone(sums: list[int]) -> None:
    """Promise: with a destination only its counts are shown, in the sentence as in the tables."""
    shown = shown_parts(parts(), "place-1")
    told = json.loads(b"".join(status_pieces(request(), shown, shown[:1])))
    assert told["details"]["message"] == f"uploading, {2 * NODES * TABLES} of {4 * NODES * TABLES} files"
    [entry] = told["details"]["subrequests"].values()
    assert entry["details"]["sstables"]["shop"]["t00"]["done_files"] == 2
