"""The node put together: what it does for a question does not hold up the others."""

import os
import threading
from pathlib import Path

import pytest

from agent.cassandra.node import CassandraNode
from agent.cassandra.settings import CassandraSettings


async def test_the_disks_are_asked_outside_of_the_event_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A volume that hangs holds up only the question about it."""
    asked: list[int] = []
    real = os.statvfs

    def noted(path: Path) -> os.statvfs_result:
        asked.append(threading.get_ident())
        return real(path)

    monkeypatch.setattr(os, "statvfs", noted)
    node = CassandraNode(CassandraSettings(data_directories=(str(tmp_path),)), tmp_path / "state")
    (shown,) = await node.data_directories()
    await node.close()
    assert shown.path == str(tmp_path)
    assert asked
    assert threading.get_ident() not in asked
