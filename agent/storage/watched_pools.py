"""urllib3's pools whose connections are watched (agent.storage.peers), for the SDKs that speak HTTP with it plainly.

In: nothing. Out: pool classes by scheme, as urllib3's manager takes them.
"""

import socket

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

from agent.storage.peers import watched


class _Watched(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        return watched(self, super()._new_conn())


class _WatchedTls(HTTPSConnection):
    def _new_conn(self) -> socket.socket:
        return watched(self, super()._new_conn())


class _WatchedPool(HTTPConnectionPool):
    ConnectionCls = _Watched


class _WatchedTlsPool(HTTPSConnectionPool):
    ConnectionCls = _WatchedTls


WATCHED_POOLS: dict[str, type[HTTPConnectionPool]] = {"http": _WatchedPool, "https": _WatchedTlsPool}
