"""What happened, as notices: which, when, with which id, and what of a request they tell."""

from typing import Any

import pytest

from coordinator.model.notices import TYPES, wants
from coordinator.model.requests import RequestKind, RequestState
from coordinator.model.retention import RetentionNote
from coordinator.notices.happenings import LONGEST, MOST, SUBJECT_OF, of_request, of_retention
from tests.fast.notices.given import NOW, TAG, ended, request

SILENT = {
    RequestKind.DELETE_DRY_RUN,
    RequestKind.PIT_CHECK,
    RequestKind.DESTINATION,
    RequestKind.TRIM_LOGS,
    RequestKind.REBUILT,
}


@pytest.mark.parametrize(
    ("state", "partial", "how"),
    [
        (RequestState.SUCCESS, False, "succeeded"),
        (RequestState.ERROR, False, "failed"),
        (RequestState.ERROR, True, "partial"),
        (RequestState.CANCELLED, False, "cancelled"),
    ],
)
@pytest.mark.parametrize("kind", sorted(SUBJECT_OF))
def test_a_request_is_told_when_it_begins_and_as_it_ends(
    kind: RequestKind, state: RequestState, partial: bool, how: str
) -> None:
    """Promise: one notice of the beginning, one of the end, of a type that the list of types has."""
    [began] = of_request(request(kind=kind))
    assert (began.type, began.at) == (f"{SUBJECT_OF[kind]}.started", NOW)
    told = of_request(ended(kind=kind, state=state, partial=partial))
    assert told[0] == began
    assert [(one.type, one.at) for one in told[1:]] == [(f"{SUBJECT_OF[kind]}.{how}", NOW + 60)]
    assert {one.type for one in told} <= TYPES


def test_every_kind_of_request_is_told_or_left_out_on_purpose() -> None:
    """Promise: a kind that is added later isn't forgotten here."""
    assert {*RequestKind} == {*SUBJECT_OF} | SILENT | {RequestKind.ARCHIVING_LOST}
    for kind in SILENT:
        assert of_request(ended(kind=kind)) == []
    [lost] = of_request(ended(kind=RequestKind.ARCHIVING_LOST, state=RequestState.ERROR))
    assert lost.type == "archiving.lost"


def test_the_same_happening_has_the_same_id_for_ever() -> None:
    """Promise: a receiver knows a notice again, whichever life or release of the coordinator finds it."""
    began, end = of_request(ended())
    assert began.id == "95f421ab-9679-5a28-a282-4eb3bfa616aa"
    assert of_request(request())[0].id == began.id
    assert len({began.id, end.id, *(one.id for one in of_request(ended("r2")))}) == 4


def test_an_end_is_never_before_its_beginning() -> None:
    """Promise: a clock that was set back meanwhile doesn't turn them round."""
    began, end = of_request(ended(at=NOW - 500))
    assert began.at <= end.at


def test_a_notice_says_what_a_person_needs_and_no_more() -> None:
    """Promise: cluster, request, tag, destinations, keyspaces, message, error without its fields, warnings, the rule
    that a delete goes by; what is long is cut."""
    error = {"code": "nodes_failed", "message": "m" * 9_000, "todo": "t", "retry": "now", "fields": {"nodes": {"a": 1}}}
    changes: dict[str, Any] = {
        "destinations": ["d1"],
        "keyspaces": {f"k{number:03}": [] for number in range(80)},
        "message": "two nodes failed",
        "error": error,
        "result": {"warnings": ["w"] * 90, "bytes": 5},
        "spec": {"tag": TAG, "because": "older than 3 days"},
    }
    began, end = of_request(ended(state=RequestState.ERROR, **changes))
    assert (end.cluster, end.request, end.tag, end.destinations) == ("main", "r1", TAG, ["d1"])
    assert (end.message, end.fields["seconds"], end.fields["because"]) == (
        "two nodes failed",
        60.0,
        "older than 3 days",
    )
    assert end.error == {"code": "nodes_failed", "message": "m" * LONGEST + "…", "todo": "t"}
    assert (len(end.fields["keyspaces"]), len(end.fields["warnings"])) == (MOST, MOST)
    assert (began.message, began.error) == ("", None)
    assert began == of_request(request(**changes))[0]


def test_a_run_of_retention_is_told_when_it_has_ended() -> None:
    """Promise: what it deleted, or why it could not; never that of before under a new id; nothing before the first."""
    assert of_retention("main", "d1", RetentionNote(ruled=1.0, begun=5.0)) == []
    [done] = of_retention("main", "d1", RetentionNote(begun=5.0, ended=9.0, deleted=["a"]))
    assert (done.type, done.at, done.destinations, done.message) == ("retention.done", 9.0, ["d1"], "1 backup deleted")
    assert done.fields == {"deleted": ["a"], "deleted_count": 1}
    # The next run has begun: the former one is still told as it was.
    assert of_retention("main", "d1", RetentionNote(begun=20.0, ended=9.0, deleted=["a"], asked=True)) == [done]
    note = RetentionNote(begun=20.0, ended=9.0, failed=25.0, error={"code": "retention_failed", "message": "why"})
    [failed] = of_retention("main", "d1", note)
    assert (failed.type, failed.at, failed.message) == ("retention.failed", 25.0, "why")
    assert failed.error is not None
    assert failed.error["code"] == "retention_failed"
    assert {done.type, failed.type} <= TYPES
    ids = [of_retention("main", place, RetentionNote(ended=at))[0].id for place in ("d1", "d2") for at in (9.0, 10.0)]
    assert len({failed.id, *ids}) == 5


def test_a_hook_is_told_what_it_asked_for() -> None:
    """Promise: patterns choose; without any it is all but beginnings."""
    assert wants([], "backup.failed")
    assert wants([], "archiving.lagging")
    assert not wants([], "backup.started")
    assert wants(["*"], "backup.started")
    assert wants(["delete.*", "*.failed"], "backup.failed")
    assert not wants(["delete.*", "*.failed"], "backup.succeeded")
