"""One node's intents in one store: each agent sees the other's, and touches none that isn't its own."""

from collections.abc import Callable

import msgspec
import pytest

from agent.repository.errors import IntentForeign, NodeAdopted
from agent.repository.intents import Intent, Intents, Writer
from agent.repository.keys import ADOPTED, SWEEP, adopted_key, intent_key, sweep_key
from agent.repository.opened import OpenedRepository
from agent.storage.protocol import OPEN
from tests.fast.storage.memory import MemoryStorage

CLUSTER, HOST = "c1", "h1"
SWEEP_KEY, ADOPTED_KEY, CLOCK_KEY = (
    sweep_key(CLUSTER, HOST),
    adopted_key(CLUSTER, HOST),
    intent_key(CLUSTER, HOST, "sweep-clock"),
)


class Store(MemoryStorage):
    """A store whose clock goes on by a second with each look at it, and where one key may vanish."""

    def __init__(self) -> None:
        self.now = 100.0
        self.vanishing = ""
        super().__init__(clock=self._tick, hook=self._look)

    def _tick(self) -> float:
        self.now += 1
        return self.now

    async def _look(self, verb: str, key: str) -> None:
        if verb == "head" and key == self.vanishing:
            self._objects.pop(key, None)

    def keys(self) -> list[str]:
        """What stands there."""
        return sorted(self._objects)

    def content(self, key: str) -> dict[str, str]:
        """An intent as JSON."""
        found: dict[str, str] = msgspec.json.decode(self._objects[key][0])
        del found["blake3"]
        return found


@pytest.fixture
def store() -> Store:
    return Store()


Of = Callable[..., Intents]


@pytest.fixture
def of(store: Store) -> Of:
    """The intents as the agent of that id sees them."""

    def made(agent: str, *, adopting: bool = False) -> Intents:
        opened = OpenedRepository("d1", store, "r1", CLUSTER, OPEN, 4)
        writer = Writer(agent, f"{agent}-started")
        return Intents(opened, HOST, writer, adopting=True) if adopting else Intents(opened, HOST, writer)

    return made


def key(tag: str) -> str:
    return intent_key(CLUSTER, HOST, tag)


async def test_an_intent_says_who_put_it(store: Store, of: Of) -> None:
    """Promise: tag, agent, its start and the command; once begun it stands, until its end."""
    one = of("a1")
    assert not await one.stands("t1")
    assert not await one.is_there("t1")
    await one.begin("t1", "k1")
    assert store.content(key("t1")) == {"tag": "t1", "agent_id": "a1", "instance": "a1-started", "command_id": "k1"}
    assert await one.stands("t1")
    assert await one.is_there("t1")
    assert not await of("a2").stands("t1")
    assert await of("a2").is_there("t1")
    await one.end("t1")
    assert store.keys() == []


async def test_own_past_intents_go_when_the_next_begins(store: Store, of: Of) -> None:
    """Promise: what this agent left before, its sweep's mark too, is cleared; its own of the same tag stays."""
    one = of("a1")
    await one.begin("t1", "k1")
    await one.sweep_mark("k2")
    await one.begin("t2", "k3")
    assert store.keys() == [key("t2")]
    before = dict(store._objects)
    await one.begin("t2", "k4")
    assert store._objects == before


@pytest.mark.parametrize("readable", [True, False])
async def test_anothers_intent_is_refused_and_left(store: Store, of: Of, readable: bool) -> None:
    """Promise: of the same tag or another one, readable or not: nothing of it is touched, and nothing stays of ours,
    not even our past ones that stood before."""
    await of("a1").begin("mine", "k0")
    other = key("t1")
    body = of("a2")._body("t1", "k9") if readable else b"{}"
    await store.put(other, [body])
    for tag in ("t1", "t2"):
        with pytest.raises(IntentForeign) as told:
            await of("a1").begin(tag, "k1")
        assert told.value.fields == {"host_id": HOST, "tags": ["t1"], "agents": ["a2"] if readable else []}
        assert store.keys() == sorted([key("mine"), other])
        assert store._objects[other][0] == body
    await of("a1").withdraw("t1")
    await of("a1").withdraw("mine")
    assert store.keys() == [other]


