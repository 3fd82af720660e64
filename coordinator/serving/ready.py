"""What the configuration comes to. In: nothing. Out: the type that the parts of the process share."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from coordinator.fleet.fleet import ClusterAgents
from coordinator.model.settings import CoordinatorSettings
from coordinator.notices.hooks import Hook
from coordinator.orchestrate.timing import USUAL, Timing
from coordinator.serving.forwarding import Reached
from coordinator.store.opening import CassandraAccess
from kit.http_settings import Access


class Ready(msgspec.Struct, frozen=True):
    """What the configuration comes to, every file it names read. `reached`: how other coordinators of the same state
    are reached, and we by them. `timing`: waits that no setting names."""

    settings: CoordinatorSettings
    state_directory: Path
    access: Access
    agents: Mapping[str, ClusterAgents]
    hooks: Sequence[Hook]
    reached: Reached = Reached()
    state: CassandraAccess | None = None
    timing: Timing = USUAL
