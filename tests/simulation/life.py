"""The life of a node's backups as a state machine. In: what hypothesis draws. Out: the real agent beside a model.

The model is what a person would say: what was backed up and not deleted is restored byte for byte, unless an object
that it needs was damaged; then the restore fails and stages nothing wrong. A backup heals what is missing or cut and
still lives on the node, and whatever a scrub has noted; a scrub notes all damage, whatever was sealed; a sweep leaves
what undeleted backups need, and nothing else.
"""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from agent.wire.commands import (
    BackupArguments,
    CommandView,
    DeleteArguments,
    Kind,
    RestoreArguments,
    ScrubArguments,
    SnapshotArguments,
    State,
    SweepArguments,
)
from tests.cluster.lean_run import MEMORY
from tests.fast.jobs.node import HOST
from tests.simulation.agent import target
from tests.simulation.loop import simulate
from tests.simulation.world import World, begun, digests, ended_once, named_objects, of_tables, staged_files

TABLES = [("shop", "orders"), ("shop", "users"), ("many", "t1")]
WANTED = {"shop": ["orders", "users"], "many": ["t1"]}
STEP_SECONDS = 5_000.0
Files = dict[tuple[str, str, str], str]


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


DAMAGES: dict[str, Callable[[bytes], bytes | None]] = {
    "missing": lambda content: None,
    "cut": lambda content: content[:-5],
    "flipped": flipped,
}


class Life(RuleBasedStateMachine):
    """Each rule is a process of its own, which finds what the ones before have left."""

    ENCRYPTED = False

    def __init__(self) -> None:
        super().__init__()
        self._place = Path(tempfile.mkdtemp(dir=MEMORY if MEMORY.is_dir() else None))
        self._now = STEP_SECONDS
        self._number = 0
        self._sstables = 0
        self.world = World(self._place / "world", encrypted=self.ENCRYPTED)
        self.backups: dict[str, Files] = {}
        """tag → what is in it, of the undeleted ones"""
        self.damaged: dict[str, str] = {}
        """key of an object → how"""
        simulate(self.world.made())
        for keyspace, table in TABLES:
            self.world.node.table(keyspace, table)
        self.write(TABLES[0], 500)

    def teardown(self) -> None:
        shutil.rmtree(self._place)

    @rule(table=st.sampled_from(TABLES), size=st.integers(1, 4_000))
    def write(self, table: tuple[str, str], size: int) -> None:
        """A flush: one SSTable more."""
        self._sstables += 1
        self.world.node.sstable(*table, self._sstables, size)

    @rule(table=st.sampled_from(TABLES), size=st.integers(1, 4_000))
    def compact(self, table: tuple[str, str], size: int) -> None:
        """All SSTables of a table become one."""
        self._clear(table)
        self.write(table, size)

    @rule(table=st.sampled_from(TABLES))
    def truncate(self, table: tuple[str, str]) -> None:
        """A table has no SSTable any more."""
        self._clear(table)

    @rule()
    def backup(self) -> None:
        """Heals what it needs and is missing, cut or noted; what else has its size looks whole to it."""
        tag = f"b{self._number + 1}"
        noted = self.noted()
        view = self._run(Kind.BACKUP, BackupArguments(SnapshotArguments(tag), [target()]))
        assert view.state is State.SUCCESS, view.error
        self.backups[tag] = digests(self.world.node.files())
        self.world.expect(tag)
        for key in named_objects(self.world, tag=tag):
            if self.damaged.get(key) in ("missing", "cut") or key in noted:
                self.damaged.pop(key, None)

    @precondition(lambda self: self.backups)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        """From now on the backup is not there."""
        tag = data.draw(st.sampled_from(sorted(self.backups)))
        del self.backups[tag]
        self.world.deleted(tag)
        view = self._run(Kind.DELETE, DeleteArguments(tag, target()))
        assert view.state is State.SUCCESS, view.error

    @rule()
    def sweep(self) -> None:
        """What is left is what undeleted backups need."""
        view = self._run(Kind.SWEEP, SweepArguments(target()))
        assert view.state is State.SUCCESS, view.error
        missing = {key for key, how in self.damaged.items() if how == "missing"}
        needed = named_objects(self.world)
        assert self.world.data_keys() == needed - missing
        self.damaged = {key: how for key, how in self.damaged.items() if key in needed}

    @precondition(lambda self: self.world.data_keys())
    @rule(data=st.data(), how=st.sampled_from(sorted(DAMAGES)))
    def corrupt(self, data: st.DataObject, how: str) -> None:
        """An object of the store goes, is cut, or has a bit flipped."""
        objects = self.world.stores["d1"]._objects
        key = data.draw(st.sampled_from(sorted(self.world.data_keys() - set(self.damaged)) or [""]))
        if not key:
            return
        content, modified = objects[key]
        damaged = DAMAGES[how](content)
        if damaged is None:
            del objects[key]
        else:
            objects[key] = (damaged, modified)
        self.damaged[key] = how

    @rule()
    def scrub(self) -> None:
        """All that is damaged is noted, and nothing else; what is missing, if a backup that can be read needs it."""
        view = self._run(Kind.SCRUB, ScrubArguments(target(), whole=True))
        noted = self.noted()
        assert {key for key, how in self.damaged.items() if how != "missing"} <= noted <= set(self.damaged)
        if not set(self.damaged.values()) - {"missing"}:
            assert noted == set(self.damaged) & named_objects(self.world)
        assert view.state is (State.PARTIAL if noted else State.SUCCESS), view.error

    def noted(self) -> set[str]:
        """The objects that are noted as damaged."""
        return {key.replace("/damaged/", "/data/") for key in self.world.stores["d1"]._objects if "/damaged/" in key}

    @precondition(lambda self: self.backups)
    @rule(data=st.data())
    def restore(self, data: st.DataObject) -> None:
        """Every byte of the backup stands ready, or the restore fails (I6)."""
        tag = data.draw(st.sampled_from(sorted(self.backups)))
        arguments = RestoreArguments(tag, HOST, WANTED, target())
        view = self._run(Kind.FETCH, arguments)
        staged = digests(staged_files(self.world))
        if named_objects(self.world, tag=tag, own=False) & set(self.damaged):
            assert view.state is State.FAILED
            assert view.error is not None
            assert view.error["code"] in ("object_not_found", "object_damaged", "file_differs"), view.error
            assert staged.items() <= self.backups[tag].items()
        else:
            assert view.state is State.SUCCESS, view.error
            assert staged == self.backups[tag]
        assert self._run(Kind.CLEAN, arguments).state is State.SUCCESS
        assert staged_files(self.world) == {}

    @invariant()
    def whole(self) -> None:
        """While nothing is damaged the independent checker finds nothing, and every backup holds what it held."""
        if not self.damaged:
            found = self.world.check(idle=True)["d1"]
            assert {tag: of_tables(found[tag, HOST]) for tag, _ in found} == self.backups

    def _clear(self, table: tuple[str, str]) -> None:
        for path in self.world.node.table(*table).glob("nb-*"):
            path.unlink()

    def _run(self, kind: Kind, arguments: Any) -> CommandView:
        """The command in a process of its own."""
        self._number += 1
        self._now += STEP_SECONDS
        return simulate(self._life(f"c{self._number}", kind, arguments), begin=self._now)

    async def _life(self, command_id: str, kind: Kind, arguments: Any) -> CommandView:
        agent = self.world.agent()
        assert await begun(agent, (command_id, kind, arguments))
        view = await ended_once(agent, command_id)
        await agent.stop()
        return view


class SealedLife(Life):
    """The same in an encrypted repository."""

    ENCRYPTED = True
