"""A node with passwords, grants, a JMX password and Jolokia: the role of the README is enough, and less is refused."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cassandra.cluster import Session

from agent.cassandra.errors import CassandraDenied, CassandraUnavailable
from agent.cassandra.node import CassandraNode
from agent.cassandra.settings import CassandraSettings, CqlSettings, JolokiaSettings, NodetoolSettings
from agent.wire.commands import SnapshotArguments
from tests.cluster.canaries import marked
from tests.cluster.cassandra import JMX_USER
from tests.cluster.places import REPOSITORY
from tests.cluster.scratch import ScratchCluster
from tests.real.cassandra.rig import Rig, jolokia_for, settings_for
from tests.real.cassandra.test_jolokia import does_what_nodetool_does
from tests.real.cassandra.test_restore_phases import TABLES, Story

ROLE = "helenus"
PASSWORD = marked("cql-secret-of-tests")
BACKUP_GRANTS = ("GRANT SELECT ON KEYSPACE system_views TO helenus",)
RESTORE_GRANTS = (
    "GRANT SELECT ON KEYSPACE system_distributed TO helenus",
    "GRANT CREATE ON ALL KEYSPACES TO helenus",
    "GRANT ALTER ON ALL KEYSPACES TO helenus",
    "GRANT DROP ON ALL KEYSPACES TO helenus",
    "GRANT SELECT ON ALL KEYSPACES TO helenus",
    "GRANT MODIFY ON ALL KEYSPACES TO helenus",
    "GRANT CREATE ON ALL FUNCTIONS TO helenus",
    "GRANT EXECUTE ON ALL FUNCTIONS TO helenus",
)


@pytest.fixture
async def superuser(guarded: ScratchCluster) -> Session:
    """A session that may do everything."""
    return await guarded.session_one(guarded.nodes[0])


@pytest.fixture
async def role(guarded: ScratchCluster, superuser: Session) -> AsyncIterator[str]:
    """The role without a grant; it goes after the test."""
    superuser.execute(f"DROP ROLE IF EXISTS {ROLE}")
    superuser.execute(f"CREATE ROLE {ROLE} WITH LOGIN = true AND PASSWORD = '{PASSWORD}'")
    yield ROLE
    (await guarded.session_one(guarded.nodes[0])).execute(f"DROP ROLE IF EXISTS {ROLE}")


def _settings(cluster: ScratchCluster, directory: Path, jolokia: JolokiaSettings | None = None) -> CassandraSettings:
    node = cluster.nodes[0]
    directory.mkdir(parents=True, exist_ok=True)
    secret = directory / "cql.password"
    secret.write_text(PASSWORD + "\n")
    secret.chmod(0o600)
    return settings_for(
        node,
        nodetool=NodetoolSettings(
            command=(str(node.launchers / "nodetool"),),
            port=node.spec.jmx_port,
            username=JMX_USER,
            password_file=str(node.jmx_password_file),
        ),
        cql=CqlSettings(
            host=node.address,
            port=node.spec.native_port,
            username=ROLE,
            password_file=str(secret),
            connect_seconds=3.0,
            request_seconds=3.0,
        ),
        jolokia=jolokia,
    )


@pytest.fixture
async def rig(guarded: ScratchCluster, role: str, tmp_path: Path) -> AsyncIterator[Rig]:
    """The agent's parts for the node, as that role."""
    made = Rig(_settings(guarded, tmp_path), tmp_path / "state")
    yield made
    for own in await made.node.snapshots.ours():
        await made.node.snapshots.clear(own.tag)
    await made.close()


async def test_the_readme_names_exactly_the_grants_that_are_tested(rig: Rig) -> None:
    """A person copies them from there."""
    text = (REPOSITORY / "README.md").read_text()
    named = re.findall(r"^\s*(GRANT .* TO helenus);", text, re.MULTILINE)
    assert sorted(named) == sorted((*BACKUP_GRANTS, *RESTORE_GRANTS))


async def test_the_grants_for_a_backup_are_enough_for_one(
    rig: Rig, superuser: Session, guarded: ScratchCluster
) -> None:
    """Snapshot, schema, inventory, clear, and all that GET /v1/node tells; nothing can be changed with them."""
    Story(rig, superuser, sai=True).make()
    for grant in BACKUP_GRANTS:
        superuser.execute(grant)
    info = await rig.node.snapshots.take(SnapshotArguments("small", {"Back": []}), "c1")
    assert info.tables["Back"] == ["Tab", "based", "counted"]
    assert await rig.node.snapshots.inventory("small")
    assert await rig.node.view.views_enabled()
    assert await rig.node.view.auto_snapshot()
    assert isinstance(await rig.node.view.truncated_at(), dict)
    assert await rig.node.data_directories()
    assert (await rig.node.held_bytes.read() or 0) > 0
    await rig.node.snapshots.clear("small")
    with pytest.raises(CassandraDenied):
        await rig.node.cql.change('TRUNCATE TABLE "Back".counted')


