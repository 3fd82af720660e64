"""A command that the coordinator posts to an agent: written before it is sent, so that a restart sends the same."""

from typing import Any

import msgspec

from agent.wire.commands import Kind, State


class PostedCommand(msgspec.Struct, frozen=True):
    """A command of a request. Identity at the agent: `id`, `kind`, `arguments`.

    `agent`: the agent's URL. `host_id`, `address`: of its node. `arguments`: JSON data of `agent.wire.commands`.
    `state` as the agent last told (`queued` until it told). `instance`: the agent process that last worked on it.
    `accepted`: the agent has answered 202 (False: it may or may not know the command). `cancel_owed`: it counts as
    cancelled, but its agent did not answer when it was to be told. Times in unix seconds.
    """

    id: str
    request: str
    agent: str
    host_id: str
    address: str
    phase: str
    kind: Kind
    arguments: dict[str, Any]
    fence: int
    posted: float
    not_after: float | None = None
    accepted: bool = False
    cancel_owed: bool = False
    state: State = State.QUEUED
    stage: str = ""
    started: float | None = None
    finished: float | None = None
    result: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    instance: str = ""
