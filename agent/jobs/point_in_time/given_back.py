"""Segments that a restore gave back to the commit-log directory. In: the node's facts and the job's list. Out: which
they are, and the directory without them.

Cassandra deletes them when it has replayed them; a start that failed leaves them there. The next one would hand them to
the archive command, a copy of a live segment among them that is no whole one, so they are moved out before each start.
Their other link waits in `segments`. New segments of Cassandra's own stay.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from agent.cassandra.commit_log.descriptor import descriptor_of
from agent.cassandra.errors import FilesAppeared
from agent.cassandra.live_directories import LiveDirectory, NodeFacts, live_directories
from agent.cassandra.set_aside import Aside, move_strangers, strangers
from agent.cassandra.staging import make_directory
from agent.jobs.point_in_time.node_facts import restored_of, segments_of
from agent.plan.segment_names import parse_segment


def given_back(facts: NodeFacts, plan: Sequence[Aside]) -> list[tuple[LiveDirectory, list[str]]]:
    """Those that are in the commit-log directory now."""
    segments = names_in(segments_of(facts))
    logs = [live for live in live_directories(facts) if live.what == "commitlog"]
    return [(live, [name for name in names if name in segments]) for live, names in strangers(plan, logs)]


def ready_for_start(facts: NodeFacts, plan: Sequence[Aside]) -> None:
    """Move out what an earlier start was given back, and begin the record of the next one anew. Cassandra is down."""
    move_strangers([(live, names) for live, names in given_back(facts, plan) if names])
    record = make_directory(facts.commitlog, (restored_of(facts).name,))
    for name in names_in(record):
        (record / name).unlink()


def refuse_other_files(facts: NodeFacts) -> None:
    """Raises `FilesAppeared` for anything in `segments` that is no segment, and `SegmentUnreadable` for one without a
    whole header: Cassandra would not start [T: 4.1, 5.0]."""
    segments = segments_of(facts)
    names = sorted(names_in(segments))
    others = [f"{segments}/{name}" for name in names if parse_segment(name) is None]
    if others:
        raise FilesAppeared(f"no segments of a commit log: {', '.join(others[:5])}", files=others[:100])
    for name in names:
        descriptor_of(segments / name)


def names_in(directory: Path) -> set[str]:
    """The names in a directory, none when it is not there."""
    try:
        return set(os.listdir(directory))
    except FileNotFoundError:
        return set()
