"""Is anything in a commit log that may be nowhere else? In: its directory, while Cassandra is down. Out: yes or no.

A drain, or any clean end of Cassandra, leaves no write in it: one segment, that had been allocated ahead, without a
mutation [T: 4.1, 5.0]. A segment that can't be read, or is compressed or encrypted and not empty, counts as one with
writes, and so does one whose archiving failed, though it is flushed: who asks then has the node drained.
"""

import os
from pathlib import Path

from agent.cassandra.commit_log.errors import SegmentUnreadable
from agent.cassandra.commit_log.sections import segment_state
from agent.plan.segment_names import parse_segment


def holds_writes(directory: Path) -> bool:
    """Whether any segment there holds a write. Reads them all. Raises OSError."""
    return any(holds_write(directory / name) for name in os.listdir(directory) if parse_segment(name) is not None)


def ended_clean(directory: Path) -> bool:
    """Whether Cassandra left its log without a write in it. It always leaves a segment: a directory without any was
    emptied by somebody, and what was in it is not known. Reads them all. Raises OSError."""
    left = any(parse_segment(name) is not None for name in os.listdir(directory))
    return left and not holds_writes(directory)


def holds_write(path: Path) -> bool:
    """As `holds_writes`, of one segment."""
    try:
        return segment_state(path).held_data
    except SegmentUnreadable:
        return True
