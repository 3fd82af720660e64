"""What the deletion of just one backup would free."""

import pytest

from agent.plan.objects import ObjectIndex
from agent.plan.sweep import Owners, SweepView

NAMES = [bytes([number]) * 32 for number in range(6)]


def going(*objects: tuple[bytes, int, int]) -> ObjectIndex:
    """Objects that nobody needs: name, size, codec."""
    index = ObjectIndex()
    for name, size, codec in objects:
        index.add(name, size, codec)
    return index


def test_an_object_is_the_share_of_the_one_backup_that_names_it() -> None:
    """Promise: bytes and objects that only that backup names, named once or twice; what two name is nobody's share, in
    whatever order they name it, nor is what none names; a content in two codecs is two objects."""
    owners = Owners(["t1", "t2", "t3"])
    for tag, name, codec in [
        ("t1", NAMES[0], 0),
        ("t1", NAMES[0], 0),
        ("t2", NAMES[1], 0),
        ("t3", NAMES[1], 0),
        ("t2", NAMES[1], 0),
        ("t2", NAMES[2], 1),
        ("t3", NAMES[2], 0),
        ("t3", NAMES[3], 0),
        ("t3", NAMES[4], 0),
        ("t2", NAMES[4], 1),
        ("t3", NAMES[1], 1),
        ("t2", NAMES[1], 1),
    ]:
        owners.add(tag, name, codec)
    sizes = [(0, 5, 0), (1, 70, 0), (1, 80, 1), (2, 11, 1), (2, 13, 0), (3, 17, 0), (4, 23, 1), (5, 900, 0)]
    freed = going(*((NAMES[number], size, codec) for number, size, codec in sizes))
    assert owners.shares(freed) == {"t1": (5, 1), "t2": (11 + 23, 2), "t3": (13 + 17, 2)}
    assert owners.tags == ["t1", "t2", "t3"]


def test_an_object_whose_codec_is_not_told_is_raw() -> None:
    """Promise: as everywhere, 0 is raw."""
    owners = Owners(["t1"])
    owners.add("t1", NAMES[0])
    assert owners.shares(going((NAMES[0], 5, 0), (NAMES[0], 7, 1))) == {"t1": (5, 1)}


def test_a_tag_that_was_not_announced_is_an_error() -> None:
    """Promise: nothing is counted for a backup that nobody asked about."""
    with pytest.raises(KeyError):
        Owners(["t1"]).add("t2", NAMES[0])


def test_tags_come_in_order() -> None:
    """Promise: whatever order the listing gave, manifests are read, removed and traced in the order of their tags."""
    view = SweepView(frozenset({"d1", "d2", "d3", "d4"}), {tag: frozenset({"h1"}) for tag in ("t2", "d2", "t1", "d1")})
    assert view.kept("h1") == ["t1", "t2"]
    assert view.doomed("h1") == ["d1", "d2"]
    assert view.traces() == ["d3", "d4"]
