"""Ctrl-C and SIGTERM while machines run. In: the machines. Out: their processes ended, and this one with 128 + the
signal.

The handler does all of it itself and does not return: neither the event loop nor a thread that waits for a node holds
it up. Further signals change nothing; should this process be killed, the reaper of `tests.cluster` ends the rest.
"""

import os
import signal
from types import FrameType
from typing import Protocol

GRACE_SECONDS = 3.0
"""For agents to end their nodetool; what the nodes hold is of no use to anybody."""
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Machines(Protocol):
    """What can be ended from a signal handler."""

    def kill(self, grace: float) -> None:
        """End all processes, after `grace` seconds by force, without an event loop."""


def ends_on_signals(machines: Machines) -> None:
    """From now on a signal ends the machines' processes and this one."""

    def handle(number: int, frame: FrameType | None) -> None:
        for each in SIGNALS:
            signal.signal(each, signal.SIG_IGN)
        os.write(1, b"\nstopping what was started\n")
        try:
            machines.kill(GRACE_SECONDS)
        finally:
            os._exit(128 + number)

    for each in SIGNALS:
        signal.signal(each, handle)