async def test_a_sweeps_mark_tells_the_stores_time(store: Store, of: Of) -> None:
    """Promise: put anew each time, by the store's own clock; nobody else's is replaced; one that vanishes is told."""
    one = of("a1")
    first = await one.sweep_mark("k1")
    assert first == store._objects[SWEEP_KEY][1]
    again = await one.sweep_mark("k2")
    assert again == store._objects[SWEEP_KEY][1] > first
    assert store.content(SWEEP_KEY) == {"tag": SWEEP, "agent_id": "a1", "instance": "a1-started", "command_id": "k2"}
    before = dict(store._objects)
    with pytest.raises(IntentForeign, match=r"another agent works in the prefix of the node h1: ~sweep \(agent a1"):
        await of("a2").sweep_mark("k3")
    assert store._objects == before
    await one.sweep_end()
    assert store.keys() == []
    store.vanishing = SWEEP_KEY
    with pytest.raises(IntentForeign, match="the sweep's own mark vanished"):
        await one.sweep_mark("k4")


async def test_the_stores_time_leaves_nothing(store: Store, of: Of) -> None:
    """Promise: an intent comes and goes; one that was left over is replaced, so that the time is of now."""
    one = of("a1")
    assert await one.store_time("k1") == store.now
    assert store.keys() == []
    await store.put(CLOCK_KEY, [b"left over"])
    store.now += 10
    assert await one.store_time("k2") == store.now
    assert store.keys() == []
    store.vanishing = CLOCK_KEY
    with pytest.raises(IntentForeign, match="an intent vanished"):
        await one.store_time("k3")


async def test_another_agents_sweep_is_refused(store: Store, of: Of) -> None:
    """Promise: while its mark stands nothing may be put beside it; one's own is no obstacle."""
    await of("a1").sweep_mark("k1")
    await of("a1").refuse_foreign_sweep()
    with pytest.raises(IntentForeign) as told:
        await of("a2").refuse_foreign_sweep()
    assert told.value.fields == {"host_id": HOST, "tags": [SWEEP], "agents": ["a1"]}


async def test_an_adoption_stands_against_everybody(store: Store, of: Of) -> None:
    """Promise: the mark is put once; whoever put it, the node's own agent stops by name; the adopting one passes it
    over, and gives it back."""
    adopting = of("a1", adopting=True)
    assert await adopting.adopt("k1")
    assert not await of("a2", adopting=True).adopt("k2")
    assert store.content(ADOPTED_KEY) == {
        "tag": ADOPTED,
        "agent_id": "a1",
        "instance": "a1-started",
        "command_id": "k1",
    }
    for agent in ("a1", "a2"):
        with pytest.raises(NodeAdopted) as told:
            await of(agent).refuse_foreign_sweep()
        assert told.value.fields == {"host_id": HOST, "tags": [ADOPTED], "agents": ["a1"]}
        with pytest.raises(NodeAdopted):
            await of(agent).begin("t1", "k3")
    assert store.keys() == [ADOPTED_KEY]
    assert await adopting.others() == ([], [])
    await adopting.give_back()
    assert store.keys() == []


async def test_intents_are_told_apart(store: Store, of: Of) -> None:
    """Promise: one's own past ones and foreign ones, without one's own sweep mark; each with its name, key and time;
    one of no name of ours by its key; one that went between list and read not at all."""
    one, two = of("a1"), of("a2")
    await store.put(key("b/1"), [one._body("b/1", "k1")])
    await store.put(key("a"), [two._body("a", "k2")])
    await store.put(SWEEP_KEY, [one._body(SWEEP, "k3")])
    odd = SWEEP_KEY.replace("~sweep", "~odd")
    await store.put(odd, [b"odd"])
    own, foreign = await one.others()
    assert [(it.name, it.key) for it in own] == [("b/1", key("b/1"))]
    assert own[0].intent == Intent("b/1", "a1", "a1-started", "k1")
    assert own[0].modified == store._objects[key("b/1")][1]
    assert [(it.name, it.intent is None) for it in foreign] == [("a", False), (odd, True)]
    assert foreign[1].modified == store._objects[odd][1]
    own, foreign = await two.others()
    assert [it.name for it in own] == ["a"]
    assert [it.name for it in foreign] == ["b/1", odd, SWEEP]
    assert [it.name for it in await one.standing(but=key("a"))] == ["b/1", odd, SWEEP]
    await one.clear([])
    await one.clear(foreign[:2])
    assert store.keys() == sorted([key("a"), SWEEP_KEY])
