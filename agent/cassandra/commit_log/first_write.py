"""Whether there is any write in a segment. In: a file, finished or being written. Out: yes or no, from its first bytes.

Sections without mutations, as Cassandra writes one into the segment that was allocated ahead when it stops, are passed
over. What follows a section's marker is the size of its first mutation, and in compressed and encrypted segments the
section's plain length: both are zero where there is no mutation. See agent.cassandra.commit_log.sections.
"""

import os
from pathlib import Path

from agent.cassandra.commit_log.descriptor import LONGEST, read_descriptor, unreadable
from agent.cassandra.commit_log.sections import MARKER

_MOST_EMPTY = 10_000
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


def holds_writes(path: Path) -> bool:
    """Blocks, for some small reads. Raises `SegmentUnreadable` for a file without the header of a segment."""
    try:
        file = os.open(path, _OPEN)
    except OSError as error:
        raise unreadable(str(path), error.strerror or str(error)) from error
    try:
        descriptor = read_descriptor(os.pread(file, LONGEST, 0), str(path))
        at = descriptor.length
        for _ in range(_MOST_EMPTY):
            head = os.pread(file, MARKER.size + 4, at)
            if len(head) < MARKER.size:
                return False
            end, _checksum = MARKER.unpack_from(head)
            if any(head[MARKER.size :]) and (not end or end > at + MARKER.size):
                return True
            if end <= at:
                return False
            at = end
        return True
    except OSError as error:
        raise unreadable(str(path), error.strerror or str(error)) from error
    finally:
        os.close(file)
