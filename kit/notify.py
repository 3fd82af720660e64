"""Tells systemd how a service is (sd_notify). In: states. Out: datagrams to `$NOTIFY_SOCKET`; nothing without one.

The protocol is described in sd_notify(3): newline-separated NAME=VALUE, a socket path or an abstract name behind `@`.

The socket is opened once, at the start: a process that has no descriptors left can't open one, and must neither end for
that nor be taken for dead.
"""

import os
import socket
import weakref
from collections.abc import Mapping
from contextlib import suppress


class Notifier:
    """`watchdog_seconds`: how long systemd waits for a sign of life (`WatchdogSec=`), None: it doesn't."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        told = environment.get("NOTIFY_SOCKET", "")
        self._address = "\0" + told[1:] if told.startswith("@") else told
        self._channel: socket.socket | None = None
        if told.startswith(("/", "@")):
            self._channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            weakref.finalize(self, self._channel.close)
        self.watchdog_seconds = _watchdog_seconds(environment)

    def ready(self) -> None:
        """The service has started."""
        self._send("READY=1")

    def starting(self, why: str, seconds: float) -> None:
        """The start takes longer: up to so many seconds from now, whatever its unit says."""
        self._send(f"STATUS={why}\nEXTEND_TIMEOUT_USEC={int(seconds * 1_000_000)}")

    def stopping(self) -> None:
        """The service is ending."""
        self._send("STOPPING=1")

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._send("STATUS=" + text.replace("\n", " "))

    def alive(self) -> None:
        """A sign of life."""
        self._send("WATCHDOG=1")

    def _send(self, message: str) -> None:
        if self._channel is None:
            return
        # A service manager that went away is no reason to stop serving.
        with suppress(OSError):
            self._channel.sendto(message.encode(), self._address)


def _watchdog_seconds(environment: Mapping[str, str]) -> float | None:
    told_to = environment.get("WATCHDOG_PID")
    if told_to and told_to != str(os.getpid()):
        return None
    try:
        microseconds = int(environment.get("WATCHDOG_USEC", ""))
    except ValueError:
        return None
    return microseconds / 1_000_000 if microseconds > 0 else None
