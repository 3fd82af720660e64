"""The coordinator's state in a Cassandra that asks for passwords, over TLS."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from coordinator.model.settings import StateSettings
from coordinator.store.cassandra.connecting import connected
from coordinator.store.cassandra.errors import StoreUnreachable
from coordinator.store.database import StoreFailed
from coordinator.store.opening import access_of
from coordinator.store.protocol import Store
from tests.cluster.certificates import Authority
from tests.cluster.services import write_secret
from tests.cluster.sessions import SUPERUSER
from tests.cluster.store_samples import CLUSTER, place
from tests.real.cassandra.conftest import Guarded


async def opened(guarded: Guarded, directory: Path, **changes: Any) -> Store:
    node = guarded.cluster.nodes[0]
    user, password = SUPERUSER
    made = StateSettings(
        kind="cassandra",
        contact_points=[node.address],
        port=node.spec.native_port,
        keyspace="guarded_state",
        replication={node.spec.dc: 1},
        username=user,
        password_file=str(write_secret(directory / "password", password)),
        key_file=str(write_secret(directory / "key", "ab" * 32)),
    )
    access = access_of(msgspec.structs.replace(made, **changes))
    assert access is not None
    return await connected(access.settings, access.seal, access.password, access.tls)


async def test_the_state_is_kept_by_a_role_over_tls(guarded_node: Guarded, tmp_path: Path) -> None:
    """Promise: with the role's password and the node's CA the state is kept, and what is sent is encrypted."""
    store = await opened(guarded_node, tmp_path, tls=True, ca_file=str(guarded_node.authority.ca))
    await store.destinations.put(place("d1"))
    assert await store.destinations.all(CLUSTER) == [place("d1")]
    session = await guarded_node.cluster.session()
    seen = session.execute("SELECT ssl_enabled FROM system_views.clients")
    assert any(row.ssl_enabled for row in seen)
    await store.close()


async def test_a_wrong_password_or_certificate_ends_the_start(guarded_node: Guarded, tmp_path: Path) -> None:
    """Promise: what doesn't go away by waiting is said at once, without the password."""
    wrong = str(write_secret(tmp_path / "wrong", "no-such-password"))
    with pytest.raises(StoreFailed) as refused:
        await opened(guarded_node, tmp_path, password_file=wrong)
    assert not isinstance(refused.value, StoreUnreachable)
    assert "no-such-password" not in refused.value.message
    (tmp_path / "other").mkdir()
    stranger = Authority(tmp_path / "other")
    with pytest.raises(StoreFailed) as untrusted:
        await opened(guarded_node, tmp_path, tls=True, ca_file=str(stranger.ca))
    assert not isinstance(untrusted.value, StoreUnreachable)
