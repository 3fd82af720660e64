"""What a copy came to: in, a result for each destination; out, the command's outcome. A note of the stages keeps it
over a restart."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from agent.jobs.copying.counts import count, counts_in
from agent.jobs.copying.errors import CopyFailed, CopyPartial
from agent.jobs.copying.storing import PUBLISHED
from agent.model.job import JobContext, Outcome
from agent.wire.commands import State, Target
from agent.wire.results import SnapshotResult, TargetResult, UploadResult
from kit.errors import HelenusError

CLEARING = "clearing"
_UNKNOWN = TargetResult(
    "failed", error=CopyFailed("it is not known what became of the copy: its result was never noted").as_dict()
)


class Copied(msgspec.Struct, frozen=True):
    """What a copy came to: a result for each destination, and the tags of older snapshots that had to go for free
    space. A job that goes on after it saves this with its stage."""

    targets: dict[str, TargetResult]
    given_up: list[str] = []


def outcome_of(copied: Copied, targets: Sequence[Target], snapshot: SnapshotResult | None, *, cleared: bool) -> Outcome:
    """The command's outcome. A target nothing is known of counts as failed: success is never what is left when the
    notes are. Raises the error when no destination got anything."""
    results = {target.destination: copied.targets.get(target.destination, _UNKNOWN) for target in targets}
    result = UploadResult(results, snapshot, cleared, copied.given_up)
    errors: dict[str, Any] = {name: one.error for name, one in results.items() if one.error is not None}
    if not errors and all(one.outcome == "success" for one in results.values()):
        return Outcome(result)
    names = ", ".join(sorted(errors))
    if all(one.outcome == "failed" for one in results.values()):
        raise CopyFailed(f"no destination got the backup: {_texts(errors)}", targets=errors, given_up=copied.given_up)
    return Outcome(
        result, State.PARTIAL, CopyPartial(f"not all is in {names}: {_texts(errors)}", targets=errors).as_dict()
    )


def _texts(errors: dict[str, Any]) -> str:
    return "; ".join(f"{name}: {error['code']}: {error['message']}" for name, error in sorted(errors.items()))


def recalled(context: JobContext) -> Copied:
    """What an earlier run of the command, which came as far as `clearing`, had copied; it is counted. Where no note
    of it is left nothing is known of any target."""
    for destination, counts in counts_in(context.stages.recall(PUBLISHED)).items():
        count(context.tally, destination, counts)
    return msgspec.convert(context.stages.recall(CLEARING) or {"targets": {}}, Copied)


def results_in(context: JobContext) -> dict[str, TargetResult]:
    """What an earlier run of the command noted of each destination."""
    return msgspec.convert(context.stages.recall(PUBLISHED) or {}, dict[str, TargetResult])


def missing(targets: Sequence[Target], results: Mapping[str, TargetResult]) -> list[Target]:
    """The targets that have no part of the backup yet, as far as is known."""
    return [target for target in targets if not is_done(results.get(target.destination))]


def with_failed(
    results: Mapping[str, TargetResult], targets: Sequence[Target], error: HelenusError
) -> dict[str, TargetResult]:
    """The results of those that are done, and `error` for all others: what is published is there, whatever became of
    the source. Raises `error` where nothing is."""
    left = missing(targets, results)
    if len(left) == len(targets):
        raise error
    return {
        **results,
        **dict.fromkeys((one.destination for one in left), TargetResult("failed", error=error.as_dict())),
    }


def is_done(result: TargetResult | None) -> bool:
    """Whether that is a result of a destination that is not to be touched again."""
    return result is not None and result.outcome != "failed"
