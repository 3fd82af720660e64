"""A leader whose machine sleeps."""

import time

import pytest

from coordinator.leading.decision import terms_of
from coordinator.leading.leadership import Leadership
from tests.cluster.lead_in_memory import LeadInMemory, Shelf


async def test_a_machine_that_slept_finds_its_term_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: the time that a machine sleeps counts, though the clock that timers go by stands still meanwhile: others
    took the lead."""
    leadership = Leadership(LeadInMemory(Shelf()), "me", terms_of(30.0), "https://me:1")
    await leadership.step()
    term = await leadership.led()
    before = term.lasts
    awake = time.clock_gettime

    def woken(clock: int) -> float:
        return awake(clock) + (60.0 if clock == time.CLOCK_BOOTTIME else 0.0)

    monkeypatch.setattr(time, "clock_gettime", woken)
    assert (before, term.lasts) == (True, False)
    await leadership.step()
    assert term.over.is_set()
