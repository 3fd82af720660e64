"""How a flow ended: what a request is finished with. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from coordinator.model.requests import RequestState
from coordinator.orchestrate.errors import NodesFailed
from coordinator.orchestrate.fan_out import Answered


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


def nodes_failed(what: str, errors: Mapping[str, Mapping[str, Any]]) -> NodesFailed:
    """The error that names each node with its own reason."""
    told = "; ".join(f"{address}: {error.get('message', 'failed')}" for address, error in sorted(errors.items()))
    return NodesFailed(f"{what} failed on {told}", nodes={address: dict(error) for address, error in errors.items()})
