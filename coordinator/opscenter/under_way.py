"""What a running request is at, in a few words. In: its nodes' parts, with what each counts of its files. Out: a
sentence, or nothing while none has begun. Pure."""

import re
from collections.abc import Iterable
from functools import lru_cache

from coordinator.model.requests import NodePart, RequestState

STEPS = {
    "pre_script": "running the script before the snapshot",
    "snapshot": "taking snapshots",
    "post_script": "running the script after the snapshot",
    "upload": "uploading",
    "sync": "copying",
    "sync-gone": "copying the parts of nodes that left the ring",
    "scrub-gone": "reading the parts of nodes that left the ring",
    "preflight": "looking whether it can be restored",
    "fetch": "fetching",
    "drop_views": "dropping views",
    "truncate": "emptying tables",
    "schema": "making tables",
    "import": "importing",
    "check": "checking what was imported",
    "create_views": "making views",
    "clean": "removing what was staged",
    "pit_wake": "starting nodes that were down",
    "pit_check": "looking whether the point can be had",
    "pit_fetch": "fetching the snapshot and the commit log",
    "pit_tables": "making tables as they were",
    "pit_quiesce": "bringing the node to rest",
    "pit_stop": "stopping Cassandra",
    "pit_cover": "adding the node's own commit log",
    "pit_place": "setting aside and placing",
    "pit_start": "starting Cassandra, which replays the commit log",
    "pit_start-again": "starting Cassandra where it ended after its start",
    "pit_verify": "checking what was replayed",
    "pit_open": "letting clients in",
    "pit_clean": "removing what was staged and set aside",
    "undo-pit_undo": "undoing: bringing the old data back",
    "undo-pit_clean": "undoing: removing what was staged",
    "delete": "deleting",
    "sweep": "freeing space",
    "adopt": "freeing space of nodes that left the ring",
    "count": "counting what would be freed",
    "scrub": "reading what is stored",
    "archive": "telling the nodes of archiving",
    "rolling_restart": "restarting Cassandra",
    "trim_logs": "freeing segments of the commit log",
    "trim-gone": "freeing segments of nodes that left the ring",
    "snapshot-clear": "clearing snapshots",
    "upload-clear": "clearing snapshots",
    "undo-clear": "undoing: clearing snapshots",
    "undo-mark": "undoing: marking what was copied as deleted",
    "undo-clean": "undoing: removing what was staged",
    "undo-create_views": "undoing: making dropped views again",
    "stopped-create_views": "making dropped views again",
}
"""Phases in words, without the number of a round and the place of a mark. Each counted one stands before those that
follow it."""

_PLACE_OF = {step: place for place, step in enumerate(STEPS)}

_ROUND = re.compile(r"-\d+(?=-|$)", re.ASCII)

COUNTED = frozenset({"upload", "sync", "fetch", "import", "pit_fetch"})
"""Phases whose nodes count their files from 0 of all; what other ones show was counted before."""

BY_NODES = frozenset(
    {
        "pre_script", "post_script",
        "pit_check", "pit_quiesce", "pit_stop", "pit_cover", "pit_place", "pit_start", "pit_start-again",
        "pit_verify", "pit_open",
        "pit_clean", "undo-pit_undo", "undo-pit_clean",
    }
)  # fmt: skip
"""Phases of every node that count no files, some of them one node after the other."""


def in_words(phase: str) -> str:
    """A phase for people; one that isn't known by its name."""
    return STEPS.get(_step(phase), phase)


def under_way(
    parts: Iterable[tuple[NodePart, tuple[int, int]]],
    nodes: int = 0,
    waiting: Iterable[tuple[NodePart, tuple[int, int]]] = (),
) -> str:
    """The steps that nodes stand in, each with the files done of all over its nodes, or the nodes that have done it of
    all `nodes`; those that have done all of their step wait for the others and aren't told of beside them. `parts`:
    each with its files done, and in all. `waiting`: nodes that are told of elsewhere; here they only count, so that
    the numbers don't fall when a node begins to wait."""
    files: dict[str, tuple[int, int]] = {}
    resting: dict[str, int] = {}
    busy_steps: set[str] = set()
    ended = [0, 0]
    for part, (done, total) in parts:
        if part.state is not RequestState.RUNNING:
            ended = [ended[0] + done, ended[1] + total]
        elif part.phase:
            step = _step(part.phase)
            before = files.get(step, (0, 0))
            files[step] = (before[0] + done, before[1] + total)
        if part.rests:
            resting[_step(part.phase)] = resting.get(_step(part.phase), 0) + 1
        elif part.phase:
            busy_steps.add(_step(part.phase))
    idle: dict[str, tuple[int, int]] = {}
    for part, (done, total) in waiting:
        step = _step(part.phase)
        of = files if step in files else idle
        before = of.get(step, (0, 0))
        of[step] = (before[0] + done, before[1] + total)
    counted = [step for step in files if step in COUNTED]
    if len(counted) == 1:
        # Nodes that are further, or have done all of their part, have done this step as well.
        [phase] = counted
        beyond = [ended, *(counts for step, counts in (files | idle).items() if _is_after(step, phase)), files[phase]]
        files[phase] = (sum(done for done, _ in beyond), sum(total for _, total in beyond))
    if busy_steps & BY_NODES:
        files = {step: counts for step, counts in files.items() if step in busy_steps}
    busy = {phase: counts for phase, counts in files.items() if phase not in COUNTED or counts[0] < counts[1]}
    return "; ".join(
        _by_nodes(phase, resting.get(phase, 0), nodes) if phase in BY_NODES and nodes else _told(phase, *counts)
        for phase, counts in (busy or files).items()
    )


def _is_after(step: str, counted: str) -> bool:
    """Whether a node stands in the step only when it has done the counted one; its files are then still those."""
    return _PLACE_OF.get(step, -1) > _PLACE_OF[counted]


def _by_nodes(phase: str, done: int, nodes: int) -> str:
    return f"{in_words(phase)}, done on {done} of {nodes} nodes"


def _told(phase: str, done: int, total: int) -> str:
    step = in_words(phase)
    return f"{step}, {done} of {total} files" if phase in COUNTED and total else step


@lru_cache(maxsize=1_000)
def _step(phase: str) -> str:
    """Which step a phase is: a place's id may look like anything."""
    return "undo-mark" if phase.startswith("undo-mark-") else _ROUND.sub("", phase)
