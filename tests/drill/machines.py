"""Whatever a drill started, to be ended from anywhere. In: the parts, as they come. Out: no process of them."""

from tests.cluster.processes import end
from tests.demo.topology import Topology
from tests.drill.scratch import Scratch


class Machines:
    """A cluster, when the drill made its own backup, and the scratch node."""

    def __init__(self) -> None:
        self.topology: Topology | None = None
        self.scratch: Scratch | None = None

    def end(self, grace: float) -> None:
        """Ask all processes to end, kill what is left after `grace` seconds."""
        if self.scratch is not None:
            self.scratch.cluster.close_sessions()
        if self.topology is not None:
            self.topology.cassandra.close_sessions()
        self.kill(grace)

    def kill(self, grace: float) -> None:
        """The same for a signal handler, which can't wait for what the sessions' threads hold."""
        if self.scratch is not None and self.scratch.node.alive:
            end([self.scratch.node.child], grace)
        if self.topology is not None:
            self.topology.kill(grace)
