"""A node of real files whose Cassandra is scripts: what the phases that stop and start it work with."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from agent.cassandra.jvm_options import JvmOptions
from agent.cassandra.node import CassandraNode
from agent.cassandra.protocol import MemberState
from agent.cassandra.waits import NOBODY, until
from agent.jobs.point_in_time.place import PitPlaceJob
from tests.fast.cassandra.launched import Launched
from tests.fast.point_in_time.node_on_disk import NodeOnDisk


class Site:
    """A node on disk whose Cassandra is scripts; its facts are noted."""

    def __init__(self, directory: Path) -> None:
        (directory / "scripts").mkdir()
        self.launched = Launched(directory / "scripts")
        self.disk = NodeOnDisk(directory)
        self.members = {"127.0.0.1": MemberState(True, "NORMAL")}
        self.options = directory / "jvm-server.options"
        self.options.touch()
        self.node = SimpleNamespace(
            service=self.launched.service,
            orders=self.launched.orders,
            settings=self.launched.settings,
            jvm=JvmOptions(self.options),
            view=SimpleNamespace(setting=self._setting),
            control=SimpleNamespace(members=self._members),
        )
        self.tools = replace(
            self.disk.tools,
            node=cast(CassandraNode, self.node),
            service=self.launched.service,
            orders=self.launched.orders,
            jvm=self.node.jvm,
        )

    async def up_and_shut(self) -> None:
        """Cassandra runs and lets nobody in, as after an earlier PIT_QUIESCE."""
        await self.disk.prepare()
        await self.start()
        self.launched.say(binary="not running")

    async def start(self) -> None:
        """Start Cassandra, and wait until its process is seen as one."""
        await self.launched.service.start()
        assert await until(self.launched.service.alive, 30.0, NOBODY, every=0.01)

    async def placed(self) -> None:
        """All is placed, and Cassandra down."""
        await self.disk.prepare()
        await PitPlaceJob(self.tools).run(self.disk.context())

    async def run(self, job: type[Any]) -> Any:
        return (await job(self.tools).run(self.disk.context())).result

    async def _setting(self, *names: str) -> str | None:
        return "100ms"

    async def _members(self) -> dict[str, MemberState]:
        return self.members
