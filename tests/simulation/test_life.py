"""Backups written, compacted away, truncated, deleted, swept, damaged, scrubbed, healed and restored, in any order."""

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from tests.simulation.life import Life, SealedLife

BOUNDED = settings(max_examples=25, stateful_step_count=20, deadline=None, database=None, derandomize=True)


@pytest.mark.parametrize("life", [Life, SealedLife])
def test_the_life_of_backups_goes_as_a_person_would_say(life: type[Life]) -> None:
    """Promise (I1 to I7): in whatever order a node writes, compacts, truncates, is backed up, swept, damaged,
    scrubbed, healed and restored, each undeleted backup gives back its bytes, or says that it can't."""
    run_state_machine_as_test(life, settings=BOUNDED)
