"""The live limits of an agent, as a coordinator sets them and as the agent answers."""

import msgspec


class PatchThrottle(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """PATCH /v1/throttle: bytes per second, 0 = no limit; what is not named stays as it is. `destinations`: id → limit.
    Holds until the agent stops or is told otherwise: the lasting limit of a destination is in its settings."""

    node_bytes_per_second: int | None = None
    destinations: dict[str, int] = {}


class ThrottleView(msgspec.Struct, frozen=True):
    """The limits in force, in bytes per second (0 = none)."""

    node_bytes_per_second: int
    destinations: dict[str, int]
