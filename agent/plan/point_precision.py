"""How finely Cassandra takes a point in time. In: its version. Out: digits of the second's fraction. Pure."""

import re

_VERSION = re.compile(r"(\d+)\.(\d+)(?:\.(\d+))?")
_SINCE = {(4, 0): 17, (4, 1): 9}
"""Patch releases that were seen to read a fraction [X]; earlier ones may leave it out, and so cut to the second."""


def fraction_digits(version: str) -> int:
    """Six where `restore_point_in_time` is read to the microsecond (4.0.17, 4.1.9, 5.0 and later), else none."""
    found = _VERSION.match(version)
    if found is None:
        return 0
    release = (int(found[1]), int(found[2]))
    if release >= (5, 0):
        return 6
    since = _SINCE.get(release)
    return 6 if since is not None and int(found[3] or 0) >= since else 0
