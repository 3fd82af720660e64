"""What Prometheus is told of the commit log's archive."""

from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from agent.daemon.archiving_measures import ArchivingMeasures
from tests.fast.jobs.archiving_site import ArchivingSite
from tests.fast.storage.memory import MemoryStorage


async def test_lag_waiting_gaps_and_what_is_not_archived(tmp_path: Path) -> None:
    """Promise: nothing before archiving was ordered; then how old the newest safe write is, what waits, and whether
    Cassandra archives as ordered."""
    site = ArchivingSite(tmp_path, {"d1": MemoryStorage()})
    registry = CollectorRegistry()
    registry.register(ArchivingMeasures(site.archiver, lambda: site.log.now))
    assert generate_latest(registry) == b""
    try:
        await site.begin()
        name = site.segment()
        await site.shipped(name)
        safe = (await site.records("d1"))[-1].closed_at
        site.log.now = safe + 60
        told = generate_latest(registry).decode()
        assert 'helenus_agent_commitlog_lag_seconds{destination="d1"} 60.0' in told
        assert 'helenus_agent_commitlog_waiting_bytes{destination="d1"} 0.0' in told
        assert "helenus_agent_commitlog_on 1.0" in told
        assert "helenus_agent_commitlog_gaps 0.0" in told
        site.archive.rename(tmp_path / "away")
        site.segment()
        await site.until(lambda: bool(site.archiver.seen.failed))
        told = generate_latest(registry).decode()
        assert f"helenus_agent_commitlog_unarchived_bytes {64 * 1024}.0" in told
    finally:
        await site.stop()
