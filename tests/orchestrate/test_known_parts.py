"""The parts of a running request's nodes, told again and again: made anew where anything has changed, and nowhere
else."""

import uuid
from typing import Any

import msgspec
import pytest

from agent.wire.commands import CommandView, Counts, Kind, State
from coordinator.fleet.reports import Reports
from coordinator.model.commands import PostedCommand
from coordinator.model.orders import RestoreOrder
from coordinator.model.requests import NodePart, Request, RequestKind, RequestState, spec_of
from coordinator.model.table_counts import Layouts
from coordinator.orchestrate import known_parts, parts
from coordinator.orchestrate.known_parts import KnownParts

NODES = 12
ORDER = RestoreOrder("adhoc_1")


class Restoring:
    """A restore that all nodes fetch for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        self.reports = Reports(clock=lambda: self.now)
        self.request = Request(
            str(uuid.UUID(int=1)), RequestKind.RESTORE, "c", RequestState.RUNNING, 1.0, spec_of(ORDER)
        )
        self.commands = [self.command(number, "fetch", Kind.FETCH) for number in range(NODES)]
        self.retrying: dict[str, str] = {}
        self.known = KnownParts()
        self.made: list[str] = []
        for number in range(NODES):
            self.report(number, "fetch", Kind.FETCH, done=1)
        make = parts.lasting_part

        def counted(*given: Any) -> NodePart:
            made = make(*given)
            self.made.append(made.address)
            return made

        monkeypatch.setattr(known_parts, "lasting_part", counted)

    def command(self, number: int, phase: str, kind: Kind) -> PostedCommand:
        """One node's."""
        name, address = f"{phase}-{number}", f"10.0.0.{number:02}"
        return PostedCommand(name, self.request.id, f"url-{number}", f"host-{number}", address, phase, kind, {}, 0, 1.0)

    def report(self, number: int, phase: str, kind: Kind, done: int, errors: list[str] | None = None) -> None:
        """What a node's agent tells of three tables."""
        counts = {f"t{table}": Counts(done, 9, done, 9 if table else 0, errors or []) for table in range(3)}
        told: Any = {"place": {"shop": counts}}
        name = f"{phase}-{number}"
        view = CommandView(name, kind, State.RUNNING, phase, None, phase, 0, 1.0, 1.0, None, told)
        self.reports.learn(f"url-{number}", view)

    async def told(self) -> list[str]:
        """Addresses of those parts that were made for this; what is told is what would be told if all were."""
        self.made.clear()
        moment = self.reports.moment(command.id for command in self.commands)
        told = await self.known.now(self.request, self.commands, moment, self.retrying)
        made = [*self.made]
        assert told == parts.parts_of(self.request, self.commands, moment, self.retrying)
        return made


@pytest.fixture
def restoring(monkeypatch: pytest.MonkeyPatch) -> Restoring:
    return Restoring(monkeypatch)


async def test_only_what_changed_is_made_anew(restoring: Restoring) -> None:
    """Promise: who asks twice has no node's part made twice; a report, an error, a command's end, a further command or
    try has that node's made anew and no other's."""
    assert len(await restoring.told()) == NODES
    assert await restoring.told() == []
    restoring.report(3, "fetch", Kind.FETCH, done=2)
    assert await restoring.told() == ["10.0.0.03"]
    restoring.reports.lose("url-4", "fetch-4", {"code": "agent_unreachable", "message": "away"})
    assert await restoring.told() == ["10.0.0.04"]
    failed = msgspec.structs.replace(restoring.commands[5], state=State.FAILED, error={"code": "x", "message": "y"})
    restoring.commands[5] = failed
    assert await restoring.told() == ["10.0.0.05"]
    restoring.retrying["fetch-5"] = "waits for its node"
    assert await restoring.told() == ["10.0.0.05"]
    restoring.commands.append(restoring.command(6, "truncate", Kind.TRUNCATE))
    assert await restoring.told() == ["10.0.0.06"]
    assert await restoring.told() == []


async def test_time_alone_makes_none_anew(restoring: Restoring) -> None:
    """Promise: how long nodes stand still is told by the second without anything else being made anew."""
    await restoring.told()
    restoring.now += 30
    assert await restoring.told() == []
    moment = restoring.reports.moment(command.id for command in restoring.commands)
    told = await restoring.known.now(restoring.request, restoring.commands, moment, {})
    assert {part.still_seconds for part in told} == {30}


async def test_an_end_makes_all_anew(restoring: Restoring) -> None:
    """Promise: the parts that are kept with an ended request are those of its end."""
    await restoring.told()
    restoring.request = msgspec.structs.replace(restoring.request, message="one more table")
    assert await restoring.told() == []
    restoring.request = msgspec.structs.replace(restoring.request, state=RequestState.ERROR, finished=2.0)
    assert len(await restoring.told()) == NODES


async def test_an_import_counts_what_was_fetched(restoring: Restoring) -> None:
    """Promise: of tables whose bytes an import counts its own counts are shown, of others what was fetched with none of
    it done, and the errors of both; in one go where both count the same tables as where they don't."""
    restoring.report(1, "fetch", Kind.FETCH, done=9, errors=["one was gone"])
    restoring.commands.append(restoring.command(1, "import", Kind.IMPORT))
    restoring.report(1, "import", Kind.IMPORT, done=4, errors=["refused"])
    await restoring.told()
    moment = restoring.reports.moment(command.id for command in restoring.commands)
    told = parts.parts_of(restoring.request, restoring.commands, moment)[1].progress["place"]["shop"]
    both = ["one was gone", "refused"]
    assert told == {"t0": Counts(0, 9, 0, 0, both), "t1": Counts(4, 9, 4, 9, both), "t2": Counts(4, 9, 4, 9, both)}
    layouts = Layouts()
    fetched = layouts.pack({"shop": {name: Counts(0, 9, 0, 7, []) for name in ("a", "b")}})
    same = layouts.pack({"shop": {"a": Counts(1, 2, 3, 0, ["x"]), "b": Counts(1, 2, 3, 4, [])}})
    other = Layouts().pack(same)
    for imported in (same, Layouts().pack({"shop": dict(other["shop"])})):
        assert parts._all_imported(fetched, imported) == {
            "shop": {"a": Counts(0, 9, 0, 7, ["x"]), "b": Counts(1, 2, 3, 4, [])}
        }
