"""The large bucket of tests/fast/scale, swept whole."""

import pytest

from tests.fast.scale.test_sweep_at_scale import judge, swept

pytestmark = pytest.mark.timeout(3600)


@pytest.mark.parametrize("measures", [(100, 10_000, 500, 100), (1, 1_000_000, 500, 1)])
async def test_every_node_is_swept_in_little_memory_and_few_calls(measures: tuple[int, int, int, int]) -> None:
    """Promise: a million objects of 100 nodes, all swept one after the other, or of a single node: within 200 MiB, and
    with calls that grow with what there is."""
    judge(await swept(*measures), *measures)
