"""Which machine a connection leads to. In: a connection of an SDK and its socket. Out: the socket, or `BadSettings`
when its peer is a cloud's metadata service.

A name may mean another machine a moment after its settings were looked at (agent.storage.endpoints), so each
connection's own peer is looked at before a byte is sent.
"""

import socket
from typing import Any

from agent.storage.endpoints import refuse_address

WRONG_PEER = ("CERTIFICATE_VERIFY_FAILED", "WRONG_VERSION_NUMBER", "doesn't match", "NO_CERTIFICATE_OR_CRL_FOUND")
"""Signs of a TLS failure that will not pass: an unknown certificate, another host's, or no TLS at all."""


def watched(connection: Any, sock: socket.socket) -> socket.socket:
    """The new socket of urllib3's connection; one that leads to such a service is closed before anything is sent. One
    to a proxy is left alone: the administrator named it."""
    if connection.proxy is None:
        try:
            refuse_address(connection.host, str(sock.getpeername()[0]))
        except BaseException:
            sock.close()
            raise
    return sock


def is_wrong_peer(error: BaseException) -> bool:
    """Whether a failed connection will fail again: the other end is not who it should be."""
    return any(sign in str(error) for sign in WRONG_PEER)
