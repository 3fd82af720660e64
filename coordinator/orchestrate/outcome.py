"""How a flow ended: what a request is finished with. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from coordinator.model.requests import RequestState
from coordinator.orchestrate.answers import Answered
from coordinator.orchestrate.errors import NodesFailed

SHOWN = 200
"""Characters of a node's reason that a request's message repeats; its error has all of it."""

NOT_THERE = frozenset({"backup_not_found", "snapshot_missing"})
"""Codes of a delete that found nothing."""


class Outcome(msgspec.Struct, frozen=True):
    """`statuses`: destination id → (status, partial) for the activity log, where it differs from the whole."""

    state: RequestState
    message: str
    partial: bool = False
    error: dict[str, Any] | None = None
    result: dict[str, Any] = {}
    statuses: dict[str, tuple[str, bool]] = {}


def failures(answers: Iterable[Answered]) -> dict[str, dict[str, Any]]:
    """Address → error of the nodes that did not do all."""
    return {answer.address: answer.error or {} for answer in answers if not answer.ok}


def cause_of(error: Mapping[str, Any]) -> str:
    """What first went wrong, in few words: of a copy that failed, its destination's own error."""
    fields = error.get("fields")
    targets = fields.get("targets") if isinstance(fields, Mapping) else None
    if isinstance(targets, Mapping):
        for target in targets.values():
            if isinstance(target, Mapping) and target.get("message"):
                return cause_of(target)
    text = str(error.get("message") or error.get("code") or "failed")
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def nodes_failed(what: str, errors: Mapping[str, Mapping[str, Any]]) -> NodesFailed:
    """The error that names each node with its own reason."""
    told = "; ".join(f"{address}: {cause_of(error)}" for address, error in sorted(errors.items()))
    return NodesFailed(f"{what} failed on {told}", nodes={address: dict(error) for address, error in errors.items()})
