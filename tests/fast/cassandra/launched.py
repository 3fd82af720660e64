"""A Cassandra that is scripts: a process that /proc shows as one, commands that stop and start it, and a nodetool that
reads from files what it is to say.

In: a directory. Out: the agent's settings for it. What it does is told by files in the directory, so that a test may
change it meanwhile.
"""

import os
import shlex
import signal
import socket
import sys
from pathlib import Path
from typing import Any

from agent.cassandra.nodetool import Nodetool
from agent.cassandra.service import CassandraService
from agent.cassandra.service_orders import ServiceOrders
from agent.cassandra.settings import CassandraSettings, NodetoolSettings, ServiceSettings

HOST_ID = "f07c0f1d-962d-4981-b44f-35682d1a3fe8"

_START = """#!/bin/sh
echo start >> {calls}
[ -e {directory}/broken ] && {{ echo 'no such unit'; exit 5; }}
setsid {python} -c 'import time; time.sleep({life})' x.CassandraDaemon -Dcassandra.jmx.local.port={port} \
 < /dev/null > /dev/null 2>&1 &
echo $! >> {directory}/pids
"""
_STOP = """#!/bin/sh
echo stop >> {calls}
[ -e {directory}/deaf ] && exit 0
kill $(tail -n 1 {directory}/pids)
"""
_NODETOOL = """#!/bin/sh
shift 4
echo "$@" >> {calls}
case $1 in
    info) echo "ID                     : $(cat {directory}/host_id)" ;;
    netstats) echo "Mode: $(cat {directory}/mode)" ;;
    drain) echo DRAINED > {directory}/mode ;;
    statusbinary) cat {directory}/binary ;;
    disablebinary) echo 'not running' > {directory}/binary ;;
    enablebinary) [ -e {directory}/shut ] || echo running > {directory}/binary ;;
esac
[ ! -e {directory}/fails ]
"""


class Launched:
    """`async with`-less: call `end` at last. `life`: seconds after which each process ends by itself."""

    def __init__(self, directory: Path, *, life: float = 60.0, **service: Any) -> None:
        self.directory = directory
        self._door = socket.create_server(("127.0.0.1", 0))
        self.port = self._door.getsockname()[1]
        words = {
            "calls": shlex.quote(str(directory / "calls")),
            "directory": shlex.quote(str(directory)),
            "python": shlex.quote(sys.executable),
            "life": life,
            "port": self.port,
        }
        for name, text in (("start", _START), ("stop", _STOP), ("nodetool", _NODETOOL)):
            (directory / name).write_text(text.format(**words))
            (directory / name).chmod(0o755)
        self.log = directory / "system.log"
        self.log.write_text("the first line\nthe last line\n")
        self.say(mode="NORMAL", host_id=HOST_ID, binary="running")
        self.settings = CassandraSettings(
            nodetool=NodetoolSettings(command=(str(directory / "nodetool"),), port=self.port),
            service=ServiceSettings(
                **{
                    "start": (str(directory / "start"),),
                    "stop": (str(directory / "stop"),),
                    "log_file": str(self.log),
                    **service,
                }
            ),
        )
        self.orders = ServiceOrders(self.settings.nodetool, self._host_id)
        self.nodetool = Nodetool(self.settings.nodetool)
        self.service = CassandraService(self.settings, self.orders, poll=0.01, ask=0.01)

    def say(self, **told: str) -> None:
        """What nodetool says from now on."""
        for name, text in told.items():
            (self.directory / name).write_text(f"{text}\n")

    def set(self, name: str) -> None:
        """Break something: `broken` (start fails), `deaf` (stop does nothing), `shut`, `fails` (nodetool)."""
        (self.directory / name).touch()

    def mend(self, name: str) -> None:
        (self.directory / name).unlink()

    @property
    def calls(self) -> list[str]:
        """What was called, and how."""
        calls = self.directory / "calls"
        return calls.read_text().splitlines() if calls.exists() else []

    @property
    def pids(self) -> list[int]:
        """Every process that was started."""
        return [int(line) for line in (self.directory / "pids").read_text().split()]

    @property
    def started(self) -> bool:
        """Whether any process was."""
        return (self.directory / "pids").exists()

    def end(self) -> None:
        """End what still runs."""
        self._door.close()
        for pid in self.pids if self.started else []:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue

    async def _host_id(self) -> str:
        return HOST_ID
