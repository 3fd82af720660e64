"""The services tell systemd the truth: READY, STATUS, WATCHDOG and STOPPING arrive on a real socket."""

import asyncio
import os
import resource
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kit.heartbeat import beat
from kit.notify import Notifier


@contextmanager
def listening(address: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind("\0" + address[1:] if address.startswith("@") else address)
        channel.settimeout(10)
        yield channel


def tell_all(address: str) -> list[bytes]:
    notifier = Notifier({"NOTIFY_SOCKET": address})
    with listening(address) as channel:
        notifier.ready()
        notifier.status("uploading\n2 commands")
        notifier.alive()
        notifier.stopping()
        return [channel.recv(200) for _ in range(4)]


TOLD = [b"READY=1", b"STATUS=uploading 2 commands", b"WATCHDOG=1", b"STOPPING=1"]


def test_all_four_states_arrive_on_a_socket_with_a_path(tmp_path: Path) -> None:
    """Promise: systemd hears every state on a socket in the file system."""
    assert tell_all(str(tmp_path / "notify")) == TOLD


def test_all_four_states_arrive_on_an_abstract_socket() -> None:
    """Promise: and on an abstract one."""
    assert tell_all(f"@helenus-test-{secrets.token_hex(8)}") == TOLD


def test_a_process_without_descriptors_tells_that_it_lives(tmp_path: Path) -> None:
    """Promise: whoever opens so many connections that no file can be opened any more neither ends a service nor has it
    ended as dead."""
    with listening(str(tmp_path / "notify")) as channel:
        notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "notify")})
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
        try:
            notifier.alive()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        assert channel.recv(200) == b"WATCHDOG=1"


def test_without_a_socket_or_with_one_that_is_gone_nothing_happens(tmp_path: Path) -> None:
    """Promise: without systemd a service runs all the same."""
    Notifier({}).ready()
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")}).ready()


def test_the_watchdog_is_only_kept_by_the_process_it_was_set_for() -> None:
    """Promise: a child that inherits the environment gives no signs of life for its parent."""
    asked = {"WATCHDOG_USEC": "6000000"}
    assert Notifier(asked).watchdog_seconds == 6.0
    assert Notifier({**asked, "WATCHDOG_PID": str(os.getpid())}).watchdog_seconds == 6.0
    assert Notifier({**asked, "WATCHDOG_PID": "1"}).watchdog_seconds is None
    assert Notifier({"WATCHDOG_USEC": "no"}).watchdog_seconds is None


async def test_signs_of_life_stop_while_the_loop_is_blocked_or_a_part_is_dead(tmp_path: Path) -> None:
    """Promise: systemd is told of life only while all of the service lives."""
    address = str(tmp_path / "notify")
    state = {"healthy": True, "asked": 0}
    blocked, asked_thrice = asyncio.Event(), asyncio.Event()

    def observe(lag: float) -> None:
        if lag > 0.1:
            blocked.set()

    def healthy() -> bool:
        state["asked"] += 1
        if state["asked"] >= 3:
            asked_thrice.set()
        return bool(state["healthy"])

    with listening(address) as channel:
        channel.setblocking(False)
        notifier = Notifier({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "30000"})
        beating = asyncio.create_task(beat(notifier, observe, healthy=healthy))
        async with asyncio.timeout(20):
            assert await asyncio.get_running_loop().sock_recv(channel, 100) == b"WATCHDOG=1"
            drain(channel)
            time.sleep(0.2)  # a blocked loop
            assert drain(channel) == 0
            await blocked.wait()
            state["healthy"] = False  # a dead part: the loop turns, the signs stop
            drain(channel)
            state["asked"] = 0
            asked_thrice.clear()
            await asked_thrice.wait()
        assert drain(channel) == 0
        beating.cancel()
        await asyncio.wait([beating])


def drain(channel: socket.socket) -> int:
    """How many datagrams were waiting."""
    count = 0
    while True:
        try:
            channel.recv(200)
        except BlockingIOError:
            return count
        count += 1
