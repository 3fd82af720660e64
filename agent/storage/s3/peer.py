"""Which machine an SDK's connection leads to. In: a client. Out: the same one, whose connections to a cloud's metadata
service fail.

A name may mean another machine a moment after its settings were looked at (agent.storage.endpoints), so each
connection's own peer is looked at before a byte is sent.
"""

import socket
from typing import Any

from botocore.awsrequest import (
    AWSHTTPConnection,
    AWSHTTPConnectionPool,
    AWSHTTPSConnection,
    AWSHTTPSConnectionPool,
)

from agent.storage.peers import watched


def watch_peers(client: Any) -> None:
    """From now on a connection of this SDK client whose peer is such a service is closed before anything is sent. One
    to a proxy is left alone: the administrator named it."""
    # The SDK has no public place for it; both its managers, with and without a proxy, share this dictionary.
    pools = client._endpoint.http_session._pool_classes_by_scheme
    pools.update({"http": _WatchedPool, "https": _WatchedTlsPool})


class _Watched(AWSHTTPConnection):
    def _new_conn(self) -> socket.socket:
        return watched(self, super()._new_conn())


class _WatchedTls(AWSHTTPSConnection):
    def _new_conn(self) -> socket.socket:
        return watched(self, super()._new_conn())


class _WatchedPool(AWSHTTPConnectionPool):
    ConnectionCls = _Watched


class _WatchedTlsPool(AWSHTTPSConnectionPool):
    ConnectionCls = _WatchedTls
