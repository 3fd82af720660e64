"""Who an agent is stays with its state directory."""

from pathlib import Path

import pytest

from agent.daemon.identity import IdentityDamaged, agent_id_in


def test_an_agent_is_the_same_one_after_every_start(tmp_path: Path) -> None:
    """Promise: coordinators know it again; an agent with another state is another one."""
    (tmp_path / "other").mkdir()
    mine = agent_id_in(tmp_path)
    assert agent_id_in(tmp_path) == mine
    assert agent_id_in(tmp_path / "other") != mine


@pytest.mark.parametrize("content", [b"", b"{", b'{"agent_id": 7}'])
def test_a_damaged_identity_is_told_and_not_made_anew(tmp_path: Path, content: bytes) -> None:
    """Promise: an agent never becomes another one by itself: its commands and fences would be nobody's. The error names
    the file and both ways out."""
    path = tmp_path / "agent.json"
    path.write_bytes(content)
    with pytest.raises(IdentityDamaged) as damaged:
        agent_id_in(tmp_path)
    assert str(path) in damaged.value.message
    assert path.read_bytes() == content