async def test_the_grants_for_a_restore_are_enough_for_one(rig: Rig, superuser: Session) -> None:
    """Every phase, with everything dropped and made again, as the role."""
    story = Story(rig, superuser, sai=True)
    story.make()
    for grant in (*BACKUP_GRANTS, *RESTORE_GRANTS):
        superuser.execute(grant)
    await rig.keep("kept", {"Back": [], "back_empty": []})
    before = story.rows()
    await story.restore("job-1", await rig.arguments("kept", TABLES, truncate=True))
    assert story.rows() == before
    superuser.execute('DROP KEYSPACE "Back"')
    await story.restore("job-2", await rig.arguments("kept", TABLES))
    assert story.rows() == before


async def test_wrong_passwords_are_told_apart_from_a_node_that_is_down(
    guarded: ScratchCluster, role: str, tmp_path: Path
) -> None:
    """CQL and JMX: `cassandra_denied`, not `cassandra_unavailable`; the password is in no message."""
    settings = _settings(guarded, tmp_path)
    Path(settings.cql.password_file).write_text("wrong-secret\n")
    wrong = tmp_path / "jmx"
    wrong.write_text(f"{JMX_USER} wrong-secret\n")
    wrong.chmod(0o600)
    node = CassandraNode(
        settings_for(
            guarded.nodes[0],
            cql=settings.cql,
            nodetool=NodetoolSettings(
                command=settings.nodetool.command,
                port=settings.nodetool.port,
                username=JMX_USER,
                password_file=str(wrong),
            ),
        ),
        tmp_path,
    )
    with pytest.raises(CassandraDenied) as by_cql:
        await node.view.identity()
    with pytest.raises(CassandraDenied) as by_jmx:
        await node.control.members()
    assert "wrong-secret" not in str(by_cql.value.as_dict()) + str(by_jmx.value.as_dict())
    await node.close()


async def test_jolokia_does_what_nodetool_does(
    guarded: ScratchCluster, rig: Rig, superuser: Session, tmp_path: Path
) -> None:
    """The same snapshot, the same refusals, the ring, and an import by nodetool beside it."""
    story = Story(rig, superuser, sai=True)
    story.make()
    for grant in (*BACKUP_GRANTS, *RESTORE_GRANTS):
        superuser.execute(grant)
    quick = Rig(_settings(guarded, tmp_path / "quick", jolokia_for(guarded.nodes[0], tmp_path)), tmp_path / "state-2")
    await does_what_nodetool_does(quick, story, guarded.nodes[0])
    await quick.close()


async def test_a_wrong_jolokia_password_is_denied(guarded: ScratchCluster, role: str, tmp_path: Path) -> None:
    """Its credentials are its own."""
    jolokia = jolokia_for(guarded.nodes[0], tmp_path)
    Path(jolokia.password_file).write_text("wrong\n")
    node = CassandraNode(_settings(guarded, tmp_path, jolokia), tmp_path)
    with pytest.raises(CassandraDenied):
        await node.control.members()
    await node.close()


async def test_a_paused_cassandra_is_an_error_and_not_a_hang(
    guarded: ScratchCluster, rig: Rig, superuser: Session
) -> None:
    """SIGSTOP: connections stay open and nothing answers. Resumed, the same connection or a new one works."""
    for grant in BACKUP_GRANTS:
        superuser.execute(grant)
    before = await rig.node.view.identity()
    guarded.nodes[0].pause()
    try:
        with pytest.raises(CassandraUnavailable):
            await rig.node.view.identity()
    finally:
        guarded.nodes[0].resume()
    assert await rig.node.view.identity() == before


async def test_after_a_restart_of_cassandra_the_next_question_is_answered(
    guarded: ScratchCluster, rig: Rig, superuser: Session
) -> None:
    """Down: `cassandra_unavailable`; up again: no restart of the agent is needed."""
    before = await rig.node.view.identity()
    guarded.close_sessions()
    await guarded.nodes[0].stop()
    with pytest.raises(CassandraUnavailable):
        await rig.node.view.identity()
    with pytest.raises(CassandraUnavailable):
        await rig.node.control.members()
    await guarded.nodes[0].start()
    assert (await rig.node.view.identity()).host_id == before.host_id
