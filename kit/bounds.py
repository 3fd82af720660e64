"""What numbers a configuration may have. In: nothing. Out: types that are bounded on both sides, so that a slip in a
sign, a unit or a digit is told when the file is read, not when a backup fails. Times in seconds, sizes in bytes."""

from typing import Annotated

import msgspec

Seconds = Annotated[float, msgspec.Meta(ge=0.1, le=604_800)]
"""A deadline, wait or pause: up to a week."""

ListeningPort = Annotated[int, msgspec.Meta(ge=0, le=65_535)]
"""0 takes a free one."""

Port = Annotated[int, msgspec.Meta(ge=1, le=65_535)]
"""Of somebody else, who is to be reached."""

BytesPerSecond = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]
"""0: no limit. The most is what JSON's readers tell apart."""

BodyBytes = Annotated[int, msgspec.Meta(ge=65_536, le=1 << 30)]
"""Of one request: it is held in memory."""

Connections = Annotated[int, msgspec.Meta(ge=8, le=65_536)]
"""At a time: a coordinator alone needs several of them."""

FreePercent = Annotated[float, msgspec.Meta(ge=0, le=99)]
"""Of a volume; 0: as much as there is. A whole volume is never free."""
