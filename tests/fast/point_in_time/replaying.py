"""A Cassandra whose start replays as it was told: a stand-in for a node of real files."""

from dataclasses import replace

from agent.jobs.point_in_time.node_facts import restored_of, segments_of
from tests.fast.point_in_time.node_on_disk import JOB, NodeOnDisk


class Replaying:
    """`limited`: of each start, whether it replayed for the asked tables alone; `lost`: own segments, with writes of
    every table, that such a start has replayed. `passed_over`: segments that it is given and does not replay; `empty`:
    those that it takes for empty. With `logs` the agent may read Cassandra's log."""

    def __init__(self, node: NodeOnDisk, *, logs: bool = True) -> None:
        self._node = node
        self._log = node.base.parent / "system.log"
        if logs:
            node.tools = replace(node.tools, log_file=self._log)
        node.service.begins = self._begins
        self.limited: list[bool] = []
        self.lost: list[str] = []
        self.passed_over: set[str] = set()
        self.empty: set[str] = set()
        self.fails = False

    def _begins(self) -> None:
        limited = any("replayList" in line for line in self._node.options.lines.get(JOB, []))
        own = sorted(path.name for path in self._node.commitlog.iterdir())
        given = sorted(path.name for path in segments_of(self._node.facts).iterdir()) if limited else []
        for name in given:
            (restored_of(self._node.facts) / name).write_bytes(b"")
        found = [f"/c/{name}" for name in [*given, *own] if name not in self.passed_over]
        self._tell(f"CommitLog.java:1 - Replaying {', '.join(found)}")
        for name in self.empty.intersection(given):
            self._tell(f"CommitLogReplayer.java:4 - Skipping playback of empty log: {name}")
        if self.fails:
            raise OSError("Cassandra did not come up")
        self._tell("CommitLog.java:2 - Log replay complete, 7 replayed mutations in 1 ms")
        self.lost += own if limited else []
        for name in own:
            (self._node.commitlog / name).unlink()
        self.limited.append(limited)
        new = self._node.commitlog / f"CommitLog-7-{90 + len(self.limited)}.log"
        new.write_bytes(b"the only copy of every table's writes since")

    def _tell(self, line: str) -> None:
        with self._log.open("a") as file:
            file.write(f"INFO  [main] {line}\n")
