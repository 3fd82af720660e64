"""Commit-log archiving: what an agent is told of it (commands) and what it says (GET /v1/archiving).

Times are unix seconds by the node's clock. A segment is known by its file name, `CommitLog-<version>-<id>.log`.
"""

from typing import Literal

import msgspec

from agent.wire.commands import Target


class LogTarget(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A destination of segments. Its limit is `target.throttle_bytes_per_second`. `compressed`: with zstd, where that
    pays."""

    target: Target
    compressed: bool = False


class ArchiveArguments(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Archive the node's commit log from its next start on (`enabled`), or no longer. `directory`: absolute, where the
    archive command puts closed segments ("" = the agent's setting). `keep`: segments stay there also when every
    destination has them, as logs on the server. `tail_seconds`: copy the segment that is being written so often, 0 =
    never. Told again with other targets it changes them without a restart."""

    enabled: bool
    directory: str = ""
    targets: list[LogTarget] = []
    keep: bool = False
    tail_seconds: float = 0.0


class RestartArguments(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Stop Cassandra and start it again; ends when the node is NORMAL and sees its neighbours so. `drain`: drain it
    first."""

    drain: bool = False


class TrimLogsArguments(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Free segments that were closed before `before`, and schemas that no later segment needs: in the target, or
    without one those kept on the node. `adopt`: the host id of a node that left the ring, whose log in the target is
    freed instead of this node's own; refused while it is in the ring."""

    before: float
    target: Target | None = None
    dry_run: bool = False
    adopt: str | None = None


class ArchiveResult(msgspec.Struct, frozen=True):
    """Of archive. `restart_needed`: the running Cassandra was started without what its properties file says now."""

    restart_needed: bool
    directory: str
    properties_file: str
    command: str
    tail_refused: str = ""


class RestartResult(msgspec.Struct, frozen=True):
    """Of restart: how long the node did not answer."""

    seconds_down: float
    drained: bool


class LogGap(msgspec.Struct, frozen=True):
    """Segments that are not in the archive: between the segments `after` and `before` ("" = none is known there),
    written between the times `since` and `until`. `reason`: why, as a clause."""

    after: str
    before: str
    since: float
    until: float
    reason: str


class LogPlace(msgspec.Struct, frozen=True):
    """How far one destination is. `safe_until`: every write that the node had received by then is in the destination,
    counted from `safe_since` on without a gap; None: nothing is. With a later `safe_since` nothing is yet."""

    safe_since: float | None = None
    safe_until: float | None = None
    newest: str = ""
    waiting_segments: int = 0
    waiting_bytes: int = 0
    error: dict[str, object] | None = None


class ArchivingView(msgspec.Struct, frozen=True):
    """GET /v1/archiving. `enabled`: as it was ordered. `state`: `on` when the running Cassandra archives, `off` when it
    does not, `lost` when it should and its properties file or archive command is not ours any more, `restart_needed`,
    `unknown` while Cassandra doesn't answer. `places`: destination id → how far (OPSC_ON_SERVER where logs are kept on
    the node). `unarchived_bytes`: closed segments that Cassandra left in its commit-log directory because the archive
    command failed; `commitlog_bytes`: all of that directory."""

    enabled: bool
    state: Literal["on", "off", "lost", "restart_needed", "unknown"]
    directory: str = ""
    keep: bool = False
    targets: list[LogTarget] = []
    tail_seconds: float = 0.0
    tail_refused: str = ""
    places: dict[str, LogPlace] = {}
    gaps: list[LogGap] = []
    commitlog_bytes: int = 0
    unarchived_bytes: int = 0
    schema_version: str = ""
    schema_seen: float | None = None
    trouble: dict[str, object] | None = None
