"""Object lock as settings ask for it. In: its mode and days. Out: until when what is put or reused is to be held."""

import math
from typing import Annotated, Literal

import msgspec

DAY = 86400.0
_AHEAD = 1.25
"""An extension costs a request for each object: with a quarter more than is promised, a daily backup extends an object
once in a quarter of the days, not every day."""
_PUBLISHING = 3600.0
"""Between the look at what is held and the end of the backup: as long as some millions of extensions may take."""


class ObjectLock(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is put under lock can't be deleted or replaced by anybody before its time: in `compliance` nobody at all, in
    `governance` nobody without a right of its own, which Helenus never uses.

    `days`: everything that a backup needs stays at least so long after the backup has ended. `control`: the bucket,
    with an optional `/prefix`, at the same endpoint and for the same keys, for what Helenus itself replaces and deletes
    (agent.repository.control_keys); nothing there may be locked.
    """

    mode: Literal["governance", "compliance"]
    days: Annotated[int, msgspec.Meta(ge=1, le=36500)]
    control: str

    def __post_init__(self) -> None:
        if not self.control.strip("/ "):
            raise ValueError("control must name a bucket, or bucket/prefix, without object lock")

    def until(self, now: float) -> float:
        """Until when what is put or extended at `now` is held; unix seconds, whole ones."""
        return float(math.ceil(now + self.days * DAY * _AHEAD))

    def due(self, now: float) -> float:
        """Until when everything must be held that a backup needs which ends soon after `now`; unix seconds."""
        return now + self.days * DAY + _PUBLISHING

    def refuse_overlap(self, path: str) -> None:
        """Raise ValueError when `control` and the `path` of what is locked lie one in the other."""
        first, second = (f"{one.strip('/')}/" for one in (self.control, path))
        if first.startswith(second) or second.startswith(first):
            raise ValueError(
                "object_lock.control must be another bucket, or a prefix beside path, not one in the other"
            )
