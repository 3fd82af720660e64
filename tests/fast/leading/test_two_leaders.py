"""Two and three coordinators that want the lead, simulated: pauses, clocks that go differently, messages that come late
or never."""

import asyncio
import random

import pytest

from coordinator.leading.decision import DRIFT, terms_of
from coordinator.leading.leadership import Leadership
from tests.cluster.lead_in_memory import LeadInMemory, Shelf
from tests.fast.leading.virtual_time import VirtualLoop

SECONDS = 30.0
HOUR = 3_600.0
LOOK = 0.2


class Machine:
    """A coordinator on a machine with a clock of its own. While it is `paused_until` (the loop's time) nothing of it
    runs, but its clock goes on."""

    def __init__(self, name: str, shelf: Shelf, chance: random.Random, *, trouble: bool) -> None:
        self._chance = chance
        self._trouble = trouble
        self._ahead = chance.uniform(-1_000, 1_000)
        self._rate = 1.0 + chance.uniform(-DRIFT / 2, DRIFT / 2) * 0.9
        self.paused_until = 0.0
        self.away = False
        self.leadership = Leadership(
            LeadInMemory(shelf, self._fate), name, terms_of(SECONDS), f"https://{name}:1", monotonic=self.clock
        )

    def clock(self) -> float:
        """Its own monotonic seconds."""
        return asyncio.get_running_loop().time() * self._rate + self._ahead

    async def live(self) -> None:
        """As `Leadership.keep_on`, but frozen now and then, wherever it stands."""
        pause = 0.0
        while True:
            await asyncio.sleep(pause)
            await self.thawed()
            pause = await self.leadership.step()
            if self._trouble and self._chance.random() < 0.02:
                self.paused_until = asyncio.get_running_loop().time() + self._chance.uniform(0, 3 * SECONDS)

    async def thawed(self) -> None:
        """Return once the machine isn't frozen."""
        left = self.paused_until - asyncio.get_running_loop().time()
        await asyncio.sleep(max(0.0, left))

    async def _fate(self, call: str) -> str:
        if self.away:
            await asyncio.sleep(self._chance.uniform(0, 10))
            return "lost"
        if not self._trouble:
            await asyncio.sleep(0.01)
            return ""
        late = self._chance.choice([0.01, 0.01, 0.01, 0.5, 4.0, 40.0])
        await asyncio.sleep(late)
        if call == "answer":
            await self.thawed()
        return "lost" if self._chance.random() < 0.1 else ""


async def story(seed: int, machines: int, hours: float = 0.5) -> tuple[Shelf, int]:
    """Live through it; the shelf, and for how many looks somebody led. Fails when two lead at once."""
    chance, shelf = random.Random(seed), Shelf()
    crowd = [Machine(f"m{number}", shelf, chance, trouble=True) for number in range(machines)]
    lives = [asyncio.create_task(machine.live()) for machine in crowd]
    loop, led = asyncio.get_running_loop(), 0
    end = loop.time() + hours * HOUR
    while loop.time() < end:
        await asyncio.sleep(LOOK)
        if chance.random() < 0.002:
            chance.choice(crowd).away ^= True
        leaders = [machine for machine in crowd if machine.leadership.leads]
        assert len(leaders) <= 1, f"seed {seed}: two lead"
        led += bool(leaders)
        for life in lives:
            assert not life.done(), life.exception()
    for life in lives:
        life.cancel()
    await asyncio.gather(*lives, return_exceptions=True)
    return shelf, led


@pytest.mark.parametrize("machines", [2, 3])
@pytest.mark.parametrize("seed", range(5))
def test_never_two_lead_at_once(seed: int, machines: int) -> None:
    """Promise: however machines pause, clocks differ and messages are late or lost, there is one leader or none; each
    one's fence is higher than all before; and whenever it can be, there is one."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        shelf, led = runner.run(story(seed * 100 + machines, machines))
    fences = [lease.fence for lease in shelf.history]
    assert fences == sorted(fences)
    assert len({lease.fence for lease in shelf.history}) > 3, "nothing happened"
    holders: dict[int, set[str]] = {}
    for lease in shelf.history:
        holders.setdefault(lease.fence, {""}).add(lease.holder)
    assert all(len(names) == 2 for names in holders.values())
    assert led > HOUR / LOOK / 20


async def until_led(crowd: list[Machine], deadline: float) -> Machine:
    """The one that leads, before the loop's time is so much later."""
    end = asyncio.get_running_loop().time() + deadline
    while True:
        leaders = [machine for machine in crowd if machine.leadership.leads]
        if leaders:
            return leaders[0]
        assert asyncio.get_running_loop().time() < end, "nobody leads"
        await asyncio.sleep(LOOK)


