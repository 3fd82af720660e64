"""Names of commit-log segments, `CommitLog-<version>-<id>.log`. In: file names. Out: versions and ids, which order the
segments as Cassandra replays them. Pure.

Ids of one life of Cassandra (from its start to its end) are consecutive; a life begins at the milliseconds of its
start, or one above the highest id that it finds in its directory, whichever is more (4.0 to 5.0).
"""

import re
from functools import lru_cache

import msgspec

_NAME = re.compile(r"CommitLog-([0-9]{1,4})-([0-9]{1,18})\.log")
OLDEST_VERSION = 7
"""Of Cassandra 4.0, 4.1 and 5.0; 6 was 3.0's."""


class SegmentName(msgspec.Struct, frozen=True, order=True):
    """A parsed name; sorts as Cassandra replays."""

    id: int
    version: int

    @property
    def file_name(self) -> str:
        """The name itself."""
        return f"CommitLog-{self.version}-{self.id}.log"

    def neighbour(self, distance: int) -> "SegmentName":
        """The name of the segment so many before (negative) or after it in the same life, there or not."""
        return SegmentName(self.id + distance, self.version)


@lru_cache(maxsize=1 << 16)
def parse_segment(name: str) -> SegmentName | None:
    """The parts of a segment's file name; None for anything else (index files of CDC, unfinished copies)."""
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    parsed = SegmentName(int(found[2]), int(found[1]))
    return parsed if parsed.file_name == name else None  # no leading zeros: one segment has one name


def segment_id(name: str) -> int:
    """The id of a segment's file name. Raises ValueError for anything else."""
    parsed = parse_segment(name)
    if parsed is None:
        raise ValueError(f"«{name[:80]}» is no segment of a commit log")
    return parsed.id