def test_another_one_leads_soon_after_the_leader_died() -> None:
    """Promise: a leader that is gone is replaced a little later than its lease lasts, one that ends well at once."""

    async def play() -> None:
        shelf = Shelf()
        crowd = [Machine(f"m{number}", shelf, random.Random(number), trouble=False) for number in range(2)]
        lives = {machine: asyncio.create_task(machine.live()) for machine in crowd}
        first = await until_led(crowd, 5)
        await asyncio.sleep(100)
        assert first.leadership.leads, "it keeps the lead as long as it lives"
        lives.pop(first).cancel()
        first.paused_until = float("inf")
        [other] = lives
        second = await until_led([other], SECONDS * 1.2)
        lives.pop(second).cancel()
        await asyncio.sleep(0)
        await second.leadership.give_back()
        assert not second.leadership.leads
        third = Machine("m3", shelf, random.Random(3), trouble=False)
        lives[third] = asyncio.create_task(third.live())
        await until_led([third], 1)
        lives.pop(third).cancel()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(play())


def test_nobody_leads_while_the_state_is_away_and_the_term_is_over_in_time() -> None:
    """Promise: a leader that can't renew stops before anybody could take the lead, tells what acts, and freezes what
    would still act; when the state answers again there is a new term. Only after a lease's length without an answer
    the state counts as away."""

    async def play() -> None:
        shelf = Shelf()
        machine = Machine("m", shelf, random.Random(1), trouble=False)
        life = asyncio.create_task(machine.live())
        term = await machine.leadership.led()
        await term.hold()
        machine.away = True
        began = asyncio.get_running_loop().time()
        await term.over.wait()
        assert asyncio.get_running_loop().time() - began < SECONDS * 0.81
        seen = [machine.leadership.away]
        await asyncio.sleep(SECONDS)
        seen.append(machine.leadership.away)
        late = asyncio.create_task(term.hold())
        machine.away = False
        again = await machine.leadership.led()
        await again.hold()
        assert [*seen, machine.leadership.away] == [False, True, False]
        await asyncio.sleep(100)
        assert again is not term
        assert again.fence > term.fence
        assert not late.done(), "what an old term froze begins again in none"
        for task in (late, life):
            task.cancel()
        await asyncio.gather(late, life, return_exceptions=True)

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(play())


def test_a_lead_that_is_given_back_amid_a_renewal_is_free() -> None:
    """Promise: a renewal that is on its way when the lead is given back brings the ended term never back, and nobody
    keeps a lead by which nothing acts: it can be taken at once, here as a new term."""

    async def play() -> None:
        shelf, held, slow = Shelf(), asyncio.Event(), [False]

        async def fate(call: str) -> str:
            if slow[0] and call == "answer":
                held.set()
                await asyncio.sleep(3)
            return ""

        clock = asyncio.get_running_loop().time
        leadership = Leadership(LeadInMemory(shelf, fate), "m0", terms_of(SECONDS), "https://m0:1", monotonic=clock)
        life = asyncio.create_task(leadership.keep_on())
        former = await leadership.led()
        slow[0] = True
        await held.wait()  # the renewal is kept, its answer is not here yet
        slow[0] = False
        await leadership.give_back()
        assert not former.lasts
        async with asyncio.timeout(SECONDS / 2):
            again = await leadership.led()
        assert again is not former
        assert again.fence > former.fence
        assert again.lasts
        assert not former.lasts
        life.cancel()
        await asyncio.gather(life, return_exceptions=True)

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(play())
